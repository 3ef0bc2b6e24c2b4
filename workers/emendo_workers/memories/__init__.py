"""How one memory changes: read, decide, embed, commit."""
