"""Checks of settings, servers and stored data. Each module examines one subject and returns findings."""
