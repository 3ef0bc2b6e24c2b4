"""A job's operations, outcome, retry and erasure."""
