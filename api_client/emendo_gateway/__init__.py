"""The HTTP gateway. A request goes from `admission/` to a route of a surface, and from there to `service`.

- `app` assembles it, `server` runs it, `gateway` holds the parts of one process.
- `admission/` decides who gets in, how much, and how many at once. It closes every path that it does not name as open.
- `dispatch/` finds a request's route, and gives its function what it declares.
- `native/` has the routes of `/api/v1`. Routes hold no logic: they read a request and write an answer.
- `service` has the calls of one caller. It refuses what a key may not do.
- `problems/` tells every error, in the dialect of the path. A route raises the client's errors as they are.

A new surface is a folder beside `native/`, whose router `app` includes. `callers.dialect_of` and `admission/kinds` know
paths of each surface.
"""
