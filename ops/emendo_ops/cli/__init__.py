"""The `emendo` command. `main` runs without the `cli` extra, to say that it is missing."""

from __future__ import annotations

import sys

from emendo_ops import extras


def main() -> None:
    """Runs the command line and exits with its code: 0 ok, 1 failed, 2 wrong usage, 130 interrupted."""
    lacking = extras.missing(["cli"])
    if lacking:
        sys.stderr.write(f"Error: the emendo command needs {' and '.join(lacking)}\n{extras.advice(['cli'])}\n")
        sys.exit(1)
    from emendo_ops.cli.app import run

    sys.exit(run(sys.argv[1:]))
