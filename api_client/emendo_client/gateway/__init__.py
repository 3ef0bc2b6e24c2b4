"""The HTTP gateway; it answers /health so far."""
