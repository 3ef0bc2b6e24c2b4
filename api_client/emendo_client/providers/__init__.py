"""Clients of embedding and chat providers."""
