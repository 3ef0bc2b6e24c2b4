"""Erasing a user: every memory of theirs, and what jobs hold of them."""
