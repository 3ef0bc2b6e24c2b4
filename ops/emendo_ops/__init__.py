"""Operators' tools: the command line, the doctor, a local stack, benchmarks, the demo, the evaluation."""

import os
import sys

# `python -m emendo_ops.cli` puts the current folder first on Python's path: a redis.py there would be run.
if sys.argv[:1] == ["-m"] and sys.path[:1] == [os.getcwd()]:  # noqa: PTH109  # before anything else is imported
    del sys.path[0]
