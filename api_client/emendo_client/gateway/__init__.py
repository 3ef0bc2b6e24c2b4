"""The HTTP gateway; it answers /health, /health/live and /metrics so far."""
