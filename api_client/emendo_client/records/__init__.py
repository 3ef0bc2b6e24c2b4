"""Stored records: hashes, streams and documents in Redis, read into models. One file for each kind."""
