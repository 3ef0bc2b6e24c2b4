"""Damaged records, entries and lists: one drain ends them, and their neighbours never notice."""

from __future__ import annotations

import json
import logging

import pytest

from emendo_client.exchanges import health
from emendo_config.queues import INFERENCE, MAINTENANCE
from emendo_config.store.scripts import sender_for
from emendo_workers.intake import inbox
from emendo_workers.intake.drain import Drain
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.maintenance.housekeeping import keep_house
from tests.support.intake import account_of, added, bring_back, drain, drain_all, shard_of_job, with_settings

GARBAGE = (b"", b"{", b"[]", b"null", b"7", b'"text"', b"\xff\xfe", b"[[[[", b"NaN")
DAMAGED_OPERATIONS = (
    {},
    {"operations": None},
    {"operations": "text"},
    {"operations": {}},
    {"format": "x", "operations": []},
    {"format": 1.5, "operations": []},
    {"first": "x", "operations": [{"op": "update", "memory_id": "m", "text": "x"}]},
    {"operations": [{"op": "infer", "memory_id": "", "messages": []}] * 2},
)
# One operation that cannot be read fails alone, so these payloads can.
DAMAGED_ITEMS = (
    None,
    7,
    [],
    {},
    {"op": []},
    {"op": "update"},
    {"op": "update", "memory_id": 5, "text": "x"},
    {"op": "update", "memory_id": "m", "text": ["x"]},
    {"op": "update", "memory_id": "m", "metadata": "x"},
    {"op": "update", "memory_id": "m", "text": "x", "expected_version": "1"},
    {"op": "add", "memory_id": "m", "text": "x", "expires_at": "tomorrow"},
    {"op": "infer", "memory_id": "", "messages": [5]},
    {"op": "resolve", "memory_id": "m", "conflict": 1, "choice": None},
)


def damages() -> list:
    found = [pytest.param("payload", value, id=f"payload={value!r}") for value in (None, *GARBAGE)]
    found += [
        pytest.param("payload", json.dumps(value).encode(), id=f"payload={json.dumps(value)}")
        for value in (*DAMAGED_OPERATIONS, *({"operations": [item]} for item in DAMAGED_ITEMS))
    ]
    found += [pytest.param("settled", value, id=f"settled={value!r}") for value in (b"{", b"7", b"[1]", b"\xff")]
    found += [pytest.param("format", value, id=f"format={value!r}") for value in (b"x", b"", b"\xff")]
    for name in ("submitted", "attempts"):
        values = (b"x", b"\xff", b"1e400", b"nan") + ((None, b"-1", b"9" * 30) if name == "submitted" else ())
        found += [pytest.param(name, value, id=f"{name}={value!r}") for value in values]
    found += [pytest.param("project", value, id=f"project={value!r}") for value in (None, b"", b"\xff")]
    found += [pytest.param("status", value, id=f"status={value!r}") for value in (None, b"", b"dancing", b"\xff")]
    found += [pytest.param(name, None, id=f"no {name}") for name in ("id", "shard")]
    return [*found, pytest.param("type", b"", id="another type")]


def damage(services, record: str, field: str, value: bytes | None) -> None:
    if field == "type":
        services.control.delete(record)
        services.control.rpush(record, "what", "is", "this")
    elif value is None:
        services.control.hdel(record, field)
    else:
        services.control.hset(record, field, value)


def look_around(services, client) -> None:
    """Everything that reads or tidies records, none of which may raise."""
    Sweeper(services).sweep()
    keep_house(services.store, services.notifier, 0.0)
    client.jobs()
    client.jobs(status="failed")
    client.dead_letters(kind="update")
    client.dead_letters(memory_id="0b8c5d1e-0000-4000-8000-000000000000")
    assert health.check(
        {"data": sender_for(services.data), "control": sender_for(services.control)}, client._keys
    ).redis


@pytest.mark.parametrize(("field", "value"), damages())
def test_a_damaged_record_is_a_dead_letter_within_one_drain(services, client, field, value):
    memory_id = added(services, client)
    before = client.update(memory_id, "before")
    job = client.update(memory_id, "damaged")
    after = client.update(memory_id, "after")
    record, shard = services.keys.job(job.id), shard_of_job(services, job)
    damage(services, record, field, value)
    Drain(services, shard).run()
    assert [before.status(), after.status()] == ["succeeded"] * 2
    assert [entry.new_memory for entry in client.history(memory_id)] == ["I dislike seafood.", "before", "after"]
    assert services.control.hget(record, "status") == b"failed"
    (letter,) = client.dead_letters()
    assert (letter.job_id, letter.error["code"]) == (job.id, "PAYLOAD_UNREADABLE")
    assert client.dead_letter(job.id) == letter
    assert [item.error["code"] for item in job.wait(1).results] == ["PAYLOAD_UNREADABLE"]
    if field == "payload" and value:
        assert services.control.hget(record, "payload") == value, "it is kept as it is"
    assert services.control.xlen(services.keys.inbox(shard)) == 0
    assert services.control.get(services.keys.wakeup(shard)) is None
    look_around(services, client)
    assert client.replay_all() == 1
    drain_all(services)
    look_around(services, client)
    left = len(client.dead_letters())
    assert client.discard_all() == left


def test_chunks_that_lost_their_counts_have_together_no_more_items_than_the_job(services, client):
    with_settings(services, client, chunk_items=2)
    ids = [added(services, client, f"fact {n}") for n in range(5)]
    job = client.batch_update([{"memory_id": each, "text": "new"} for each in ids])
    for number in (1, 2):
        record = services.keys.job(f"{job.id}:{number}")
        services.control.delete(record)
        services.control.rpush(record, "no", "record")
    drain_all(services)
    codes = [(item.error or {}).get("code") for item in job.wait(1).results]
    assert codes == [None] * 2 + ["PAYLOAD_UNREADABLE"] * 3
    account = account_of(services, job)
    assert (account["open"], account["done"], account["succeeded"], account["failed"]) == (0, 5, 2, 3)


@pytest.mark.parametrize(("field", "value"), damages())
def test_a_damaged_chunk_is_a_dead_letter_and_the_account_balances(services, client, field, value):
    with_settings(services, client, chunk_items=2)
    ids = [added(services, client, f"fact {n}") for n in range(6)]
    job = client.batch_update([{"memory_id": each, "text": "new"} for each in ids])
    record = services.keys.job(f"{job.id}:1")
    damage(services, record, field, value)
    drain_all(services)
    result = job.wait(1)
    assert result.status == "partially_succeeded"
    codes = [(item.error or {}).get("code") for item in result.results]
    unreadable = 1 if field == "payload" and value and value.startswith(b'{"operations": [') and len(codes) == 5 else 2
    assert codes == [None] * 2 + ["PAYLOAD_UNREADABLE"] * unreadable + [None] * 2
    account = account_of(services, job)
    assert (account["open"], account["dead"], account["succeeded"], account["failed"]) == (0, 1, 4, unreadable)
    assert account["done"] == 4 + unreadable
    assert [letter.job_id for letter in client.dead_letters()] == [f"{job.id}:1"]
    look_around(services, client)
    client.replay(job.id)
    drain_all(services)
    account = account_of(services, job)
    assert (account["open"], account["done"]) == (0, account["succeeded"] + account["failed"])


@pytest.mark.parametrize("counter", ["open", "done", "succeeded", "failed", "items", "chunks", "attempts"])
def test_a_batch_job_ends_whose_account_is_damaged(services, client, counter):
    with_settings(services, client, chunk_items=2)
    ids = [added(services, client, f"fact {n}") for n in range(4)]
    other = added(services, client)
    job = client.batch_update([{"memory_id": each, "text": "new"} for each in ids])
    services.control.hset(services.keys.job(job.id), counter, "garbage")
    neighbour = client.update(other, "new")
    drain_all(services)
    assert neighbour.status() == "succeeded"
    assert {client.get(each).memory for each in ids} == {"new"}
    assert job.status() in ("succeeded", "partially_succeeded")
    look_around(services, client)


@pytest.mark.parametrize("damaged", ["gone", "another type"])
def test_chunks_are_worked_whose_batch_jobs_record_is_lost(services, client, damaged):
    with_settings(services, client, chunk_items=2)
    ids = [added(services, client, f"fact {n}") for n in range(4)]
    job = client.batch_update([{"memory_id": each, "text": "new"} for each in ids])
    services.control.delete(services.keys.job(job.id))
    if damaged == "another type":
        services.control.set(services.keys.job(job.id), "text")
    drain_all(services)
    assert {client.get(each).memory for each in ids} == {"new"}
    assert services.control.type(services.keys.job(job.id)) == (b"string" if damaged == "another type" else b"none")
    Sweeper(services).sweep()
    services.control.delete(services.keys.job(job.id))


def test_an_operation_that_cannot_be_read_fails_alone_in_its_chunk(services, client):
    ids = [added(services, client, f"fact {n}") for n in range(len(DAMAGED_ITEMS))]
    job = client.batch_update([{"memory_id": each, "text": "new"} for each in ids] * 2)
    record = services.keys.job(f"{job.id}:0")
    payload = json.loads(services.control.hget(record, "payload"))
    infers = [item for item in DAMAGED_ITEMS if isinstance(item, dict) and item.get("op") == "infer"]
    damaged = [*DAMAGED_ITEMS, *infers]
    payload["operations"][: len(damaged)] = damaged
    services.control.hset(record, "payload", json.dumps(payload))
    drain_all(services)
    codes = [(item.error or {}).get("code") for item in job.wait(1).results]
    assert codes == ["PAYLOAD_UNREADABLE"] * len(damaged) + [None] * (2 * len(ids) - len(damaged))


@pytest.mark.parametrize(
    "fields",
    [{b"nothing": b"x"}, {b"job": b""}, {b"job": b"\xff\xfe"}, {b"job": b"of another store"}, {b"job": b":"}],
    ids=repr,
)
def test_an_entry_without_a_job_is_acknowledged_and_logged(services, client, caplog, fields):
    memory_id = added(services, client)
    job = client.update(memory_id, "new")
    stream = services.keys.inbox(shard_of_job(services, job))
    entry = services.control.xadd(stream, fields)
    late = client.update(memory_id, "newer")
    with caplog.at_level(logging.WARNING):
        drain(services, job)
    assert [job.status(), late.status()] == ["succeeded"] * 2
    assert services.control.xlen(stream) == 0
    assert services.control.xpending(stream, inbox.GROUP)["pending"] == 0
    assert [record.entry for record in caplog.records if hasattr(record, "entry")] == [entry.decode()]


def test_an_entry_whose_record_is_gone_is_acknowledged(services, client):
    memory_id = added(services, client)
    lost, job = client.update(memory_id, "lost"), client.update(memory_id, "new")
    services.control.delete(services.keys.job(lost.id))
    drain(services, job)
    assert job.status() == "succeeded"
    assert services.control.xlen(services.keys.inbox(shard_of_job(services, job))) == 0
    assert services.control.exists(services.keys.job(lost.id)) == 0


def test_the_jobs_project_is_found_that_its_record_has_lost(services, client):
    job = client.add("hello", user_id="ana", infer=False)
    services.control.hdel(services.keys.job(job.id), "project")
    drain(services, job)
    assert client.dead_letter(job.id).error["details"] == {"field": "project"}


def test_a_repaired_letter_is_replayed_with_one_effect(services, client):
    memory_id = added(services, client)
    job = client.update(memory_id, "repaired")
    record = services.keys.job(job.id)
    payload = services.control.hget(record, "payload")
    services.control.hset(record, mapping={"payload": b"{", "attempts": b"x"})
    drain(services, job)
    letter = client.dead_letter(job.id)
    assert (letter.payload, letter.raw_payload, letter.attempts) == (None, "{", 1)
    services.control.hset(record, "payload", payload)
    client.replay(job.id)
    drain(services, job)
    assert job.wait(1).status == "succeeded"
    assert client.get(memory_id).memory == "repaired"


def test_an_unreadable_letter_shows_in_the_command_line(services, client, settings, cli):
    job = client.add("hello", user_id="ana", infer=False)
    services.control.hset(services.keys.job(job.id), "payload", b"{\xff")
    drain(services, job)
    assert cli(settings, "dead")[0] == 0
    code, shown, _ = cli(settings, "dead", "show", job.id)
    assert code == 0
    assert "cannot be read" in shown
    assert cli(settings, "dead", "show", job.id, "--json")[0] == 0
    assert cli(settings, "jobs")[0] == 0


def test_an_unreadable_payload_that_names_an_erased_memory_is_not_kept(services, client):
    memory_id = added(services, client)
    job = client.update(memory_id, "a secret")
    services.control.hset(services.keys.job(job.id), "payload", f'{{"{memory_id}": "a secret"')
    drain(services, job)
    drain(services, client.delete(memory_id, hard=True))
    letter = client.dead_letter(job.id)
    assert (letter.payload, letter.raw_payload) == (None, "")


def test_damaged_jobs_of_inference_are_letters_too(services, client):
    jobs = [client.add("I sing", user_id="ana") for _ in range(3)]
    services.control.hset(services.keys.job(jobs[1].id), "payload", b'{"operations": [{"op": "infer", "messages": 1}]}')
    services.control.hset(services.keys.job(jobs[2].id), "payload", b'{"planned": 1, "operations": [1]}')
    for key in (services.keys.usage, services.keys.project("default")):
        services.control.hset(key, mapping={"categories": "{", "facts:ADD": "x", "degraded_jobs": "x"})
    drain_all(services)
    assert [job.status() for job in jobs] == ["succeeded", "failed", "failed"]
    assert {letter.error["code"] for letter in client.dead_letters()} == {"PAYLOAD_UNREADABLE"}
    assert client.project_rules().categories == []
    look_around(services, client)
    assert INFERENCE in shard_of_job(services, jobs[0])


def test_a_damaged_chunk_of_a_re_embedding_ends(services, client):
    ids = [added(services, client, f"fact {n}") for n in range(2)]
    job = client.batch_delete([{"memory_id": each} for each in ids])
    record = services.keys.job(f"{job.id}:0")
    mixed = [{"op": "embed", "memory_id": ids[0], "space": "x"}, {"op": "delete", "memory_id": ids[1]}]
    services.control.hset(record, "payload", json.dumps({"operations": mixed}))
    drain_all(services)
    assert job.wait(1).status == "failed"
    assert account_of(services, job)["done"] == 2
    assert MAINTENANCE not in shard_of_job(services, client.add("x", user_id="a", infer=False))


def test_the_sweeper_survives_damaged_lists(services, client, openai_server):
    memory_id = added(services, client)
    keys, control = services.keys, services.control
    lock = keys.lock(memory_id)
    services.data.set(lock, "another worker", px=60_000)
    job = client.update(memory_id, "new")
    drain(services, job)
    services.data.delete(lock)
    members = ["", "no colon", ":", "no shard:", b"\xff\xfe", ":no shard", f"odd shard:{job.id}x"]
    control.zadd(keys.delayed, dict.fromkeys(members, 1))
    control.zadd(keys.accepting, {"gone": 1, b"\xff": 1, "text": 1})
    control.set(keys.job("text"), "text")
    control.sadd(keys.shards, "", b"\xff", "odd", "bulk-wrong")
    control.rpush(keys.inbox("bulk-wrong"), "what")
    bring_back(services, job)
    assert job.status() == "succeeded"
    assert control.zcard(keys.accepting) == 0
    waiting = client.update(memory_id, "newer")
    control.delete(keys.wakeup(shard_of_job(services, waiting)))
    assert shard_of_job(services, waiting) in Sweeper(services).sweep()
    assert control.zcard(keys.delayed) == 0
    control.delete(keys.job("text"), keys.inbox("bulk-wrong"))


def test_a_delayed_job_whose_member_is_damaged_comes_back(services, client):
    memory_id = added(services, client)
    services.data.set(services.keys.lock(memory_id), "another worker", px=60_000)
    job = client.update(memory_id, "new")
    drain(services, job)
    services.data.delete(services.keys.lock(memory_id))
    services.control.delete(services.keys.delayed)
    services.control.zadd(services.keys.delayed, {job.id: 1})
    Sweeper(services).sweep()
    drain(services, job)
    assert job.status() == "succeeded"


def test_a_step_of_a_sweep_that_fails_does_not_keep_the_others_from_running(services, client, caplog):
    job = client.add("hello", user_id="ana", infer=False)
    shard = shard_of_job(services, job)
    services.control.delete(services.keys.wakeup(shard))
    for key in (services.keys.delayed, services.keys.accepting):
        services.control.delete(key)
        services.control.set(key, "text")
    with caplog.at_level(logging.WARNING):
        assert Sweeper(services).sweep() == {shard}
    assert len([record for record in caplog.records if "sweep" in record.message]) == 2


def test_housekeeping_survives_damaged_lists(services, client):
    job = client.add("hello", user_id="ana", infer=False)
    drain(services, job)
    keys, control = services.keys, services.control
    control.zadd(keys.jobs("default"), {b"\xff": 1, "": 2, "gone": 3})
    control.set(keys.jobs("odd"), "text")
    control.zadd(keys.conflicts("default"), {b"\xff": 1, "no colon": 2, ":": 3})
    control.set(keys.conflicts("odd"), "text")
    control.hset(keys.migration, mapping={"job": "\x00", "phase": "dancing", "switched_at": "x"})
    assert client.conflicts() == []
    counts = keep_house(services.store, services.notifier, 4_000_000_000.0)
    assert counts["removed"] == 6
    assert control.zcard(keys.conflicts("default")) == 0
    look_around(services, client)
