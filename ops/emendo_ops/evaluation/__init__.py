"""Measures on labelled cases how well a chat model extracts facts and decides what they change."""
