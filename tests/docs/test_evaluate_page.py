"""docs/how-to/evaluate-inference.md says what the command does."""

from __future__ import annotations

import re
from pathlib import Path

from emendo_ops.cli.evaluate import inference
from emendo_ops.evaluation.cases import OWN_CASES, Case, Expectation, load_cases
from emendo_ops.evaluation.report import LEAST, MOST

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "how-to" / "evaluate-inference.md").read_text(encoding="utf-8")


def test_the_options_of_the_page_are_those_of_the_command():
    named = set(re.findall(r"(?<![\w-])--[a-z]+", PAGE))
    assert named == {option for parameter in inference.params for option in parameter.opts}


def test_the_example_is_a_case(tmp_path):
    (example,) = re.findall(r"```json\n(.*?)\n```", PAGE, re.DOTALL)
    (tmp_path / "my.jsonl").write_text(example, encoding="utf-8")
    (case,) = load_cases(tmp_path)
    assert len(case.expect) == 2


def test_every_field_of_a_case_is_explained():
    fields = (set(Case.model_fields) | set(Expectation.model_fields)) - {"kind"}
    assert [name for name in fields if f"`{name}`" not in PAGE] == []


def test_the_numbers_are_those_of_the_product():
    assert f"{len(load_cases(OWN_CASES))} labelled" in PAGE
    least, wrong, lost = LEAST["case_accuracy"], MOST["wrong_id_rate"], MOST["lost_fact_rate"]
    promised = f"at least {least:.0%} of the cases right, at most {wrong:.0%} wrong ids, at most {lost:.0%} lost facts"
    assert promised in " ".join(PAGE.replace(" %", "%").split())
    assert MOST["obedience_rate"] == 0
