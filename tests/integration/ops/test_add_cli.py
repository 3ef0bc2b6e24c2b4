"""`emendo add`: a text or a conversation, for real, and as a dry run that shows the plan."""

from __future__ import annotations

import io
import json

import pytest

from emendo_client import ItemResult, Job, JobResult, Usage
from tests.support.intake import drain

CONVERSATION = [
    {"role": "system", "content": "You plan meals."},
    {"role": "user", "content": "I dislike seafood.", "name": "ana"},
    {"role": "assistant", "content": "Noted — nothing with fish. 魚なし"},
]


def asked(services) -> list[dict]:
    """The operations of every accepted job."""
    keys = services.keys
    jobs = services.control.zrange(keys.jobs("default"), 0, -1)
    payloads = [services.control.hget(keys.job(job.decode()), "payload") for job in jobs]
    return [operation for payload in payloads for operation in json.loads(payload)["operations"]]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "conversation.json"
    path.write_text(json.dumps(CONVERSATION, ensure_ascii=False), encoding="utf-8")
    return str(path)


def test_a_conversation_is_read_from_a_file(cli, services, file):
    code, _, err = cli(services.settings, "add", "--messages", file, "--user", "ana", "--no-wait")
    assert (code, err) == (0, "")
    (operation,) = asked(services)
    assert (operation["op"], operation["messages"], operation["user_id"]) == ("infer", CONVERSATION, "ana")
    assert "dry_run" not in operation


def test_a_conversation_is_read_from_standard_input(cli, services, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(json.dumps(CONVERSATION).encode()), encoding="utf-8"))
    assert cli(services.settings, "add", "--messages", "-", "--agent", "cook", "--no-wait", "--json")[0] == 0
    (operation,) = asked(services)
    assert (operation["messages"], operation["agent_id"]) == (CONVERSATION, "cook")


def test_messages_are_stored_as_they_are_when_that_is_asked_for(cli, services, client, file):
    add = ["add", "--messages", file, "--user", "ana", "--no-infer", "--no-wait", "--json"]
    code, out, _ = cli(services.settings, *add)
    assert code == 0
    drain(services, client.job(json.loads(out)["job_id"]))
    said = [message["content"] for message in CONVERSATION[1:]]
    assert sorted(memory.memory for memory in client.get_all("ana").results) == sorted(said)


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--dry-run"],
        ["a text", "--messages", "FILE"],
        ["--messages", "missing.json"],
        ["a text", "--dry-run", "--no-infer"],
        ["a text", "--dry-run", "--no-wait"],
    ],
)
def test_wrong_usage_is_2_and_nothing_is_accepted(cli, services, file, words):
    code, _, err = cli(services.settings, "add", "--user", "ana", *[file if word == "FILE" else word for word in words])
    assert (code, bool(err)) == (2, True)
    assert asked(services) == []


@pytest.mark.parametrize("content", [b"", b"nonsense", b'[{"role": "user"', b'["\xff"]'])
def test_a_file_that_is_not_json_is_2(cli, services, tmp_path, content):
    path = tmp_path / "broken.json"
    path.write_bytes(content)
    code, _, err = cli(services.settings, "add", "--messages", str(path), "--user", "ana")
    assert (code, "it is not JSON" in err) == (2, True)
    assert asked(services) == []


@pytest.mark.parametrize(
    "content", [[], [{"role": "user"}], [{"content": "x"}], 7, [{"role": "system", "content": "x"}]]
)
def test_json_that_is_no_conversation_is_1_and_says_why(cli, services, tmp_path, content):
    path = tmp_path / "wrong.json"
    path.write_text(json.dumps(content))
    code, out, err = cli(services.settings, "add", "--messages", str(path), "--user", "ana", "--json")
    assert (code, out, json.loads(err)["code"]) == (1, "", "VALIDATION")
    assert "messages" in json.loads(err)["message"]


@pytest.fixture
def planned(monkeypatch):
    """Every job ends like this one, in a window wide enough to show it."""
    monkeypatch.setenv("COLUMNS", "200")
    result = JobResult(
        job_id="j",
        status="succeeded",
        submitted_at="2026-01-01T00:00:00Z",
        results=[
            ItemResult(
                memory_id="m1", decision="UPDATE", memory="I enjoy seafood.", previous_memory="I [/b] dislike it."
            ),
            ItemResult(memory_id="m2", decision="DELETE", previous_memory="I am a vegan."),
            ItemResult(memory_id="m3", decision="NONE", memory="I live in Porto."),
            ItemResult(memory_id="m4", decision="ADD", memory="I surf.", fallback="UNKNOWN_MEMORY"),
        ],
        left_out={"image": 2, "empty": 1},
        usage=Usage(
            chat_requests=2, prompt_tokens=900, completion_tokens=70, embedding_requests=1, embedding_tokens=12
        ),
    )
    monkeypatch.setattr(Job, "wait", lambda *_, **__: result)
    return result


def test_a_dry_run_shows_the_plan_and_what_it_cost(cli, services, planned):
    code, out, _ = cli(services.settings, "add", "I enjoy seafood, I surf.", "--user", "ana", "--dry-run")
    assert code == 0
    (operation,) = asked(services)
    assert operation["dry_run"] is True
    title, *_, left_out, account = out.splitlines()
    assert left_out == "left out of the messages: image: 2, empty: 1"
    assert title.strip() == "job j: succeeded, a dry run: nothing was changed"
    assert account == "chat: 2 requests, 900 + 70 tokens; embedding: 1 requests, 12 tokens"
    rows = ["".join(line.split()) for line in out.splitlines() if "│" in line]
    assert rows == [
        "│UPDATE│m1│I[/b]dislikeit.│Ienjoyseafood.│││",
        "│DELETE│m2│Iamavegan.││││",
        "│NONE│m3││IliveinPorto.│││",
        "│ADD│m4││Isurf.│UNKNOWN_MEMORY││",
    ]


def test_a_dry_run_as_json_is_the_result(cli, services, planned):
    code, out, _ = cli(services.settings, "add", "x", "--user", "ana", "--dry-run", "--json")
    assert (code, JobResult.model_validate(json.loads(out))) == (0, planned)


def test_an_add_shows_what_was_decided_where_nothing_was_done(cli, services, planned):
    code, out, _ = cli(services.settings, "add", "x", "--user", "ana")
    assert (code, "dry run" in out) == (0, False)
    assert any("NONE" in line and "m3" in line for line in out.splitlines())
    assert "dry_run" not in asked(services)[0]
