"""Re-embedding a store in use: a job that takes one bounded step after another (`phases.py`)."""
