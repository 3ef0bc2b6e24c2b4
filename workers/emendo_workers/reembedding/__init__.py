"""Re-embedding a store that is in use: a job that takes one bounded step after another (`steps.py`)."""
