"""`emendo import`: a store gets back what an export holds, beside live traffic, and no more than that."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from emendo_client import MemoryClient
from emendo_config.spaces.registry import SpaceState, save_space
from emendo_config.store import scripts
from emendo_config.store.pipeline import as_text
from emendo_ops.backup import export, importing, reading
from emendo_workers.memories import apply
from emendo_workers.memories import importing as commands
from tests.support.failover import Replica
from tests.support.intake import added, drain, drain_all
from tests.support.migrating import active_space, worked


@pytest.fixture(autouse=True)
def small_pages(monkeypatch):
    for module, name in ((export, "PAGE"), (importing, "PAGE"), (commands, "PAGE"), (importing, "AT_ONCE")):
        monkeypatch.setattr(module, name, 2)


@pytest.fixture
def restoring(services, cli, tmp_path):
    return Restoring(services, cli, tmp_path)


class Restoring:
    """Exports and imports the store of a test, and loses its memories in between."""

    def __init__(self, services, cli, folder) -> None:
        self.services, self.cli, self.folder = services, cli, folder

    def exported(self, name: str, *words: str):
        file = self.folder / name
        code, _, err = self.cli(self.services.settings, "export", str(file), *words)
        assert code == 0, err
        return file

    def imported(self, file, *words: str, code: int = 0) -> dict:
        found, out, err = self.cli(self.services.settings, "import", str(file), "--json", *words)
        assert found == code, err
        return json.loads(out)

    def names(self) -> list[bytes]:
        keys, data = self.services.keys, self.services.data
        patterns = (f"{keys.prefix}{kind}:*" for kind in ("memory", "history", "applied"))
        return sorted(name for pattern in patterns for name in data.scan_iter(match=pattern, count=1_000))

    def lose(self) -> None:
        self.services.data.delete(*self.names())

    def content(self) -> dict[str, object]:
        data = self.services.data
        read = {b"hash": data.hgetall, b"stream": data.xrange, b"string": data.get}
        return {as_text(name): read[data.type(name)](name) for name in self.names()}

    def version(self, memory_id: str) -> int:
        return int(self.services.data.hget(self.services.keys.memory(memory_id), "version"))


def told(report: dict) -> dict[str, int]:
    """The counts that are not 0."""
    return {name: count for name, count in report.items() if isinstance(count, int) and count}


def changed_store(services, client, store) -> None:
    for number in range(5):
        drain(services, client.update(store[0], f"text {number}", {"n": number, "m": None}))
    drain(services, client.update(store[1], metadata={"tags": ["a", {"b": 1.5}]}))
    added(services, client, "lasts a day", expires_at="2090-01-01T00:00:00+00:00", agent_id="shop", run_id="r 1")
    with MemoryClient(services.settings, project="another") as other:
        other.add("of another project", user_id="bob", infer=False)
        drain_all(services)


def test_an_import_restores_everything_as_it_was_and_a_second_one_changes_nothing(services, client, restoring, store):
    changed_store(services, client, store)
    file = restoring.exported("all.jsonl", "--all-projects", "--vectors")
    before = restoring.content()
    restoring.lose()
    assert told(restoring.imported(file)) == {"created": 7}
    assert restoring.content() == before
    assert told(restoring.imported(file)) == {"same": 7}
    assert restoring.content() == before
    assert all(client.diagnose(memory_id).ok for memory_id in store)
    assert client.search("text 4", user_id="ana")[0].id == store[0]
    drain(services, client.restore(store[0], 2))
    assert client.get(store[0]).memory == "text 0"
    assert not list(services.data.scan_iter(match=f"{services.keys.prefix}importing:*"))


def test_one_project_of_an_export(services, client, restoring, store):
    changed_store(services, client, store)
    file = restoring.exported("all.jsonl", "--all-projects")
    restoring.lose()
    assert told(restoring.imported(file, "--project", "another"))["created"] == 1
    assert client.get_all(all_users=True, include_deleted=True).total == 0


def test_missing_vectors_are_made_by_workers(services, client, restoring, store):
    file = restoring.exported("texts.jsonl")
    before = restoring.content()
    restoring.lose()
    report = restoring.imported(file)
    assert told(report) == {"created": 5, "lacking_vectors": 4}
    worked(services, client.job(report["embedding"]))
    assert {name: value for name, value in restoring.content().items() if ":applied:" not in name} == {
        name: value for name, value in before.items() if ":applied:" not in name
    }
    assert told(restoring.imported(file)) == {"same": 5}


def test_the_newer_one_stays(services, client, restoring, store):
    memory_id = store[0]
    first = restoring.exported("first.jsonl", "--vectors")
    for number in range(4):
        drain(services, client.update(memory_id, f"text {number}"))
    second = restoring.exported("second.jsonl", "--vectors")
    assert told(restoring.imported(first)) == {"same": 4, "newer_kept": 1}
    assert restoring.version(memory_id) == 5
    restoring.lose()
    restoring.imported(first)
    assert told(restoring.imported(second))["updated"] == 1
    assert (restoring.version(memory_id), client.get(memory_id).memory) == (5, "text 3")
    assert client.diagnose(memory_id).ok
    restoring.lose()
    restoring.imported(first)
    drain(services, client.update(memory_id, "another change"))
    assert told(restoring.imported(second))["other_kept"] == 1
    assert client.get(memory_id).memory == "another change"


def test_what_was_erased_stays_erased_and_is_erased_again(services, client, restoring, store):
    with_it = restoring.exported("before.jsonl")
    drain(services, client.delete(store[0], hard=True))
    without = restoring.exported("after.jsonl")
    assert told(restoring.imported(with_it)) == {"same": 4, "newer_kept": 1}
    assert "fact 0" not in str(restoring.content())
    restoring.lose()
    restoring.imported(with_it)
    report = restoring.imported(without)
    assert told(report)["erased"] == 1
    drain(services, client.job(report["erasures"][0]))
    assert "fact 0" not in str(restoring.content())
    restoring.lose()
    assert told(restoring.imported(without))["created"] == 5
    assert told(restoring.imported(with_it)) == {"same": 4, "newer_kept": 1, "lacking_vectors": 3}


def test_no_later_version_of_a_file_brings_an_erased_memory_back(services, client, restoring, store):
    older = restoring.exported("older.jsonl", "--vectors")
    for number in range(3):
        drain(services, client.update(store[0], f"secret {number}"))
    newer = restoring.exported("newer.jsonl", "--vectors")
    restoring.lose()
    restoring.imported(older)
    drain(services, client.delete(store[0], hard=True))
    assert restoring.version(store[0]) == 2
    assert told(restoring.imported(newer)) == {"same": 4, "newer_kept": 1}
    assert "secret" not in str(restoring.content())


def test_damaged_lines_are_refused_by_number_without_their_text(services, client, restoring, store):
    for number in range(4):
        drain(services, client.update(store[0], f"text {number}"))
    file = restoring.exported("whole.jsonl")
    lines = file.read_text(encoding="utf-8").splitlines()
    before = restoring.content()

    def tried(*damaged: str) -> dict:
        restoring.lose()
        (restoring.folder / "damaged.jsonl").write_text("\n".join(damaged) + "\n", encoding="utf-8")
        return restoring.imported(restoring.folder / "damaged.jsonl", code=1)

    for at in range(1, len(lines) - 1):
        is_part = "more" in json.loads(lines[at])
        cut = tried(*lines[:at], lines[at][: len(lines[at]) // 2], *lines[at + 1 :])
        assert at + 1 in [each["line"] for each in cut["refusals"]]
        gone = tried(*lines[:at], *lines[at + 1 :])
        assert gone["created"] == 4
        assert gone["refusals"] if is_part else gone["missing"] == 1
        restoring.imported(file)
        assert restoring.content().keys() == before.keys()
    at = next(n for n, line in enumerate(lines) if store[1] in line)
    for word, other, reason in (
        ("fact 1", "fuct 1", "damaged: newest_text, text_hash"),
        ('"project":"default"', '"project":""', "project is empty or has white space at an end"),
        ('"id":"1-0"', '"id":"2-0"', "an entry of its history has another id than its version's"),
        ('"version":"1"', '"version":"x"', "damaged: fields"),
        ('"stamps":"[', '"stamps":"[[', "damaged: fields"),
        (store[1], "../etc", "memory_id is malformed"),
    ):
        changed = lines[at].replace(word, other, 1)
        report = tried(*lines[:at], changed, *lines[at + 1 :])
        (refusal,) = report["refusals"]
        assert refusal["line"] == at + 1
        assert reason in refusal["reason"], word
        assert "fact 1" not in json.dumps(report)


def test_a_file_that_is_no_whole_export_is_refused(services, restoring, store):
    file = restoring.exported("whole.jsonl")
    lines = file.read_text(encoding="utf-8").splitlines(keepends=True)
    other = restoring.folder / "other.jsonl"

    def refused(text: str) -> str:
        other.write_text(text, encoding="utf-8")
        code, _, err = restoring.cli(services.settings, "import", str(other))
        assert code == 1
        return err

    for text in ("", "{}\n", "no json\n", "".join(lines[1:])):
        assert "no export" in refused(text)
    assert "format 2" in refused(lines[0].replace('"emendo_export":1', '"emendo_export":2') + "".join(lines[1:]))
    assert "not whole" in refused("".join(lines[:-1]))
    assert "not whole" in refused("".join(lines)[:-3])
    restoring.lose()
    other.write_text("".join(lines[:3]), encoding="utf-8")
    assert told(restoring.imported(other, "--incomplete"))["created"] == 2


def test_an_import_that_dies_at_any_step_is_made_whole_by_the_next_one(services, client, restoring, monkeypatch, store):
    for number in range(4):
        drain(services, client.update(store[0], f"text {number}"))
    file = restoring.exported("whole.jsonl", "--vectors")
    before, run = restoring.content(), scripts.run

    def attempt(steps: int) -> bool:
        left = [steps]

        def dying(connection, commands, **more):
            left[0] -= 1
            if left[0] < 0:
                raise RedisConnectionError
            return run(connection, commands, **more)

        with file.open("rb") as opened, monkeypatch.context() as patched:
            found = reading.ExportFile(opened, incomplete=False)
            made = importing.Import(services.store, found.spaces)
            patched.setattr(importing.scripts, "run", dying)
            try:
                for memory in found.memories():
                    made.take([memory])
            except RedisConnectionError:
                return False
        return True

    steps = 0
    while True:
        restoring.lose()
        is_whole = attempt(steps)
        restoring.imported(file)
        assert restoring.content() == before
        services.data.delete(*(services.data.keys(f"{services.keys.prefix}importing:*") or ["none"]))
        if is_whole:
            break
        steps += 1
    assert steps >= 10


def test_a_change_during_the_import_is_kept_whoever_comes_first(services, client, restoring, monkeypatch, store):
    memory_id = store[0]
    first = restoring.exported("first.jsonl", "--vectors")
    for number in range(3):
        drain(services, client.update(memory_id, f"text {number}"))
    second = restoring.exported("second.jsonl", "--vectors")
    restoring.lose()
    restoring.imported(first)
    # A worker has opened the memory when the import writes it: it decides again, on what was imported.
    embed = apply.embed_texts
    reports = []

    def with_an_import(*arguments):
        if not reports:
            reports.append(restoring.imported(second))
        return embed(*arguments)

    monkeypatch.setattr(apply, "embed_texts", with_an_import)
    drain(services, client.update(memory_id, metadata={"new": 1}))
    assert told(reports[0])["updated"] == 1
    assert (restoring.version(memory_id), client.get(memory_id).memory) == (5, "text 2")
    assert client.get(memory_id).metadata == {"new": 1}
    # A worker commits between the look of the import and its step: the memory is newer, and stays.
    restoring.lose()
    restoring.imported(first)
    stage = importing.Import._stage

    def with_a_change(made, memory):
        if memory.id == memory_id and restoring.version(memory_id) == 1:
            for number in range(5):
                drain(services, client.update(memory_id, f"later {number}"))
        return stage(made, memory)

    monkeypatch.setattr(importing.Import, "_stage", with_a_change)
    assert told(restoring.imported(second))["newer_kept"] == 1
    assert client.get(memory_id).memory == "later 4"
    services.data.delete(*services.data.keys(f"{services.keys.prefix}importing:*"))


def test_a_change_that_took_the_number_of_a_lost_one_during_the_import_is_kept(
    services, client, restoring, monkeypatch, store
):
    """The import saw version 2 of the lost change; a failover and another job make a version 2 of their own."""
    memory_id, stage = store[0], importing.Import._stage
    before = Replica(services, memory_id)
    drain(services, client.update(memory_id, "lost"))
    seen = Replica(services, memory_id)
    drain(services, client.update(memory_id, "in the file"))
    file = restoring.exported("whole.jsonl", "--vectors")
    seen.take_over()

    def with_a_failover(made, memory):
        if memory.id == memory_id and client.get(memory_id).memory == "lost":
            before.take_over()
            drain(services, client.update(memory_id, "of another job"))
        return stage(made, memory)

    monkeypatch.setattr(importing.Import, "_stage", with_a_failover)
    assert restoring.version(memory_id) == 2
    assert told(restoring.imported(file))["other_kept"] == 1
    assert (restoring.version(memory_id), client.get(memory_id).memory) == (2, "of another job")
    services.data.delete(*services.data.keys(f"{services.keys.prefix}importing:*"))


def test_a_job_that_is_in_the_imported_history_has_no_second_effect(services, client, restoring, store):
    job = client.update(store[0], "once")
    record = services.control.dump(services.keys.job(job.id))
    drain(services, job)
    file = restoring.exported("whole.jsonl", "--vectors")
    restoring.lose()
    restoring.imported(file)
    services.control.restore(services.keys.job(job.id), 0, record, replace=True)
    shard = as_text(services.control.hget(services.keys.job(job.id), "shard"))
    services.control.xadd(services.keys.inbox(shard), {"job": job.id})
    drain(services, job)
    assert (job.wait(1).results[0].version, restoring.version(store[0])) == (2, 2)


def test_later_submissions_are_newer_than_what_was_imported(services, client, restoring, store):
    ahead = int((services.store.control_time() + 1_000) * 1_000_000)
    services.control.set(services.keys.clock, ahead)
    drain(services, client.update(store[0], "by a clock that was ahead"))
    file = restoring.exported("whole.jsonl", "--vectors")
    services.control.delete(services.keys.clock)
    restoring.imported(file)
    drain(services, client.update(store[0], "after the restore"))
    assert client.get(store[0]).memory == "after the restore"


def test_an_import_waits_for_the_end_of_a_re_embedding(services, restoring, store):
    file = restoring.exported("whole.jsonl")
    active = active_space(services)
    coming = replace(active, space=replace(active.space, generation=2), state=SpaceState.FILLING)
    save_space(services.data, services.keys, coming)
    code, _, err = restoring.cli(services.settings, "import", str(file))
    assert (code, "re-embedding is under way" in err) == (1, True)
