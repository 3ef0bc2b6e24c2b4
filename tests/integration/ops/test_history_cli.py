"""`emendo history`: one memory's changes on the screen, or whole histories as JSON Lines."""

from __future__ import annotations

import json

from emendo_client import MemoryClient
from emendo_client.exchanges import histories
from tests.support.intake import added, drain, drain_all


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_a_history_is_shown_with_and_without_the_word_show(services, client, cli):
    memory_id = added(services, client, "I live in Lisbon.")
    for words in (("history", memory_id), ("history", "show", memory_id)):
        code, out, _ = cli(services.settings, *words)
        assert code == 0
        assert "I live in Lisbon." in out
    for words in (("history", memory_id, "--json"), ("history", "--json", memory_id)):
        code, out, _ = cli(services.settings, *words)
        assert (code, json.loads(out)[0]["new_memory"]) == (0, "I live in Lisbon.")


def test_all_histories_of_a_project_are_exported(services, client, cli, tmp_path, monkeypatch):
    monkeypatch.setattr(histories, "PAGE", 2)
    changed, deleted, erased = (added(services, client, f"text of {name}") for name in ("one", "two", "three"))
    for number in range(5):
        drain(services, client.update(changed, f"text {number}", {"n": number}))
    client.delete(deleted)
    client.delete(erased, hard=True)
    with MemoryClient(services.settings, project="another") as other:
        other.add("of another project", user_id="ana", infer=False)
        drain_all(services)
    file = tmp_path / "history.jsonl"
    code, _, err = cli(services.settings, "history", "export", str(file))
    assert (code, err) == (0, "10 entries of 3 memories\n")
    written = lines(file.read_text(encoding="utf-8"))
    assert "of another project" not in file.read_text(encoding="utf-8")
    for memory_id in (changed, deleted, erased):
        told = [entry for entry in written if entry["memory_id"] == memory_id]
        assert told == [json.loads(entry.model_dump_json()) for entry in client.history(memory_id)]
    code, out, _ = cli(services.settings, "history", "export", "-", "--project", "another")
    assert [entry["new_memory"] for entry in lines(out)] == ["of another project"]


def test_an_export_of_many_memories_has_each_once(services, client, cli, monkeypatch):
    """Redis hands their names out little by little, and first pages are read for some memories at once."""
    monkeypatch.setattr(histories, "_SCAN_COUNT", 1)
    monkeypatch.setattr(histories, "_AT_ONCE", 2)
    ids = [added(services, client, f"text {number}") for number in range(7)]
    code, out, err = cli(services.settings, "history", "export", "-")
    assert (code, err) == (0, "7 entries of 7 memories\n")
    assert sorted(entry["memory_id"] for entry in lines(out)) == sorted(ids)
    code, out, err = cli(
        services.settings, "history", "export", "-", *(word for each in ids for word in ("--memory", each))
    )
    assert (code, err) == (0, "7 entries of 7 memories\n")
    assert [entry["memory_id"] for entry in lines(out)] == ids


def test_another_projects_history_is_not_shown_or_exported(services, client, cli):
    with MemoryClient(services.settings, project="another") as other:
        job = other.add("of another project", user_id="ana", infer=False)
        drain_all(services)
        theirs = job.wait(1).results[0].memory_id
    for words in (("show", theirs), ("export", "-", "--memory", theirs)):
        code, out, err = cli(services.settings, "history", *words)
        assert (code, out) == (1, "")
        assert "no such memory" in err
    code, out, err = cli(services.settings, "history", "export", "-", "--memory", "not an id")
    assert (code != 0, out) == (True, "")
    assert "no such memory" not in err, "it cannot be an id"


def test_single_memories_are_exported(services, client, cli):
    first, second = added(services, client, "first"), added(services, client, "second")
    added(services, client, "third")
    code, out, _ = cli(services.settings, "history", "export", "-", "--memory", first, "--memory", second)
    assert (code, [entry["new_memory"] for entry in lines(out)]) == (0, ["first", "second"])
    code, out, err = cli(services.settings, "history", "export", "-", "--memory", "unknown")
    assert (code, out) == (1, "")
    assert "no such memory" in err
