"""Tests of reads: listings, counts, searches."""
