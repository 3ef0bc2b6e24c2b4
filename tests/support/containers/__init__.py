"""Containers for the tests: an engine of their own, the public images' stand-ins, and docker-compose.yml as it runs."""
