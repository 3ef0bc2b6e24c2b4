"""An erasure reaches more than the memory: jobs that wait, the user's name in the history, the append-only file."""

from __future__ import annotations

import json
import time

from emendo_client.testing.openai_server.faults import Fault
from emendo_config.store.pipeline import as_text
from emendo_workers.maintenance import append_only
from emendo_workers.maintenance.append_only import rewrite_after_erasures
from tests.support.erasing import OWNER, SECRET, assert_nothing_is_left, erase, everything
from tests.support.intake import added, drain_all, let_time_pass, reconfigure


def test_a_job_that_waits_holds_no_content_of_the_items_it_has_settled(services, client):
    ids = [added(services, client, f"fact {n}") for n in range(2)]
    lock = services.keys.lock(ids[1])
    services.data.set(lock, "another worker", px=60_000)
    job = client.batch_update(
        [
            {"memory_id": ids[0], "text": SECRET},
            {"memory_id": ids[1], "text": "fine"},
            {"memory_id": "nobody-knows-it", "text": SECRET},
        ]
    )
    drain_all(services)
    assert client.job(f"{job.id}:0").status() == "retrying"
    payload = json.loads(services.control.hget(services.keys.job(f"{job.id}:0"), "payload"))
    assert [operation.get("text") for operation in payload["operations"]] == [None, "fine", None]
    erase(services, client, ids[0])
    assert_nothing_is_left(services)
    services.data.delete(lock)
    let_time_pass(services)
    drain_all(services)
    result = job.wait(1)
    assert [(item.error or {}).get("code") for item in result.results] == [None, None, "MEMORY_NOT_FOUND"]
    assert client.get(ids[1]).memory == "fine"


def test_an_item_that_a_replay_may_change_keeps_its_content_while_the_job_waits(services, client, openai_server):
    ids = [added(services, client, f"fact {n}") for n in range(2)]
    openai_server.faults.add(Fault("bad_request", times=100, match="unbearable"))
    lock = services.keys.lock(ids[1])
    services.data.set(lock, "another worker", px=60_000)
    job = client.batch_update([{"memory_id": ids[0], "text": "unbearable"}, {"memory_id": ids[1], "text": "fine"}])
    drain_all(services)
    services.data.delete(lock)
    let_time_pass(services)
    drain_all(services)
    assert job.status() == "partially_succeeded"
    openai_server.faults.clear()
    client.replay(job.id)
    drain_all(services)
    assert [item.error for item in job.wait(1).results] == [None, None]
    assert client.get(ids[0]).memory == "unbearable"


def test_the_users_own_name_leaves_the_history_and_an_operators_stays(services, client):
    job = client.add("a fact", user_id=OWNER, infer=False)
    drain_all(services)
    memory_id = job.wait(1).results[0].memory_id
    for actor in (OWNER, "editor"):
        client.update(memory_id, f"changed by {actor}", actor_id=actor, role="user")
        drain_all(services)
    erase(services, client, memory_id)
    assert [(entry.actor_id, entry.role) for entry in client.history(memory_id)] == [
        *((None, "user"), (None, None), ("editor", "user"), ("officer", None)),
    ]
    assert OWNER not in everything(services)


def test_the_append_only_file_is_rewritten_once_after_erasures(services, client, monkeypatch):
    asked = []
    monkeypatch.setattr(append_only, "_rewrite", lambda connection, plane: not asked.append(plane))
    now = time.time()
    assert rewrite_after_erasures(services.store, now) == 0
    memory_id = added(services, client, "a fact")
    erase(services, client, memory_id)
    assert rewrite_after_erasures(services.store, now + 10) == 1
    assert rewrite_after_erasures(services.store, now + 20) == 0
    second = added(services, client, "a fact")
    reconfigure(services, aof_rewrite_interval=100.0)
    erase(services, client, second)
    services.control.hset(services.keys.housekeeping, "erased", int((now + 30) * 1_000))
    assert rewrite_after_erasures(services.store, now + 60) == 0, "one in each interval"
    assert rewrite_after_erasures(services.store, now + 120) == 1
    assert asked == ["control", "control"]


def test_redis_is_asked_only_if_it_keeps_an_append_only_file(services):
    kept = as_text(services.control.config_get("appendonly")["appendonly"])
    assert append_only._rewrite(services.control, "control") is (kept == "yes")
