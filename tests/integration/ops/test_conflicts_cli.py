"""`emendo conflicts` and `emendo update --on-conflict`, with a real worker behind them."""

from __future__ import annotations

import json

import pytest

from emendo_client import MemoryClient
from emendo_config import Settings

MARKUP = "[red]closing [/tag] [link=x]y[/link]"


@pytest.fixture
def settings(emendo_worker: Settings, emendo_client: MemoryClient) -> Settings:
    """The session's worker's, in this test's own project."""
    return emendo_worker.model_copy(update={"project": emendo_client.project})


def disputed(client: MemoryClient, ours: str = "ours", metadata: dict | None = None) -> str:
    """The id of a conflict: the memory says "theirs"."""
    memory_id = client.add("base", "ana", metadata={"k": 1}, infer=False).wait().results[0].memory_id
    client.update(memory_id, "theirs", {"k": 2}).wait(raise_on_failure=True)
    job = client.update(memory_id, ours, metadata, expected_version=1, on_conflict="manual", actor_id="bob")
    return job.wait(raise_on_failure=True).results[0].conflict_id


def test_a_real_worker_queues_a_conflict_and_carries_the_decision_out(emendo_client):
    conflict_id = disputed(emendo_client)
    (conflict,) = emendo_client.conflicts()
    assert (conflict.id, conflict.base, conflict.theirs, conflict.ours) == (conflict_id, "base", "theirs", "ours")
    result = emendo_client.resolve_conflict(
        conflict_id, "merged", text="both", actor_id="settle", consistency="strong"
    ).wait()
    assert (result.status, result.results[0].memory) == ("succeeded", "both")
    assert emendo_client.conflicts() == []
    assert emendo_client.history(conflict.memory_id)[-1].actor_id == "settle"
    assert emendo_client.search("both", user_id="ana")[0].memory == "both"


def test_conflicts_are_listed_with_ids_that_can_be_copied(cli, settings, emendo_client):
    assert cli(settings, "conflicts") == (0, "0 waiting\n", "")
    ids = [disputed(emendo_client, metadata={"a [b]": 1, "k": 3}), disputed(emendo_client)]
    code, out, _ = cli(settings, "conflicts")
    lines = out.splitlines()
    assert (code, lines[0], lines[1::2]) == (0, "2 waiting", ids[::-1])
    assert lines[2].endswith("UTC by bob; in dispute: text")
    assert lines[4].endswith('by bob; in dispute: text, metadata "k"'), "a key nobody else changed is not in dispute"
    code, out, _ = cli(settings, "conflicts", "--json", "--limit", "1")
    assert [conflict["id"] for conflict in json.loads(out)] == ids[:0:-1]


def test_a_conflict_is_shown_as_it_was_written(cli, settings, emendo_client):
    conflict_id = disputed(emendo_client, MARKUP, {"k": "[bold]3"})
    code, out, _ = cli(settings, "conflicts", "show", conflict_id)
    assert code == 0
    shown = "".join(out.split())
    assert "theirs:version3" in shown
    for text in ("base", "theirs", "[red]", "[/tag]", "[link=x]", "[bold]3"):
        assert text in shown, text
    code, out, _ = cli(settings, "conflicts", "show", conflict_id, "--json")
    document = json.loads(out)
    assert (code, document["id"], document["ours"], document["theirs"]) == (0, conflict_id, MARKUP, "theirs")
    assert (document["base_metadata"], document["their_metadata"]) == ({"k": 1}, {"k": 2})


@pytest.mark.parametrize(
    ("words", "text", "metadata"),
    [
        (["--ours"], "ours", {"k": 2}),
        (["--theirs"], "theirs", {"k": 2}),
        (["--text", MARKUP], MARKUP, {"k": 2}),
        (["--text", "both", "--metadata", '{"k": null, "b": 1}'], "both", {"b": 1}),
        (["--metadata", '{"b": 1}'], "theirs", {"k": 2, "b": 1}),
    ],
)
def test_a_conflict_is_resolved(cli, settings, emendo_client, words, text, metadata):  # noqa: PLR0917
    conflict_id = disputed(emendo_client)
    memory_id = conflict_id.partition(":")[0]
    decide = ["conflicts", "resolve", conflict_id, *words, "--actor", "settle", "--expected-version", "3"]
    code, out, _ = cli(settings, *decide)
    assert (code, "succeeded" in out) == (0, True)
    memory = emendo_client.get(memory_id)
    assert (memory.memory, memory.metadata) == (text, metadata)
    assert emendo_client.history(memory_id)[-1].actor_id == "settle"
    code, out, _ = cli(settings, *decide[:-2], "--json")
    assert (code, json.loads(out)["results"][0]["error"]["code"]) == (1, "NO_SUCH_CONFLICT")


def test_a_decision_need_not_be_waited_for(cli, settings, emendo_client):
    conflict_id = disputed(emendo_client)
    code, out, _ = cli(settings, "conflicts", "resolve", conflict_id, "--ours", "--no-wait", "--json")
    assert code == 0
    assert emendo_client.job(json.loads(out)["job_id"]).wait().status == "succeeded"


@pytest.mark.parametrize(
    "words",
    [
        ["resolve", "a:b"],
        ["resolve", "a:b", "--ours", "--text", "x"],
        ["resolve", "a:b", "--theirs", "--metadata", '{"a": 1}'],
        ["resolve", "a:b", "--metadata", "nonsense"],
        ["resolve", "a:b", "--metadata", "[]"],
        ["resolve"],
        ["show"],
        ["--limit", "0"],
        ["nonsense"],
    ],
)
def test_wrong_usage_is_2(cli, settings, words):
    code, _, err = cli(settings, "conflicts", *words)
    assert (code, bool(err)) == (2, True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["show", "nonsense"], "VALIDATION"),
        (["show", "memory:job"], "NO_SUCH_CONFLICT"),
        (["resolve", "nonsense", "--ours"], "VALIDATION"),
        (["resolve", "memory:job", "--text", " "], "VALIDATION"),
        (["resolve", "memory:job", "--metadata", "{}"], "VALIDATION"),
    ],
)
def test_a_failure_is_1_and_says_so_as_json(cli, settings, words, says):
    code, out, err = cli(settings, "conflicts", *words, "--json")
    assert (code, out, json.loads(err)["code"]) == (1, "", says)


def test_an_update_may_say_what_becomes_of_a_conflict(cli, settings, emendo_client):
    memory_id = emendo_client.add("base", "ana", infer=False).wait().results[0].memory_id
    emendo_client.update(memory_id, "theirs").wait(raise_on_failure=True)
    late = ["update", memory_id, "--text", "ours", "--expected-version", "1", "--json"]
    code, out, _ = cli(settings, *late, "--on-conflict", "manual")
    assert (code, json.loads(out)["results"][0]["conflict_id"]) == (0, emendo_client.conflicts()[0].id)
    code, out, _ = cli(settings, *late[:-1], "--on-conflict", "manual")
    assert out.splitlines()[-1] == f"waits for a person: emendo conflicts show {emendo_client.conflicts()[0].id}"
    code, out, _ = cli(settings, *late, "--on-conflict", "reject")
    assert (code, json.loads(out)["results"][0]["error"]["code"]) == (1, "VERSION_MISMATCH")
    assert cli(settings, *late)[0] == 1
    assert cli(settings, *late, "--on-conflict", "guess")[0] == 2
