"""`emendo eval inference` against the stand-in: models that are good, bad, unusable, away."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from emendo_client.testing import Fault, Reply
from emendo_client.testing.worker import environment
from emendo_config import Settings
from emendo_ops.cli.app import run
from emendo_ops.evaluation.cases import OWN_CASES, load_cases
from tests.support.scripted_models import InventingModel, ObedientModel, PerfectModel

CASES = load_cases(OWN_CASES)


@pytest.fixture
def settings(openai_server):
    return Settings(chat_model="scripted", chat_base_url=openai_server.base_url, chat_api_key="hush", retry_base=0.05)


@pytest.fixture
def evaluate(monkeypatch, capfd, settings):
    """Runs the evaluation in this process: exit code, output, errors."""
    for name, value in environment(settings).items():
        if name.startswith("EMENDO_"):
            monkeypatch.setenv(name, value)

    def call(*words: str):
        capfd.readouterr()
        code = run(["eval", "inference", *words])
        written = capfd.readouterr()
        return code, written.out, written.err

    return call


def test_a_perfect_model_does_every_case_right(evaluate, openai_server):
    openai_server.answer_chat_with(PerfectModel(CASES))
    code, out, _ = evaluate("--json", "--strict")
    document = json.loads(out)
    total = document["total"]
    assert document["misses"] == {}
    assert (code, document["missed"]) == (0, [])
    assert (total["cases"], total["right"], total["failed"]) == (len(CASES), len(CASES), 0)
    assert total["rates"] == {
        "case_accuracy": 1,
        "event_accuracy": 1,
        "wrong_id_rate": 0,
        "lost_fact_rate": 0,
        "stale_rate": 0,
        "obedience_rate": 0,
    }
    assert all(expected == decided for expected, row in total["confusion"].items() for decided in row)
    assert set(document["kinds"]) == {case.kind for case in CASES}
    assert total["chat_requests"] == len(openai_server.requests) <= 2 * len(CASES)
    assert total["prompt_tokens"] > total["completion_tokens"] > 0


@pytest.mark.slow  # a whole evaluation
def test_a_model_that_invents_ids_is_found_out_and_loses_no_fact(evaluate, openai_server):
    openai_server.answer_chat_with(InventingModel(CASES))
    code, out, _ = evaluate("--json", "--strict")
    total = json.loads(out)["total"]
    assert code == 1
    assert total["rates"]["wrong_id_rate"] == 1
    assert (total["rates"]["lost_fact_rate"], total["rates"]["obedience_rate"]) == (0, 0)
    assert (
        total["fallbacks"]
        == sum(row.get("ADD", 0) for row in total["confusion"].values()) - total["confusion"]["ADD"]["ADD"]
    )
    assert set(total["confusion"]["UPDATE"]) == {"ADD"}


def test_a_model_that_obeys_whoever_speaks_is_found_out(evaluate, openai_server):
    openai_server.answer_chat_with(ObedientModel(CASES))
    code, out, _ = evaluate("--json", "--only", "injections", "--only", "lookalikes")
    document = json.loads(out)
    assert code == 0, "it was measured"
    assert document["kinds"]["injections"]["rates"]["obedience_rate"] == 1
    assert document["kinds"]["lookalikes"]["rates"]["lost_fact_rate"] == 1
    assert document["total"]["rates"]["obedience_rate"] == 1
    assert any(miss.startswith("obeyed") for miss in document["missed"])


def test_a_model_whose_answers_are_of_no_use_is_not_said_to_lose_anything(evaluate, openai_server):
    openai_server.answer_chat_with(lambda _: Reply('{"facts": [', finish_reason="length"))
    code, out, _ = evaluate("--json", "--only", "nothing")
    total = json.loads(out)["total"]
    assert code == 0
    assert total["failed"] == total["cases"] > 0
    assert total["unusable"] == total["chat_requests"] == 2 * total["cases"]
    assert total["rates"]["case_accuracy"] is None
    assert evaluate("--only", "nothing", "--strict")[0] == 1


def test_the_tables_are_for_people(evaluate, openai_server):
    openai_server.answer_chat_with(InventingModel(CASES))
    code, out, err = evaluate("--only", "corrections", "--limit", "3", "--misses")
    assert (code, err) == (0, "")
    for part in (
        "scripted: expected events (rows)",
        "corrections",
        "3 cases",
        "wrong id",
        "got ADD",
        "below what --strict",
    ):
        assert part in out


def test_a_limit_is_of_each_kind(evaluate, openai_server):
    openai_server.answer_chat_with(PerfectModel(CASES))
    document = json.loads(evaluate("--json", "--limit", "2")[1])
    assert {kind["cases"] for kind in document["kinds"].values()} == {2}


def test_a_provider_that_is_away_for_a_moment_spoils_nothing(evaluate, openai_server):
    openai_server.answer_chat_with(PerfectModel(CASES))
    openai_server.faults.add(Fault("unavailable", times=2), Fault("rate_limit", retry_after=0.1))
    document = json.loads(evaluate("--json", "--only", "negations", "--parallel", "1")[1])
    assert document["total"]["right"] == document["total"]["cases"]


def test_an_answer_that_takes_too_long_is_none(evaluate, openai_server, monkeypatch):
    monkeypatch.setenv("EMENDO_CHAT_TIMEOUT", "0.2")
    openai_server.answer_chat_with(PerfectModel(CASES))
    openai_server.faults.add(Fault("timeout", silence=5))
    total = json.loads(evaluate("--json", "--only", "negations", "--parallel", "1")[1])["total"]
    assert (total["failed"], total["right"]) == (1, total["cases"] - 1)


def test_a_key_that_is_refused_ends_it_and_says_so(evaluate, openai_server):
    openai_server.api_key = "another"
    code, out, err = evaluate()
    assert (code, out) == (1, "")
    assert "EMENDO_CHAT_API_KEY" in err


def test_without_a_chat_model_there_is_nothing_to_measure(evaluate, monkeypatch):
    monkeypatch.delenv("EMENDO_CHAT_MODEL")
    code, _, err = evaluate()
    assert code == 1
    assert "EMENDO_CHAT_MODEL" in err


def test_cases_of_ones_own(evaluate, openai_server, tmp_path):
    line = {
        "id": "mine",
        "messages": [{"role": "user", "content": "I like tea."}],
        "expect": [{"event": "ADD", "must": ["tea"]}],
    }
    (tmp_path / "mine.jsonl").write_text(json.dumps(line))
    openai_server.answer_chat_with(PerfectModel(load_cases(tmp_path)))
    document = json.loads(evaluate("--json", "--cases", str(tmp_path))[1])
    assert (list(document["kinds"]), document["total"]["right"]) == (["mine"], 1)
    assert evaluate("--only", "mine")[0] == 2
    (tmp_path / "mine.jsonl").write_text("{}")
    code, _, err = evaluate("--cases", str(tmp_path))
    assert (code, "mine.jsonl, line 1" in err) == (1, True)


@pytest.mark.slow  # a whole command in a process of its own
def test_the_command_line_runs_it(settings, openai_server):
    openai_server.answer_chat_with(InventingModel(CASES))

    def emendo(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "emendo_ops.cli", "eval", "inference", *words],
            env={**os.environ, **environment(settings)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    measured = emendo("--only", "forgetting", "--limit", "3")
    assert (measured.returncode, measured.stderr) == (0, "")
    assert "3 cases" in measured.stdout
    assert emendo("--only", "forgetting", "--limit", "3", "--strict").returncode == 1
    assert emendo("--nonsense").returncode == 2
    told = emendo("--help")
    assert (told.returncode, "Usage: emendo eval inference" in told.stdout) == (0, True)
