"""The evaluation's cases are well-formed, and a malformed one is told apart and named."""

from __future__ import annotations

import json
import tomllib
from collections import Counter
from pathlib import Path

import pytest

from emendo_client.errors import ValidationError
from emendo_ops.evaluation.cases import OWN_CASES, load_cases
from emendo_workers.inference.types import Action

KINDS = {
    "contradictions",
    "corrections",
    "duplicates",
    "forgetting",
    "injections",
    "languages",
    "lookalikes",
    "negations",
    "nothing",
    "refinements",
    "several",
    "temporary",
}
GOOD = {
    "id": "a",
    "known": ["The user lives in Porto."],
    "messages": [{"role": "user", "content": "I moved to Lisbon."}],
    "expect": [{"event": "UPDATE", "memory": 1, "must": ["Lisbon"]}],
}


@pytest.fixture(scope="module")
def ours():
    return load_cases(OWN_CASES)


def test_there_are_enough_of_every_kind(ours):
    counts = Counter(case.kind for case in ours)
    assert set(counts) == KINDS
    assert min(counts.values()) >= 10
    assert len(ours) >= 120


def test_they_lie_in_a_folder_that_goes_into_the_package():
    root = Path(__file__).resolve().parents[3]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert any(OWN_CASES.is_relative_to(root / package) for package in packages)


def test_every_event_is_expected_somewhere_and_nothing_is_too(ours):
    expected = Counter(expectation.event[0] for case in ours for expectation in case.expect)
    assert min(expected[action] for action in Action) >= 10
    assert sum(not case.expect for case in ours) >= 10


def test_many_languages_are_spoken(ours):
    assert len({case.language for case in ours}) >= 10


def test_no_two_cases_ask_the_same(ours):
    asked = Counter((case.known, tuple(message.content for message in case.messages)) for case in ours)
    assert max(asked.values()) == 1


def write(folder: Path, *lines) -> Path:
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / "some.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_a_case_is_of_the_kind_its_file_is_called(tmp_path):
    (case,) = load_cases(write(tmp_path, GOOD))
    assert (case.kind, case.language, case.now.isoformat()) == ("some", "en", "2025-03-12T12:00:00+00:00")
    assert case.expect[0].event == (Action.UPDATE,)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": "Not an id"}, "id: String should match"),
        ({"messages": []}, "messages: Tuple should have at least 1"),
        ({"messages": [{"role": "robot", "content": "x"}]}, "messages.0.role"),
        ({"surplus": 1}, "surplus: Extra inputs"),
        ({"expect": [{"event": "FORGET", "memory": 1, "must": ["x"]}]}, "expect.0.event.0"),
        ({"expect": [{"event": [], "memory": 1, "must": ["x"]}]}, "expect.0.event"),
        ({"expect": [{"event": "UPDATE", "must": ["x"]}]}, "memory is the number of a known one"),
        ({"expect": [{"event": "ADD", "memory": 1, "must": ["x"]}]}, "left out for ADD"),
        ({"expect": [{"event": "UPDATE", "memory": 2, "must": ["x"]}]}, "a memory that is not there; there are 1"),
        ({"expect": [{"event": "UPDATE", "memory": 0, "must": ["x"]}]}, "expect.0.memory"),
        ({"expect": [{"event": "ADD", "must": []}]}, "expect.0.must"),
        ({"expect": [{"event": "ADD", "must": [""]}]}, "an empty keyword"),
        ({"expect": [{"event": event, "memory": 1, "must": ["x"]} for event in ("NONE", "DELETE")]}, "two things"),
    ],
)
def test_a_malformed_case_is_refused_by_file_line_and_reason(tmp_path, change, said):
    with pytest.raises(ValidationError) as refused:
        load_cases(write(tmp_path, {**GOOD, "id": "first"}, {**GOOD, **change}))
    assert refused.value.message.startswith("some.jsonl, line 2: ")
    assert said in refused.value.message


@pytest.mark.parametrize("line", ["{", "7", "", "[]"])
def test_a_line_that_is_no_object_is_refused(tmp_path, line):
    with pytest.raises(ValidationError, match="line 1 is not a JSON object"):
        load_cases(write(tmp_path, line, GOOD))


def test_an_id_is_a_cases_own(tmp_path):
    with pytest.raises(ValidationError, match="several cases have the id a"):
        load_cases(write(tmp_path, GOOD, GOOD))


def test_a_folder_without_cases_is_refused(tmp_path):
    with pytest.raises(ValidationError, match="no cases"):
        load_cases(tmp_path)
