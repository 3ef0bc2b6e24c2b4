"""Workers of the last release beside this one: they know no windows of projects, and keep a sweeper's lease."""

from __future__ import annotations

from emendo_workers.intake.sweeper import Sweeper
from tests.support.intake import added, drain_all, with_settings
from tests.support.patience import until


def test_an_older_worker_that_sweeps_keeps_no_window_closed(services, client):
    with_settings(services, client, chunk_items=1, project_window_chunks=1, sweep_interval=0.05)
    ids = [added(services, client, f"fact {n}") for n in range(3)]
    job = client.batch_update([{"memory_id": each, "text": "new"} for each in ids])
    control, keys = services.control, services.keys
    control.set(f"{keys.prefix}sweeper", "an older worker", px=60_000)
    _end_as_an_older_worker(services, f"{job.id}:0")
    assert client.health().waiting == 2
    sweeper = Sweeper(services)
    sweeper.start()
    try:
        until(lambda: client.health().waiting == 1)
    finally:
        sweeper.stop()
        sweeper.join(5.0)
    drain_all(services)
    assert [client.get(each).version for each in ids] == [1, 2, 2]
    assert client.health().waiting == 0


def _end_as_an_older_worker(services, record_id):
    """Ends a chunk without its place in the window, as the last release's `finish.lua` does."""
    record = services.keys.job(record_id)
    shard = services.control.hget(record, "shard").decode()
    services.control.hset(record, mapping={"status": "failed", "finished": 1, "results": "[]"})
    services.control.hdel(record, "payload")
    services.control.expire(record, 60)
    services.control.delete(services.keys.inbox(shard))
