"""Calls to embedding and chat providers: admission, batching, caching, retries."""
