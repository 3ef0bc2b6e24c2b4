"""The benchmark's harness at a hundredth of its size: every row gets its figure, every effect is checked."""

from __future__ import annotations

import importlib.util
import json
import runpy
import sys
from pathlib import Path

import pytest

from emendo_client.errors import ConfigurationError
from emendo_ops.bench.statistics import Summary
from emendo_ops.bench.testbed import TestBed
from tests.bench import plots, rows
from tests.bench.plan import Plan

BENCH = runpy.run_path(str(Path(__file__).with_name("__main__.py")), run_name="bench")
WITHOUT_PEERS = rows.chosen(None, with_peers=False)


@pytest.fixture(scope="module")
def bed(tmp_path_factory):
    with TestBed(tmp_path_factory.mktemp("bench")) as made:
        yield made


def test_the_rows_have_names_experiments_and_reaches():
    assert len(rows.ROWS) == len({row.name for row in rows.ROWS}) == 27
    assert {row.experiment for row in rows.ROWS} == set(BENCH["EXPERIMENTS"])
    assert all(part.reach is not None for row in rows.ROWS for part in row.parts)


def test_every_row_is_explained():
    page = (Path(__file__).parents[2] / "docs" / "performance.md").read_text(encoding="utf-8")
    assert [row.name for row in rows.ROWS if f"`{row.name}`" not in page] == []


def test_rows_against_peers_are_measured_with_peers_only():
    assert [row.name for row in rows.chosen(None, with_peers=True)] == ["singles-mem0", "batch-mem0"]
    assert len(WITHOUT_PEERS) == 25
    assert [row.name for row in rows.chosen(["bytes"], with_peers=True)] == ["bytes"]


@pytest.mark.slow
@pytest.mark.parametrize("experiment", dict.fromkeys(row.experiment for row in WITHOUT_PEERS))
def test_each_row_gets_its_figure(bed, experiment):
    mine = [row for row in WITHOUT_PEERS if row.experiment == experiment]
    for figure in BENCH["measure"](mine, Plan(bed, rounds=1, scale=0.01)):
        assert not figure.problem, figure.problem
        for number in figure.numbers:
            assert number.value.median > 0
            assert number.held is not None


def test_a_row_that_cannot_be_measured_says_so_and_fails_the_run(bed, monkeypatch, capsys, tmp_path):
    def breaks(_):
        raise RuntimeError("the baseline did not start")

    monkeypatch.setitem(BENCH["EXPERIMENTS"], "bytes", breaks)
    target = tmp_path / "report.json"
    monkeypatch.setattr(sys, "argv", f"bench --only bytes --scale 0.01 --json {target}".split())
    assert BENCH["main"]() == 1
    assert "not measured: RuntimeError: the baseline did not start" in capsys.readouterr().out
    assert json.loads(target.read_text())["complete"] is False


@pytest.mark.parametrize(("option", "code"), [("", 0), (" --strict", 1)])
def test_a_missed_reach_fails_a_strict_run_only(monkeypatch, option, code):
    from emendo_ops.bench.samples import Samples

    def heavy(_):
        samples = Samples()
        samples.add("emendo", {"bytes": 9_999})
        return samples

    monkeypatch.setitem(BENCH["EXPERIMENTS"], "bytes", heavy)
    monkeypatch.setattr(sys, "argv", f"bench --only bytes{option}".split())
    assert BENCH["main"]() == code


def test_plots_without_matplotlib_are_refused_before_anything_is_measured(monkeypatch, tmp_path):
    monkeypatch.setattr(plots, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["bench", "--plots", str(tmp_path)])
    with pytest.raises(ConfigurationError, match="matplotlib"):
        BENCH["main"]()


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed")
def test_the_curves_become_pictures(tmp_path):
    spread = Summary.of([1, 2, 3]).document()
    metrics = ("updates_per_second", "visible_p50_ms", "search_p50_ms")
    points = [{"x": x, **dict.fromkeys(metrics, spread)} for x in (2_000, 20_000)]
    for path in plots.draw({"store_size": points, "concurrency": points}, tmp_path / "img"):
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size > 5_000
