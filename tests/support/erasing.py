"""Shared by the tests of erasure: a memory full of secrets, and a look at everything Redis holds."""

from __future__ import annotations

from tests.support.intake import drain, drain_all

SECRET, PRIVATE, LABEL, OWNER = "unutterable-text", "unutterable-value", "unutterable-key", "unutterable-owner"


def everything(services) -> str:
    """Every key of the prefix and all it holds, as one text."""
    redis = services.control
    readers = {
        b"string": redis.get,
        b"hash": redis.hgetall,
        b"stream": redis.xrange,
        b"set": redis.smembers,
        b"zset": lambda key: redis.zrange(key, 0, -1, withscores=True),
        b"list": lambda key: redis.lrange(key, 0, -1),
    }
    keys = redis.scan_iter(f"{services.settings.key_prefix}*", count=1_000)
    return "\n".join(f"{key!r}: {readers[redis.type(key)](key)!r}" for key in keys)


def assert_nothing_is_left(services, *also: str) -> None:
    found = everything(services)
    assert not [word for word in (SECRET, PRIVATE, LABEL, *also) if word in found]


def secret_memory(services, client) -> str:
    """A memory with a history of every kind, all of it secret."""
    job = client.add(f"{SECRET} 1", user_id=OWNER, metadata={LABEL: PRIVATE}, infer=False)
    drain(services, job)
    memory_id = job.wait(1).results[0].memory_id
    client.update(memory_id, f"{SECRET} 2", {LABEL: f"{PRIVATE} 2", "k": PRIVATE}, actor_id="editor", role="user")
    client.delete(memory_id)
    client.restore(memory_id, version=1)
    client.update(memory_id, f"{SECRET} 3", {LABEL: f"{PRIVATE} 3"})
    client.update(memory_id, f"{SECRET} 4", {LABEL: "x"}, expected_version=1, on_conflict="manual")
    drain_all(services)
    assert client.conflicts()
    return memory_id


def erase(services, client, memory_id, **options):
    job = client.delete(memory_id, hard=True, actor_id="officer", **options)
    drain_all(services)
    return job.wait(1, raise_on_failure=True)
