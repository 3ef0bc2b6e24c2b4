"""Fixtures for all tests: the ones the product ships, and a check that no key is left without an expiry."""

from __future__ import annotations

import re
import tracemalloc  # noqa: F401  # see below
from collections.abc import Iterator

import hypothesis
import pytest

from emendo_config import Keys, Settings
from emendo_config.redis_io import connect

# How long an example takes says something about the machine, not about the code.
hypothesis.settings.register_profile("emendo", deadline=None)
hypothesis.settings.load_profile("emendo")

pytest_plugins = ["emendo_client.testing.fixtures"]

# pytest imports tracemalloc when a finalizer complains (an unclosed socket, say). When the garbage collector does
# that in the middle of another import, Python 3.11 loses the import's lock: KeyError in importlib._bootstrap.

# Keys that stay by design; everything else must expire by itself.
PERMANENT = re.compile(
    r"(memory|history|conflict):\{.+\}|clock|shards|spaces|usage|feed|dead|delayed|workers|accepting|migration(-failures)?"
    r"|inbox:[\w-]+|(jobs|conflicts|project):.+|_kombu.*|interactive|bulk|inference|maintenance|unacked.*"
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
        dead = {record.decode() for record in connection.zrange(keys.dead, 0, -1)}
        dead |= {record.partition(":")[0] for record in dead}  # a batch job stays as long as its dead chunks
        leaked = []
        left = list(connection.scan_iter(match=f"{settings.key_prefix}*", count=1_000))
        for raw in left:
            name = raw.decode().removeprefix(settings.key_prefix)
            job_id = name.removeprefix("job:")
            stays = PERMANENT.fullmatch(name) or job_id in dead or _unfinished(connection, raw, name)
            if not stays and connection.ttl(raw) == -1:
                leaked.append(name)
        _remove(connection, settings.key_prefix, left)
        assert not leaked, f"keys without an expiry: {leaked}"
    finally:
        connection.close()


def _remove(connection, prefix, names) -> None:  # type: ignore[no-untyped-def]
    """What a test leaves behind: a thousand of them would make each new index, and each look at all keys, slow."""
    for index in connection.execute_command("FT._LIST"):
        if index.decode().startswith(prefix):
            connection.execute_command("FT.DROPINDEX", index)
    for first in range(0, len(names), 1_000):
        connection.unlink(*names[first : first + 1_000])


def _unfinished(connection, raw, name) -> bool:  # type: ignore[no-untyped-def]
    """A job that is not final yet must not expire: it would be lost."""
    return name.startswith("job:") and connection.hget(raw, "status") in {b"queued", b"retrying", b"running"}
