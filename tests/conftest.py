"""Fixtures for all tests: the product's own, and a check that no key stays without an expiry."""

from __future__ import annotations

import faulthandler
import os
import re
import sys
import tracemalloc  # noqa: F401  # see below
from collections.abc import Iterator

import hypothesis
import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key

from emendo_config import Keys, Settings
from emendo_config.store.connections import connect

# How long an example takes says something about the machine, not about the code.
hypothesis.settings.register_profile("emendo", deadline=None)
hypothesis.settings.load_profile("emendo")

# Seconds that a slow test may take on a slow machine. Tests of many minutes have a limit of their own.
SLOW_TIMEOUT = 600.0

# The images that CI runs in often forbid cached bytecode. Each process of the run, and each that a test starts, would
# then compile the whole product and pytest all tests: minutes of work.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

pytest_plugins = ["emendo_client.testing.fixtures"]

pytest.register_assert_rewrite("tests.support", "tests.model")

# pytest imports tracemalloc when a finalizer complains (an unclosed socket, say). When the garbage collector does
# that in the middle of another import, Python 3.11 loses the import's lock: KeyError in importlib._bootstrap.


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Processes for `-n auto`: two a core, since tests also wait; each has a Redis and a provider of its own.

    One a core and one more for the slow tests alone: many of them start processes of their own, which work.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores + 1 if config.option.markexpr == "slow" else 2 * cores, 16)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Gives a slow test more time than pytest's own limit, which a slow machine would need for it."""
    for item in items:
        if item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(SLOW_TIMEOUT))


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Ends no process before its test's own timeout. `faulthandler_timeout` counts from there."""
    own = item.get_closest_marker("timeout")
    patience = float(item.config.getini("faulthandler_timeout") or 0)
    if own is None or not own.args or not patience:
        return
    patience += float(own.args[0])
    faulthandler.dump_traceback_later(patience, exit=True, file=item.config.stash[fault_handler_stderr_fd_key])


# Keys that stay by design; everything else must expire by itself.
PERMANENT = re.compile(
    r"(memory|history|conflict):\{.+\}|clock|shards|projects|housekeeping|spaces|usage|metrics|feed|dead|dead-projects|delayed"
    r"|workers|accepting|migration(-failures)?|inbox:[\w-]+|(jobs|conflicts|project|waiting|dead|dead-of):.+"
    r"|gateway:keys?(:.+)?|_kombu.*|interactive|bulk|inference|maintenance|unacked.*"
)


@pytest.fixture(autouse=True)
def no_leaked_keys(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fails a test that leaves a key of its own prefix without TTL, unless it is one that stays by design."""
    # Asked for before the test, so that this check still stands when the other fixtures are gone.
    settings = request.getfixturevalue("emendo_settings") if "emendo_settings" in request.fixturenames else None
    yield
    if not isinstance(settings, Settings):
        return
    connection = connect(settings.redis_url, settings)
    keys = Keys(settings.key_prefix)
    try:
        lists = [keys.unsorted_dead, *(keys.dead(each.decode()) for each in connection.smembers(keys.dead_projects))]
        dead = {record.decode() for name in lists for record in connection.zrange(name, 0, -1)}
        dead |= {record.partition(":")[0] for record in dead}  # a batch job stays as long as its dead chunks
        leaked = []
        left = list(connection.scan_iter(match=f"{settings.key_prefix}*", count=10_000))
        with connection.pipeline(transaction=False) as together:
            for raw in left:
                together.ttl(raw)
            lifetimes = together.execute()
        for raw in (each for each, seconds in zip(left, lifetimes, strict=True) if seconds == -1):
            name = raw.decode().removeprefix(settings.key_prefix)
            job_id = name.removeprefix("job:")
            stays = PERMANENT.fullmatch(name) or job_id in dead or _unfinished(connection, raw, name)
            if not stays:
                leaked.append(name)
        _remove(connection, settings.key_prefix, left)
        assert not leaked, f"keys without an expiry: {leaked}"
    finally:
        connection.close()


def _remove(connection, prefix, names) -> None:  # type: ignore[no-untyped-def]
    """Removes a test's keys and indexes: a thousand of them would slow down each new index and each scan."""
    for index in connection.execute_command("FT._LIST"):
        if index.decode().startswith(prefix):
            connection.execute_command("FT.DROPINDEX", index)
    for first in range(0, len(names), 1_000):
        connection.unlink(*names[first : first + 1_000])


def _unfinished(connection, raw, name) -> bool:  # type: ignore[no-untyped-def]
    """A job that is not final yet must not expire: it would be lost."""
    if not name.startswith("job:") or connection.type(raw) != b"hash":
        return False
    return connection.hget(raw, "status") in {b"queued", b"retrying", b"running"}
