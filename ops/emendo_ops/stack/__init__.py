"""The embedded stack: a real Redis with search and every process of the system, without Docker."""
