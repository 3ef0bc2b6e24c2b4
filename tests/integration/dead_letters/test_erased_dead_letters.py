"""Dead letters lose what they hold of an erased memory, whenever they are made."""

from __future__ import annotations

import json

from emendo_client.testing.openai_server.faults import Fault
from emendo_workers.intake.attempt import BatchRunner
from emendo_workers.intake.drain import Drain
from emendo_workers.jobs import dead_letter_erasure
from tests.support.erasing import LABEL, OWNER, PRIVATE, SECRET, assert_nothing_is_left, erase, everything
from tests.support.intake import added, drain_all, shard_of_memory


def test_dead_letters_lose_the_erased_memory_and_keep_the_others(services, client, openai_server):
    ids = [added(services, client, f"fact {n}") for n in range(2)]
    openai_server.faults.add(Fault("bad_request", times=100, match="refuse"))
    single = client.update(ids[0], f"refuse {SECRET}", {LABEL: PRIVATE})
    batch = client.batch_update(
        [
            {"memory_id": ids[0], "text": f"refuse {SECRET}", "metadata": {LABEL: PRIVATE}},
            {"memory_id": ids[1], "text": "refuse only this"},
        ]
    )
    several = client.add(f"refuse {SECRET}", user_id="ana", infer=False)
    drain_all(services)
    assert len(client.dead_letters()) == 3
    erase(services, client, ids[0])
    openai_server.faults.clear()
    found = everything(services)
    assert "refuse only this" in found
    assert LABEL not in found
    client.replay(single.id)
    client.replay(batch.id)
    drain_all(services)
    assert single.wait(1).error["code"] == "MEMORY_ERASED"
    assert [(item.error or {}).get("code") for item in batch.wait(1).results] == ["MEMORY_ERASED", None]
    assert client.get(ids[1]).memory == "refuse only this"
    client.replay(several.id)
    drain_all(services)
    later = several.wait(1).results[0].memory_id
    erase(services, client, later)
    assert_nothing_is_left(services)


def test_a_chunk_that_fails_after_the_erasure_keeps_only_what_may_be_replayed(services, client, openai_server):
    ids = [added(services, client, f"fact {n}") for n in range(2)]
    openai_server.faults.add(Fault("bad_request", times=100, match="refuse"))
    batch = client.batch_update(
        [
            {"memory_id": ids[0], "text": SECRET, "metadata": {LABEL: PRIVATE}},
            {"memory_id": ids[1], "text": "refuse only this"},
        ]
    )
    client.delete(ids[0], hard=True)
    Drain(services, shard_of_memory(services, ids[0])).run()
    drain_all(services)
    assert [item.error["code"] for item in batch.wait(1).results] == ["MEMORY_ERASED", "EMBEDDING"]
    assert_nothing_is_left(services)
    openai_server.faults.clear()
    client.replay(batch.id)
    drain_all(services)
    assert [(item.error or {}).get("code") for item in batch.wait(1).results] == ["MEMORY_ERASED", None]
    assert client.dead_letters() == []


def test_an_added_memory_that_is_erased_leaves_its_jobs_dead_letter(services, client, openai_server):
    openai_server.faults.add(Fault("bad_request", times=100, match="refuse"))
    messages = [{"role": "user", "content": text, "name": OWNER} for text in (SECRET, "refuse this")]
    job = client.add(messages, user_id=OWNER, metadata={LABEL: PRIVATE}, infer=False)
    drain_all(services)
    assert job.wait(1).status == "partially_succeeded"
    erase(services, client, job.wait(1).results[0].memory_id)
    (letter,) = client.dead_letters()
    gone, kept = json.loads(services.control.hget(services.keys.job(letter.job_id), "payload"))["operations"]
    assert not {"text", "metadata", "user_id"} & gone.keys()
    assert (kept["text"], kept["user_id"]) == ("refuse this", OWNER)
    openai_server.faults.clear()
    client.replay(job.id)
    drain_all(services)
    assert [item.error for item in job.wait(1).results] == [None, None]


def test_a_job_that_dies_while_its_memory_is_erased_leaves_no_content(services, client, openai_server, monkeypatch):
    """The update has failed and is about to become a dead letter when the erasure looks for dead letters."""
    memory_id = added(services, client, "harmless")
    openai_server.faults.add(Fault("bad_request", times=100, match="refuse"))
    batch = client.batch_update([{"memory_id": memory_id, "text": f"refuse {SECRET}"}])
    real, erasing = BatchRunner._finish, []

    def erase_meanwhile(self, outcomes):
        if not erasing:
            erasing.append(client.delete(memory_id, hard=True))
            Drain(services, shard_of_memory(services, memory_id)).run()
        return real(self, outcomes)

    with monkeypatch.context() as patch:
        patch.setattr(BatchRunner, "_finish", erase_meanwhile)
        drain_all(services)
    assert erasing[0].status() == "succeeded"
    assert batch.status() == "failed"
    assert_nothing_is_left(services)


def test_dead_letters_that_go_meanwhile_do_not_hide_another_from_the_erasure(
    services, client, monkeypatch, openai_server
):
    monkeypatch.setattr(dead_letter_erasure, "_PAGE", 1)
    memory_id, other = added(services, client, "harmless"), added(services, client, "other")
    openai_server.faults.add(Fault("bad_request", times=100, match="refuse"))
    letters = [client.update(each, f"refuse {SECRET}") for each in (other, other, memory_id)]
    drain_all(services)
    client.delete(memory_id, hard=True)
    real, waiting = dead_letter_erasure._without, letters[:2]

    def discard_meanwhile(payload, erased, **more):
        while waiting:
            client.discard(waiting.pop().id)
        return real(payload, erased, **more)

    monkeypatch.setattr(dead_letter_erasure, "_without", discard_meanwhile)
    drain_all(services)
    assert waiting == []
    assert_nothing_is_left(services)
