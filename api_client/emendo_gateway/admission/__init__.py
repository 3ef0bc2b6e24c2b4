"""The ASGI middleware before the routes, in this order, outermost first.

- `envelope`: the request's id, the answer's common fields, and the last resort for errors.
- `heads`: the size of a request's head, and the names the gateway answers to.
- `access`: the key, its scope, its rate.
- `lanes`: how many requests are worked at once, and `bodies`: how large and how slow a body may be.

Each refuses by raising an EmendoError, which `envelope` writes in the dialect of the path.
"""
