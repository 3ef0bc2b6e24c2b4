"""Checks what a memory server does under concurrency, over HTTP: `emendo conformance`.

- `checks` has the six checks. They call a `dialect`, which `native` and `mem0` write down as requests.
- `connection` sends the requests, `run` carries out all checks and removes what they wrote.
"""
