"""Periodic clean-up: expired memories, lists that name what is gone, old embedding spaces."""
