"""`emendo doctor --deep` over a real store: damaged memories, strangers, writers at work, and what it prints."""

from __future__ import annotations

import json
import sys
import threading

import pytest

from emendo_client import MemoryClient
from emendo_client.exchanges.diagnosis import audit as audits
from emendo_config import Keys
from emendo_ops.console import progress as progress_bars
from emendo_ops.doctor import deep
from tests.support.damage import drop_history, hash_of, set_field, work
from tests.support.intake import added, drain
from tests.support.patience import PATIENCE


def deep_json(cli, services, *words):
    code, out, _ = cli(services.settings, "doctor", "--deep", "--json", *words)
    document = json.loads(out)
    states = {finding["check"]: finding for finding in document["findings"]}
    return code, states["memories"], document["memories"]


def test_the_deep_doctor_counts_and_names_the_damaged_of_all_projects(cli, services, client, monkeypatch):
    monkeypatch.setattr(audits, "BATCH", 4)
    monkeypatch.setattr(audits, "MAX_DAMAGED", 2)
    ids = [added(services, client, f"fact {number}") for number in range(6)]
    with MemoryClient(services.settings, project="other") as stranger:
        ids += [added(services, stranger, f"other fact {number}") for number in range(4)]
    work(services, client.delete(ids[0]))
    code, finding, memories = deep_json(cli, services, "--all")
    assert (code, finding["state"], finding["found"]) == (0, "ok", "10 looked at, 0 damaged")
    assert memories == {"looked_at": 10, "wrong": 0, "by_check": {}, "damaged": []}

    for memory_id in (ids[1], ids[2], ids[7]):
        set_field("hash", "0" * 64)(services, memory_id)
    drop_history(services, ids[7])
    code, finding, memories = deep_json(cli, services, "--all")
    assert (code, finding["state"], finding["found"]) == (1, "fail", "10 looked at, 3 damaged")
    assert (memories["wrong"], memories["by_check"]) == (3, {"text_hash": 3, "history": 1})
    assert len(memories["damaged"]) == 2
    assert {damaged["memory_id"] for damaged in memories["damaged"]} < {ids[1], ids[2], ids[7]}
    monkeypatch.setattr(audits, "MAX_DAMAGED", 20)
    damaged = {damaged["memory_id"]: damaged for damaged in deep_json(cli, services)[2]["damaged"]}
    assert {name: entry["project"] for name, entry in damaged.items()} == {
        ids[1]: "default", ids[2]: "default", ids[7]: "other"
    }  # fmt: skip
    assert {finding["check"] for finding in damaged[ids[7]]["findings"]} == {"text_hash", "history"}

    code, out, _ = cli(services.settings, "doctor", "--deep", "--all")
    assert code == 1
    assert all(name in out for name in (ids[1], ids[2], ids[7], "text_hash"))
    assert ids[3] not in out
    assert "fact" not in out


def test_a_sample_is_no_larger_than_asked_for(cli, services, client):
    for number in range(6):
        added(services, client, f"fact {number}")
    assert deep_json(cli, services, "--sample", "4")[2]["looked_at"] == 4
    assert deep_json(cli, services)[2]["looked_at"] == 6


def test_another_installations_memories_are_not_looked_at(cli, services, client):
    memory_id = added(services, client)
    near = services.settings.model_copy(update={"key_prefix": f"{services.settings.key_prefix}memory:"})
    stranger = f"{near.key_prefix}memory:{{{memory_id}}}"
    services.data.hset(stranger, mapping={"id": "not ours"})
    assert deep_json(cli, services, "--all")[1]["found"] == "1 looked at, 0 damaged"
    services.data.delete(stranger)


@pytest.mark.parametrize("odd", ["a*", "[ab]", "?", "back\\slash"])
def test_the_pattern_matches_the_memories_of_its_prefix_only(services, odd):
    keys = Keys(f"{services.settings.key_prefix}{odd}:")
    look_alike = Keys(f"{services.settings.key_prefix}ab:").memory("m")
    for name in (keys.memory("m"), keys.history("m"), look_alike, f"{keys.memory_prefix}m"):
        services.data.set(name, "", ex=600)
    assert list(services.data.scan_iter(match=keys.memory_pattern)) == [keys.memory("m").encode()]


def test_a_key_of_the_wrong_kind_is_a_finding_and_ends_nothing(cli, services, client):
    other = "in-the-way"
    added(services, client)
    services.data.set(hash_of(services, other), "a string", ex=600)
    code, finding, memories = deep_json(cli, services, "--all")
    assert (code, finding["found"]) == (1, "2 looked at, 1 damaged")
    assert [damaged["memory_id"] for damaged in memories["damaged"]] == [other]


def test_the_deep_doctor_says_why_it_could_not_look(cli, services, client):
    assert deep_json(cli, services)[1]["found"] == "0 looked at, 0 damaged"
    added(services, client)
    services.data.execute_command("FT.ALIASDEL", services.keys.index_alias)
    code, finding, memories = deep_json(cli, services)
    assert (code, finding["state"], memories) == (1, "fail", None)
    assert "index" in finding["found"]
    away = services.settings.model_copy(update={"redis_url": "redis://127.0.0.1:1/0"})
    code, out, _ = cli(away, "doctor", "--deep", "--json")
    assert (code, json.loads(out)["findings"][-1]["found"]) == (1, "not looked at")


@pytest.mark.parametrize(
    "words", [("--all",), ("--sample", "5"), ("--deep", "--all", "--sample", "5"), ("--sample", "0")]
)
def test_options_that_contradict_each_other_are_wrong_usage(cli, emendo_settings, words):
    assert cli(emendo_settings, "doctor", *words)[0] == 2


@pytest.mark.parametrize(("terminal", "words", "shown"), [
    (True, (), True), (True, ("--json",), False), (False, (), False)
])  # fmt: skip
def test_progress_is_shown_on_a_terminal_only(cli, services, monkeypatch, terminal, words, shown):  # noqa: PLR0917
    bars = []
    real = progress_bars.Progress

    def progress(*columns, **options):
        bars.append(columns)
        return real(*columns, **options)

    monkeypatch.setattr(progress_bars, "Progress", progress)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert cli(services.settings, "doctor", "--deep", *words)[0] == 0
    assert bool(bars) is shown


@pytest.mark.slow  # several audits under load
def test_audits_while_a_writer_updates_the_memories_report_nothing(services, client):
    ids = [added(services, client, f"fact {number}") for number in range(8)]
    written, first_audit = [], threading.Event()

    def write():
        with MemoryClient(services.settings) as writer:
            for number in range(120):
                memory_id = ids[number % len(ids)]
                job = writer.update(memory_id, f"fact {number} anew", {"number": number})
                drain(services, job)
                if number % 10 == 9:
                    drain(services, writer.delete(memory_id))
                    drain(services, writer.restore(memory_id))
                written.append(number)
                first_audit.wait(PATIENCE)

    thread = threading.Thread(target=write)
    thread.start()
    found = []
    while thread.is_alive():
        found.append(deep.diagnose_sample(services.settings, None, lambda *_: None))
        first_audit.set()
    thread.join()
    assert len(written) == 120
    assert len(found) > 1
    assert [audit.damaged for audit in found if audit.wrong] == []
    assert {audit.looked_at for audit in found} == {8}
