"""Backup: memories with their histories as JSON Lines, and back into a store."""
