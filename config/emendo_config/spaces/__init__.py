"""The registry of embedding spaces and their search indexes."""
