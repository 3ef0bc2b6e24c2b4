"""Adds that need the chat model: extract facts, search their neighbours, decide, plan, carry out."""
