"""Exchanges with Redis, without the I/O: each is a generator of round trips (see `exchange`)."""
