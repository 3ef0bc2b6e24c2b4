"""Makes the calls that stand on standard input with mem0's Python client, and prints an answer for each, as JSON lines.

It runs in the environment of that client, where no Emendo is. The first argument is `sync` or `async`.
"""

import asyncio
import inspect
import json
import os
import sys
from typing import Any

import mem0
from mem0.client import types

CLIENTS = {"sync": mem0.MemoryClient, "async": mem0.AsyncMemoryClient}


def argument(value: Any) -> Any:
    """The value; `{"options": name, …}` is one of the client's typed options."""
    if isinstance(value, dict) and "options" in value:
        return getattr(types, value["options"])(**value["fields"])
    return value


def told(error: Exception) -> dict[str, Any]:
    """An exception as JSON."""
    return {
        "class": type(error).__name__,
        "message": str(getattr(error, "message", None) or error),
        "details": getattr(error, "details", None),
        "debug_info": getattr(error, "debug_info", None),
    }


async def main() -> None:
    """Reads calls until the input ends."""
    client: Any = None
    for line in sys.stdin:
        call = json.loads(line)
        try:
            if call["method"] == "construct":
                client = CLIENTS[sys.argv[1]](api_key=call["key"], host=os.environ["GATEWAY"])
                answer = {"result": None}
            else:
                found = client
                for name in call["method"].split("."):
                    found = getattr(found, name)
                result = found(*map(argument, call["args"]), **call["kwargs"])
                answer = {"result": await result if inspect.isawaitable(result) else result}
        except Exception as error:  # noqa: BLE001  # the test looks at each
            answer = {"error": told(error)}
        print(json.dumps(answer), flush=True)


asyncio.run(main())
