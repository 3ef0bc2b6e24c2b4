"""`python -P -m emendo_workers worker`: Celery's commands for this app.

`celery -A emendo_workers.app` would look for the app, and for all that it imports, in the current folder first.
"""

from __future__ import annotations

import sys

from celery.bin.celery import celery

from emendo_config.errors import EmendoError


def main() -> None:
    """Runs the command and exits with its code."""
    try:
        from emendo_workers.app import app
    except EmendoError as error:
        sys.exit(f"Error: {error}")
    for option in celery.params:
        option.envvar = None  # APP, BROKER_URL or LOADER may belong to any other program
        if option.name == "app":
            option.default = app
    celery(prog_name="celery")


if __name__ == "__main__":
    main()
