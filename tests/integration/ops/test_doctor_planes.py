"""`emendo doctor --repair` after one of the two planes came back from an older copy, in each direction."""

from __future__ import annotations

import re

import pytest
import redis

from emendo_config.store.pipeline import as_text
from emendo_ops.console import progress
from tests.support.intake import added, bring_back, drain, drain_all, put_aside


@pytest.fixture
def settings(emendo_settings, redis_alone):
    return emendo_settings.model_copy(update={"control_url": redis_alone.url})


Copy = dict[bytes, tuple[bytes, int]]


def copied(plane: redis.Redis, prefix: str) -> Copy:
    names = list(plane.scan_iter(match=f"{prefix}*", count=1_000))
    return {name: (plane.dump(name), max(0, plane.pttl(name))) for name in names}


def restored(plane: redis.Redis, prefix: str, copy: Copy) -> None:
    """The plane has what the copy has, and no more."""
    plane.delete(*plane.scan_iter(match=f"{prefix}*", count=1_000))
    for name, (value, ttl_ms) in copy.items():
        plane.restore(name, ttl_ms, value)


def version(services, memory_id: str) -> int:
    return int(services.data.hget(services.keys.memory(memory_id), "version"))


def test_an_older_control_redis_learns_what_the_data_redis_has(services, client, cli):
    prefix = services.keys.prefix
    changed, disputed, erased = (added(services, client, f"fact {number}") for number in range(3))
    waits = client.update(erased, "secret words")
    put_aside(services, erased, waits)
    queued = client.update(changed, "once")
    older = copied(services.control, prefix)
    ahead = int((services.store.control_time() + 1_000) * 1_000_000)
    drain(services, queued)
    bring_back(services, waits)
    services.control.set(services.keys.clock, ahead)
    drain(services, client.update(disputed, "newer"))
    drain(services, client.update(disputed, "in dispute", expected_version=1, on_conflict="manual"))
    drain(services, client.delete(erased, hard=True))
    (conflict,) = client.conflicts()

    restored(services.control, prefix, older)
    assert client.conflicts() == []
    assert b"secret words" in services.control.hget(services.keys.job(waits.id), "payload")
    _, _, err = cli(services.settings, "doctor", "--repair")
    told = err.splitlines()
    assert "the clock of submissions was behind and is set forward" in told
    assert "1 conflicts are listed again" in told
    assert "1 dead letters or waiting jobs lost the text of erased memories" in told
    assert b"secret words" not in services.control.hget(services.keys.job(waits.id), "payload")
    assert [each.id for each in client.conflicts()] == [conflict.id]
    drain_all(services)  # the job waits again, and finds that it was done
    assert (queued.wait(1).results[0].version, version(services, changed)) == (2, 2)
    drain(services, client.update(disputed, "after the repair"))
    assert client.get(disputed).memory == "after the repair"
    bring_back(services, waits)
    assert (waits.wait(1).results[0].version, client.count("ana")) == (2, 2)
    assert "the two planes agree" in cli(services.settings, "doctor", "--repair")[2]


def test_how_far_a_repair_is_goes_to_standard_error(services, client, cli, monkeypatch):
    monkeypatch.setattr(progress, "LINE_INTERVAL", 0.0)
    for number in range(3):
        added(services, client, f"fact {number}")
    _, _, err = cli(services.settings, "doctor", "--repair")
    told = err.splitlines()
    assert any(re.fullmatch(r"keys of memories: 0 of [\d,]+", line) for line in told), told
    assert "jobs: 0 of 3" in told
    assert " of " not in cli(services.settings, "doctor", "--repair", "--json")[2]


def test_an_older_data_redis_is_said_to_lack_what_jobs_call_done(services, client, cli):
    prefix = services.keys.prefix
    changed, disputed, same = (added(services, client, f"fact {number}") for number in range(3))
    older = copied(services.data, prefix)
    drain(services, client.update(changed, "lost"))
    client.batch_update([{"memory_id": disputed, "text": "lost, too"}])
    drain_all(services)
    gone = added(services, client, "nowhere any more")
    drain(services, client.update(disputed, "in dispute", expected_version=1, on_conflict="manual"))
    assert len(client.conflicts()) == 1

    restored(services.data, prefix, older)
    _, _, err = cli(services.settings, "doctor", "--repair")
    told = err.splitlines()
    assert "1 entries without a job or conflict are taken off the lists" in told
    (lost,) = [line for line in told if "lack changes" in line]
    assert lost.startswith("3 memories")
    assert all(each in lost for each in (changed, disputed, gone))
    assert same not in lost
    assert services.control.zcard(services.keys.conflicts("default")) == 0
    assert as_text(services.control.get(services.keys.clock))
    drain(services, client.update(changed, "goes on"))
    assert (client.get(changed).memory, version(services, changed)) == ("goes on", 2)
