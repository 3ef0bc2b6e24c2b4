"""Filters of reads: read from a caller's spelling, written as a query of the index, and held against a memory."""
