"""EMENDO_HISTORY_ENTRIES: the newest entries stay whole, older ones go, and nobody takes that for damage."""

from __future__ import annotations

import pytest

from emendo_client.errors import ConfigurationError
from emendo_config import Settings
from emendo_config.store.formats import version_entry_id
from tests.support.erasing import assert_nothing_is_left
from tests.support.intake import added, drain, drain_all, with_settings


def changed(services, client, memory_id: str, versions: range) -> None:
    for version in versions:
        drain(services, client.update(memory_id, f"text {version}", {"n": version}))


def test_only_the_newest_entries_stay_and_the_memory_is_whole(services, client):
    with_settings(services, client, history_entries=3)
    memory_id = added(services, client, "text 1")
    for version in range(2, 8):
        changed(services, client, memory_id, range(version, version + 1))
        history = client.history(memory_id)
        first = max(1, version - 2)
        assert [entry.version for entry in history] == list(range(first, version + 1))
        assert client.diagnose(memory_id).ok, client.diagnose(memory_id).wrong
    assert [(entry.old_memory, entry.new_memory) for entry in history] == [
        (None, "text 5"),
        ("text 5", "text 6"),
        ("text 6", "text 7"),
    ]
    assert services.data.xlen(services.keys.history(memory_id)) == 3


def test_a_restore_to_a_version_that_is_gone_says_so(services, client):
    with_settings(services, client, history_entries=2)
    memory_id = added(services, client, "text 1")
    changed(services, client, memory_id, range(2, 6))
    refused, unknown = client.restore(memory_id, version=2), client.restore(memory_id, version=9)
    kept = client.restore(memory_id, version=4)
    drain_all(services)
    assert refused.wait(1).error["code"] == "VERSION_TRIMMED"
    assert unknown.wait(1).error["code"] == "NO_SUCH_VERSION"
    assert kept.wait(1).status == "succeeded"
    assert client.get(memory_id).memory == "text 4"


def test_operations_of_one_batch_are_trimmed_together(services, client):
    with_settings(services, client, history_entries=2)
    memory_id = added(services, client, "text 1")
    for version in range(2, 8):
        client.update(memory_id, f"text {version}")
    drain_all(services)
    assert [entry.new_memory for entry in client.history(memory_id)] == ["text 6", "text 7"]
    assert client.diagnose(memory_id).ok


def test_a_limit_that_comes_late_shortens_a_long_history_in_bounded_steps(services, client):
    memory_id = added(services, client, "text 1")
    key = services.keys.history(memory_id)
    [(_, entry)] = services.data.xrange(key)
    pipeline = services.data.pipeline(transaction=False)
    for version in range(2, 1_301):
        pipeline.xadd(key, {**entry, b"version": version}, version_entry_id(version))
    pipeline.hset(services.keys.memory(memory_id), "version", 1_300)
    pipeline.execute()
    with_settings(services, client, history_entries=100)
    lengths = []
    for version in range(1_301, 1_305):
        changed(services, client, memory_id, range(version, version + 1))
        lengths.append(services.data.xlen(key))
        assert client.diagnose(memory_id).ok, client.diagnose(memory_id).wrong
    assert lengths == [801, 302, 100, 100]


def test_raising_or_lifting_the_limit_is_no_damage(services, client):
    with_settings(services, client, history_entries=2)
    memory_id = added(services, client, "text 1")
    changed(services, client, memory_id, range(2, 6))
    for limit in (4, None):
        with_settings(services, client, history_entries=limit)
        before = client.history(memory_id)
        changed(services, client, memory_id, range(before[-1].version + 1, before[-1].version + 2))
        assert [entry.version for entry in client.history(memory_id)][: len(before)] == [e.version for e in before]
        assert client.diagnose(memory_id).ok, client.diagnose(memory_id).wrong


def test_a_beginning_that_nobody_removed_is_still_missed(services, client):
    with_settings(services, client, history_entries=3)
    memory_id = added(services, client, "text 1")
    changed(services, client, memory_id, range(2, 7))
    services.data.xdel(services.keys.history(memory_id), version_entry_id(4))
    wrong = {finding.check for finding in client.diagnose(memory_id).wrong}
    assert wrong == {"history_versions"}


def test_an_erased_memory_with_a_trimmed_history_is_whole(services, client):
    with_settings(services, client, history_entries=3)
    memory_id = added(services, client, "unutterable-text 1")
    changed(services, client, memory_id, range(2, 6))
    drain(services, client.delete(memory_id, hard=True))
    assert_nothing_is_left(services)
    assert [entry.version for entry in client.history(memory_id)] == [4, 5, 6]
    assert client.diagnose(memory_id).ok, client.diagnose(memory_id).wrong


def test_a_job_tells_the_old_text_as_long_as_the_history_has_it(services, client):
    with_settings(services, client, history_entries=1)
    memory_id = added(services, client, "text 1")
    job = client.update(memory_id, "text 2")
    drain(services, job)
    result = job.wait(1).results[0]
    assert (result.memory, result.previous_memory) == ("text 2", None)


def test_an_update_stores_its_text_once(services, client):
    memory_id = added(services, client, "x" * 1_000, metadata={"k": "y" * 500})
    drain(services, client.update(memory_id, "z" * 1_000))
    for _, raw in services.data.xrange(services.keys.history(memory_id)):
        assert sum(map(len, raw.values())) < 2_000
    second = client.history(memory_id)[1]
    assert (second.old_memory, second.old_metadata) == ("x" * 1_000, {"k": "y" * 500})


@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_keeps_at_least_one_entry(value):
    with pytest.raises(ConfigurationError, match="EMENDO_HISTORY_ENTRIES"):
        Settings(history_entries=value)
