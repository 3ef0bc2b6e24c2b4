"""A client of the release that PYTHONPATH names: reads calls as lines of JSON, and answers each with one.

It runs in an interpreter of its own and imports nothing of these tests, which are of another release.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from emendo_client import MemoryClient


def shown(result: Any) -> Any:
    """The result as JSON values; of a job its id."""
    if isinstance(result, list):
        return [shown(each) for each in result]
    if hasattr(result, "model_dump"):
        return result.model_dump(mode="json")
    return getattr(result, "id", result)


def main() -> None:
    """Answers until its input ends."""
    with MemoryClient() as client:
        for line in sys.stdin:
            name, args, kwargs = json.loads(line)
            if name == "wait":
                job_id, *args = args
                answer = client.job(job_id).wait(*args, **kwargs)
            else:
                answer = getattr(client, name)(*args, **kwargs)
            print(json.dumps(shown(answer)), flush=True)


if __name__ == "__main__":
    main()
