"""Baselines that are scripts of their own: run in a process, on the same Redis and the same provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

from emendo_ops.bench.updates import text_of
from tests.bench.plan import Plan

THREADS = 64
_TIMEOUT = 900


def bare(plan: Plan, count: int, in_flight: int) -> float:
    """The bare script's updates a second."""
    options = ("--prefix", plan.bed.prefix, "--in-flight", str(in_flight))
    return _run(plan, Path(sys.executable), "bare_script.py", count, *options)


def mem0(plan: Plan, count: int) -> float:
    """mem0's updates a second.

    Raises:
        RuntimeError: there is no environment with mem0, or the Redis is somebody else's.
    """
    if plan.peer_python is None:
        raise RuntimeError("mem0 is not there: make bench-peers")
    if plan.bed.prefix:
        raise RuntimeError("mem0 is measured in a Redis of its own: others use the one of EMENDO_REDIS_URL")
    return _run(plan, plan.peer_python, "mem0_updates.py", count, "--threads", str(THREADS))


def _run(plan: Plan, python: Path, script: str, count: int, *options: str) -> float:
    plan.bed.wipe()
    with tempfile.NamedTemporaryFile("w", dir=plan.bed.directory, suffix=".json") as file:
        ids = [str(uuid.uuid4()) for _ in range(count)]
        json.dump({memory_id: text_of(memory_id, script) for memory_id in ids}, file)
        file.flush()
        command = [
            *(str(python), str(Path(__file__).with_name(script))),
            *("--provider", plan.bed.provider.base_url, "--texts", file.name, *options),
        ]
        variables = {**os.environ, "BENCH_REDIS": plan.bed.redis.url}  # its password is for no command line
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT, check=False, env=variables)
    if done.returncode:
        raise RuntimeError(f"{script} failed: {done.stderr[-1_000:]}")
    document = json.loads(done.stdout.splitlines()[-1])
    assert document["updates"] == count
    return document["updates"] / document["seconds"]
