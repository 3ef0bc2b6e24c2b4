"""Diagnosis: whether the hash, the vectors, the index entry and the history of a memory agree."""
