"""Re-embedding as its callers see it: what is asked for, what it will take, how far it is, and how it is steered."""
