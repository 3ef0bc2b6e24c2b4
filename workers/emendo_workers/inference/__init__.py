"""Adds that need the chat model: extract facts, find what is known, decide, plan, carry out."""
