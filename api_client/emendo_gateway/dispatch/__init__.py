"""The way from an admitted request to its route's function.

FastAPI reads the declarations of routes, documents them and answers what no route takes. It would also look for the
route in every router in turn, and work out the parameters of each function again, for each request. That takes several
times as long as all else. So `table` finds the route, and `plan` has worked out its parameters once.
"""

from emendo_gateway.dispatch.table import Dispatch, Table

__all__ = ["Dispatch", "Table"]
