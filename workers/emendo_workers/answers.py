"""`python -m emendo_workers.answers NAME`: does the worker of that name answer over the broker?

`celery inspect ping` asks the same. But it imports all that a worker does, which takes four times as long, and a health
check runs often.
"""

from __future__ import annotations

import sys

from emendo_config import Settings
from emendo_config.celery_app import create_app

_PATIENCE = 5.0  # seconds


def main() -> None:
    """Exits with 0 if it does, and says what is wrong otherwise."""
    (name,) = sys.argv[1:]
    answers = create_app(Settings()).control.broadcast(
        "ping", reply=True, destination=[name], timeout=_PATIENCE, limit=1
    )
    if not answers:
        sys.exit(f"{name} does not answer within {_PATIENCE:.0f} s")


if __name__ == "__main__":
    main()
