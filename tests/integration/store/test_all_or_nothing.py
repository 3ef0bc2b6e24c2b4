"""A script that Redis refuses changes nothing: each key it writes may hold another type, or memory may be short.

The scripts that clients and workers really send are caught on their way to Redis. Each is first tried on the state it
would meet, with one key after another damaged, and everything is put back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import hiredis
import pytest
import redis
from redis.exceptions import ResponseError

from emendo_client.testing.fixtures import settings_for
from emendo_client.transport import auto_pipeline
from emendo_config.store import pipeline, scripts
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.maintenance.housekeeping import keep_house
from tests.support.intake import added, bring_back, drain, drain_all, put_aside, shards_with_work
from tests.support.migrating import reembedded, worked
from tests.support.patience import until

# Below what any Redis uses.
NO_ROOM = 1_000_000
NAMES = {digest: name for name, each in scripts.TABLE.items() for digest in (each.digest, each.at_limit.digest)}
READ = {
    b"string": lambda store, key: store.get(key),
    b"hash": lambda store, key: store.hgetall(key),
    b"set": lambda store, key: store.smembers(key),
    b"zset": lambda store, key: store.zrange(key, 0, -1, withscores=True),
    b"list": lambda store, key: store.lrange(key, 0, -1),
    b"stream": lambda store, key: store.xrange(key),
}


class Prober:
    """Tries each script on copies of the state that it meets.

    Attributes:
        problems: scripts that failed and left something changed: the name, what was wrong, and which keys changed.
        tried: names of the scripts that were tried.
    """

    def __init__(self, url: str, prefix: str) -> None:
        self.problems: set[tuple[str, str, tuple[str, ...]]] = set()
        self.tried: set[str] = set()
        self._store = redis.Redis.from_url(url, protocol=2)
        self._prefix = prefix
        self._known: set[tuple[str, frozenset[str]]] = set()

    def close(self) -> None:
        self._store.close()

    def look_at(self, packed: Iterable[bytes]) -> None:
        reader = hiredis.Reader()
        for piece in packed:
            reader.feed(piece)
        while command := reader.gets():
            if command[0] == b"EVALSHA" and command[1].decode() in NAMES:
                self._probe(NAMES[command[1].decode()], command)

    def _probe(self, name: str, command: list[bytes]) -> None:
        keys = self._keys()
        dumps, ttls = self._all(keys, "DUMP"), self._all(keys, "PTTL")
        dumped = zip(keys, dumps, ttls, strict=True)
        saved = {key: (value, max(0, ttl_ms)) for key, value, ttl_ms in dumped if value is not None}
        lasting = {key: (value, 0) for key, (value, _) in saved.items()}  # no key must expire between two looks
        self._restore(lasting)
        before = self._state()
        try:
            self._store.execute_command(*command)
        except ResponseError:  # not loaded yet, or refused anyway
            self._restore(saved)
            return
        after = self._state()
        changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
        branch = name, frozenset(map(self._plain, changed))
        if branch not in self._known:
            self._known.add(branch)
            self.tried.add(name)
            for key in sorted(changed):
                self._restore(lasting)
                self._damage(key)
                self._try(name, f"{self._plain(key)} of another type", command)
            self._restore(lasting)
            self._store.config_set("maxmemory", NO_ROOM)
            try:
                self._try(name, "no memory", command)
            finally:
                self._store.config_set("maxmemory", 0)
        self._restore(saved)

    def _try(self, name: str, what: str, command: list[bytes]) -> None:
        before = self._state()
        try:
            self._store.execute_command(*command)
        except ResponseError:
            after = self._state()
            changed = {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}
            if changed:
                self.problems.add((name, what, tuple(sorted(map(self._plain, changed)))))

    def _damage(self, key: bytes) -> None:
        is_string = self._store.type(key) == b"string"
        self._store.delete(key)
        if is_string:
            self._store.rpush(key, "no string")
        else:
            self._store.set(key, "a string")

    def _restore(self, saved: dict[bytes, tuple[bytes, int]]) -> None:
        with self._store.pipeline(transaction=False) as together:
            if keys := self._keys():
                together.delete(*keys)
            for key, (value, ttl_ms) in saved.items():
                together.restore(key, ttl_ms, value)
            together.execute()

    def _keys(self) -> list[bytes]:
        return sorted(self._store.scan_iter(match=f"{self._prefix}*", count=10_000))

    def _state(self) -> dict[bytes, Any]:
        keys = self._keys()
        with self._store.pipeline(transaction=False) as together:
            for key, kind in zip(keys, self._all(keys, "TYPE"), strict=True):
                READ[kind](together, key)
            return dict(zip(keys, together.execute(), strict=True))

    def _all(self, keys: list[bytes], command: str) -> list[Any]:
        """The answers about each key; one conversation, since there are thousands of these looks."""
        with self._store.pipeline(transaction=False) as together:
            for key in keys:
                together.execute_command(command, key)
            return together.execute()

    def _plain(self, key: bytes) -> str:
        """The key's kind, without the ids in it."""
        return re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "ID", key.decode().removeprefix(self._prefix))


@pytest.fixture
def settings(redis_alone, openai_server):
    windows = {"project_window_chunks": 1, "project_window_conversations": 1, "project_max_waiting": 1_000}
    return settings_for(
        redis_alone.url, openai_server.base_url, broker_url=f"{redis_alone.url[:-1]}1", chunk_items=2, **windows
    )


@pytest.fixture
def prober(settings, services, client, monkeypatch) -> Iterator[Prober]:
    """Looks at all that this process sends from now on."""
    prober = Prober(settings.control_url, settings.key_prefix)
    exchange = pipeline.exchange

    def probed(connection: redis.Redis, packed: Callable[[], Iterable[bytes]], count: int) -> list[Any]:
        prober.look_at(packed())
        return exchange(connection, packed, count)

    for module in (pipeline, auto_pipeline):
        monkeypatch.setattr(module, "exchange", probed)
    yield prober
    prober.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_refused_script_changes_nothing(services, client, prober, model):
    ids = [added(services, client, f"fact {number}") for number in range(4)]
    client.add("weak", user_id="ana", infer=False, consistency="weak", idempotency_key="once")
    job = client.batch_update([{"memory_id": each, "text": "new"} for each in ids], idempotency_key="batch")
    damaged, cancelled = client.update(ids[0], "damaged"), client.update(ids[1], "cancelled")
    chunk = f"{job.id}:1"
    for record in (damaged.id, chunk):
        services.control.hset(services.keys.job(record), "payload", "{")
    cancelled.cancel()
    Sweeper(services).sweep()
    drain_all(services)
    assert {letter.job_id for letter in client.dead_letters()} == {damaged.id, chunk}
    client.replay(chunk)
    client.replay(damaged.id)
    drain_all(services)
    client.discard_all()
    waiting = [client.update(ids[0], f"waits {number}") for number in range(3)]
    put_aside(services, ids[0], *waiting)
    bring_back(services, *waiting)
    drain(services, client.update(ids[0], "in dispute", expected_version=1, on_conflict="manual"))
    (conflict,) = client.conflicts()
    drain(services, client.resolve_conflict(conflict.id, "ours"))
    drain(services, client.update(ids[1], "in dispute", expected_version=1, on_conflict="manual"))
    for memory_id in ids[:2]:
        drain(services, client.delete(memory_id, hard=True))
    old = client.update(ids[2], "old")
    services.control.hset(services.keys.job(old.id), "payload", f'{{"memory_id":"{ids[3]}"')
    until(lambda: drain_all(services) or old.status() == "failed")
    score = services.control.zscore(services.keys.dead("default"), old.id)
    services.control.zrem(services.keys.dead("default"), old.id)
    services.control.zadd(services.keys.unsorted_dead, {old.id: score})
    for services.leases.fault in ("no key", ""):
        services.leases.give_sign_of_life()
    client.add("I sing. I dance.", user_id="ana")
    client.add("I hike.", user_id="ana")
    drain_all(services)
    keep_house(services.store, services.notifier, 0.0)
    assert not shards_with_work(services)
    tried = {"accept", "adopt", "append", "cancel", "commit", "discard", "finish", "replay", "requeue", "start"}
    assert prober.tried > tried | {"release_scope", "sign_of_life", "store_plan", "take_scope"}
    assert sorted(prober.problems) == []


@pytest.mark.timeout(300)
def test_a_refused_script_of_a_re_embedding_changes_nothing(services, client, prober):
    ids = [added(services, client, f"fact {number}") for number in range(2)]
    reembedded(services, client, dimensions=32)
    assert worked(services, client.finalize_reembed()).status == "succeeded"
    assert client.get(ids[0]) is not None
    assert prober.tried > {"accept", "advance", "backfill", "drop_vector"}
    assert sorted(prober.problems) == []
