"""The tutorial: what Emendo does, one idea a file, in the order of the numbers.

Each test uses what users have: `emendo_client`, and the fixtures of `emendo_client.testing.fixtures`.
"""
