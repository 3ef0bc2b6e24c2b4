"""No dead letter holds an erased text, whichever worker records it, and at any time."""

from __future__ import annotations

from emendo_client.testing.openai_server.faults import Fault
from emendo_config.store import scripts
from emendo_workers.intake.attempt import BatchRunner
from emendo_workers.intake.drain import Drain
from tests.support.intake import added, drain, shard_of_job


def test_an_erased_memory_leaves_nothing_in_a_job_that_failed_beside_it(services, client):
    memory_id = added(services, client)
    drain(services, client.delete(memory_id))
    failed = client.update(memory_id, "a secret")
    erased = client.delete(memory_id, hard=True)
    drain(services, erased)
    assert (failed.status(), erased.status()) == ("failed", "succeeded")
    assert b"secret" not in (services.control.hget(services.keys.job(failed.id), "payload") or b"")


def test_an_erasure_while_a_failure_is_being_recorded_leaves_nothing_either(
    services, client, openai_server, monkeypatch
):
    memory_id = added(services, client)
    openai_server.faults.add(Fault("bad_request", times=100, match="secret"))
    failed = client.update(memory_id, "a secret")
    shard = shard_of_job(services, failed)
    real = BatchRunner._finish

    def finish(self, outcomes):
        monkeypatch.setattr(BatchRunner, "_finish", real)
        if outcomes[0].work.job_id == failed.id:  # another worker is faster, by a batch on another shard
            batch = client.batch_delete([{"memory_id": memory_id}], hard=True)
            Drain(services, services.control.hget(services.keys.job(f"{batch.id}:0"), "shard").decode()).run()
            assert batch.status() == "succeeded"
        return real(self, outcomes)

    monkeypatch.setattr(BatchRunner, "_finish", finish)
    Drain(services, shard).run()
    assert failed.status() == "failed"
    assert b"secret" not in services.control.hget(services.keys.job(failed.id), "payload")


def test_a_record_that_changed_or_went_meanwhile_is_not_written(services):
    record = services.keys.job("ended")
    redacting = scripts.redact(record=record, field="results", stored="read", kept="without content")
    services.control.hset(record, "results", "newer")
    assert scripts.redact.replies(scripts.run(services.control, [redacting])) == [False]
    assert services.control.hget(record, "results") == b"newer"
    services.control.delete(record)
    assert scripts.redact.replies(scripts.run(services.control, [redacting])) == [False]
    assert not services.control.exists(record), "it would have no expiry"
