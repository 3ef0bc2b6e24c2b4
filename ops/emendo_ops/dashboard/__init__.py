"""Flower behind a login, and beside a broker that may go away."""
