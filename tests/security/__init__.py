"""Attacks on the product, and the proof that they fail."""
