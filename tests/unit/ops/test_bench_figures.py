"""From samples to figures: medians, ratios, reaches, the table and the document."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from emendo_ops.bench.figure import Figure, Part, Row, Source, Target, figure
from emendo_ops.bench.machine import Machine
from emendo_ops.bench.report import Report
from emendo_ops.bench.samples import Samples
from emendo_ops.bench.statistics import Summary, percentile

MACHINE = Machine(2, "a processor", 8.0, "Linux 6", 0.5, "3.11.7", "8.2.3", "2.10.5", {"emendo": "0.1.0"})
RATIO = Row(
    "ratio",
    "product updates",
    "baseline updates",
    "both",
    (Part(Source("emendo", "rate"), Source("bare", "rate"), Target("≥", 0.5), source_unit="/s"),),
)
LATENCY = Row(
    "latency",
    "time until done",
    "–",
    "both",
    tuple(Part(Source("emendo", name), reach=Target("≤", 25), label=name, unit="ms") for name in ("p50", "p99")),
)


def samples(**by_contender):
    samples = Samples()
    for contender, rounds in by_contender.items():
        for metrics in rounds:
            samples.add(contender, metrics)
    return samples


def printed(report: Report) -> str:
    stream = io.StringIO()
    report.print(Console(file=stream, width=200))
    return stream.getvalue()


def test_a_summary_knows_its_median_and_its_ends():
    summary = Summary.of([3, 1, 2, 10])
    assert (summary.median, summary.low, summary.high) == (2.5, 1, 10)
    assert summary.document() == {"median": 2.5, "low": 1, "high": 10, "values": [3, 1, 2, 10]}
    with pytest.raises(ValueError, match="at least one"):
        Summary.of([])


def test_a_ratio_pairs_the_samples_of_one_round():
    # The machine was ten times slower in the second round, for both: the ratio does not see it.
    assert Summary.of([100, 10, 100]).over(Summary.of([50, 5, 50])).values == (2, 2, 2)
    with pytest.raises(ValueError, match="zip"):
        Summary.of([1, 2]).over(Summary.of([1]))


@given(st.lists(st.floats(-1e9, 1e9), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_a_value_that_its_share_does_not_exceed(values, share):
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-9
    assert sum(value < found for value in values) < share * len(values)


def test_a_share_outside_of_0_to_1_is_refused():
    assert percentile(range(1, 101), 0.99) == 99
    for share in (0, 1.01):
        with pytest.raises(ValueError, match="share"):
            percentile([1], share)


@pytest.mark.parametrize(
    ("kind", "value", "held"), [("≥", 0.5, True), ("≥", 0.49, False), ("≤", 0.5, True), ("≤", 0.51, False)]
)
def test_a_reach_holds_on_its_bound_and_on_one_side_of_it(kind, value, held):
    assert Target(kind, 0.5).held_by(value) is held


def test_a_row_is_judged_by_the_median_of_its_ratios():
    made = figure(RATIO, samples(emendo=[{"rate": 40}, {"rate": 60}, {"rate": 90}], bare=[{"rate": 100}] * 3))
    (number,) = made.numbers
    assert number.value.values == (0.4, 0.6, 0.9)
    assert made.held is True
    slow = figure(RATIO, samples(emendo=[{"rate": 49}] * 3, bare=[{"rate": 100}] * 3))
    assert slow.held is False


def test_a_row_of_two_numbers_holds_when_both_do():
    assert figure(LATENCY, samples(emendo=[{"p50": 5, "p99": 25}])).held is True
    assert figure(LATENCY, samples(emendo=[{"p50": 5, "p99": 26}])).held is False


def test_a_missing_contender_is_a_problem_that_is_shown_and_makes_the_report_incomplete():
    made = figure(RATIO, samples(emendo=[{"rate": 40}]))
    assert made.held is None
    report = Report(MACHINE, 1, 1.0, [made])
    assert not report.complete
    assert report.missed == []
    assert "not measured: there are no samples of bare" in printed(report)


def test_the_table_shows_the_value_its_spread_the_reach_and_a_miss():
    figures = [
        figure(RATIO, samples(emendo=[{"rate": 400}, {"rate": 600}, {"rate": 900}], bare=[{"rate": 1_000}] * 3)),
        figure(LATENCY, samples(emendo=[{"p50": 5, "p99": 260}]), ["said of [it]"]),
    ]
    text = printed(Report(MACHINE, 3, 1.0, figures))
    for shown in ("600 /s", "1,000 /s", "0.60 × (0.40 … 0.90)", "≥ 0.5 ×", "held", "p99 ≤ 25 ms", "MISSED"):
        assert shown in text
    assert "latency: said of [it]" in text
    assert "2 cores of a processor" in text
    assert "scale" not in text


def test_figures_of_another_scale_are_marked():
    assert "scale 0.01" in printed(Report(MACHINE, 3, 0.01, []))


def test_the_document_holds_everything_and_is_json():
    report = Report(MACHINE, 2, 1.0, [figure(RATIO, samples(emendo=[{"rate": 1}] * 2, bare=[{"rate": 4}] * 2))])
    document = json.loads(json.dumps(report.document()))
    assert document["missed"] == ["ratio"]
    assert document["complete"] is True
    assert document["machine"]["cpu"] == "a processor"
    (row,) = document["figures"]
    (number,) = row["numbers"]
    assert number["value"]["median"] == 0.25
    assert number["reach"] == {"kind": "≥", "bound": 0.5}
    assert number["held"] is False
    assert number["measured"] == {"median": 1, "low": 1, "high": 1, "values": [1, 1], "unit": "/s"}


def test_a_failed_experiment_is_told_in_its_row():
    assert "not measured: it broke" in printed(Report(MACHINE, 1, 1.0, [Figure(RATIO, problem="it broke")]))


def test_remarks_go_to_the_rows_they_concern_and_only_once():
    samples = Samples()
    for _ in range(2):
        samples.note("of all")
        samples.note("of the bare script", "bare")
    assert samples.notes_for({"emendo", "bare"}) == ["of all", "of the bare script"]
    assert samples.notes_for({"emendo"}) == ["of all"]
