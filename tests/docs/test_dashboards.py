"""ops/grafana: each query of a dashboard can be read, and names metrics, labels and alerts that exist."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import promql_parser as promql
import pytest
import yaml

from emendo_config.metric_families import COUNTED, Type
from emendo_gateway.gauges import READ
from tests.support.dashboard_files import DASHBOARDS, FOLDER, filled, panels_of

ROOT = FOLDER.parents[1]
RULES = yaml.safe_load((ROOT / "ops" / "prometheus" / "rules.yml").read_text(encoding="utf-8"))
ALL_RULES = [rule for group in RULES["groups"] for rule in group["rules"]]
ALERTS = {rule["alert"]: rule["expr"] for rule in ALL_RULES if "alert" in rule}
FAMILIES = {**COUNTED, **READ}
# Grafana's names of the units that the panels use.
UNITS = {"s", "none", "short", "locale", "decbytes", "percentunit"}


def series() -> dict[str, set[str]]:
    """The labels of each series that Prometheus has after a scrape of the gateway and a run of the rules."""
    found: dict[str, set[str]] = {"ALERTS": {"alertname", "alertstate", "severity", "job"}}
    for name, family in FAMILIES.items():
        labels = {*family.labels, "job"}
        if family.bounds:
            found |= {f"{name}_bucket": {*labels, "le"}, f"{name}_sum": labels, f"{name}_count": labels}
        else:
            found[name] = labels
    for rule in ALL_RULES:
        if "record" in rule:
            found[rule["record"]] = {"job", "le"} if rule["record"].startswith("job_le:") else {"job"}
    return found


SERIES = series()
QUERIES = [
    pytest.param(panel, target["expr"], id=f"{uid}: {panel['title']} {target['refId']}")
    for uid, dashboard in DASHBOARDS.items()
    for panel in panels_of(dashboard)
    for target in panel["targets"]
]


class Selected(NamedTuple):
    """One series that a query reads, and what stands around it, from the outside in."""

    name: str
    matched: set[str]
    around: list[Any]


def selected(expression: str) -> list[Selected]:
    found: list[Selected] = []
    around: list[Any] = []

    def enter(node: Any) -> None:
        if isinstance(node, promql.VectorSelector):
            found.append(Selected(node.name, {each.name for each in node.matchers.matchers}, list(around)))
        around.append(node)

    promql.walk(promql.parse(filled(expression)), enter, lambda _: around.pop() and None)
    return found


def kept_labels(expression: str) -> set[str]:
    return {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")} - {""}


def made_labels(expression: str) -> set[str]:
    return set(re.findall(r'label_replace\(.*?"(\w+)", "', expression)) | (
        {"lane"} if '"lane"' in expression else set()
    )


def test_the_files_are_those_that_the_script_writes():
    result = subprocess.run(
        [sys.executable, FOLDER / "generate.py", "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr


def test_a_stale_a_missing_and_an_unknown_file_are_noticed(tmp_path):
    shutil.copytree(FOLDER, tmp_path / "ops" / "grafana")
    (tmp_path / "docs" / "how-to").mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "how-to" / "when-paged.md", tmp_path / "docs" / "how-to")
    folder = tmp_path / "ops" / "grafana" / "dashboards"
    (folder / "emendo-redis.json").unlink()
    (folder / "emendo-stages.json").write_text("{}")
    (folder / "mine.json").write_text("{}")
    command = [sys.executable, folder.parent / "generate.py"]
    result = subprocess.run([*command, "--check"], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "emendo-redis.json, emendo-stages.json, mine.json; run: python ops/grafana/generate.py" in result.stderr
    subprocess.run(command, check=True)
    assert {path.name for path in folder.iterdir()} == {f"{uid}.json" for uid in DASHBOARDS}


@pytest.mark.parametrize(("panel", "expression"), QUERIES)
def test_a_query_names_series_and_labels_that_exist(panel, expression):
    read = selected(expression)
    assert read
    for each in read:
        assert each.name in SERIES, each.name
        assert each.matched <= SERIES[each.name], each.name
        assert "job" in each.matched, "several installations may share a Prometheus"
    there = set().union(*(SERIES[each.name] for each in read)) | made_labels(expression)
    assert kept_labels(expression) <= there
    (target,) = [target for target in panel["targets"] if target["expr"] == expression]
    shown = set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
    assert shown <= kept_labels(expression) & there


@pytest.mark.parametrize(("panel", "expression"), QUERIES)
def test_a_query_counts_one_of_several_gateways_and_a_counter_by_its_rate(panel, expression):
    for each in selected(expression):
        if each.name not in SERIES or each.name == "ALERTS" or ":" in each.name:
            continue  # the rules have taken one gateway already
        aggregations = [str(node.op) for node in each.around if isinstance(node, promql.AggregateExpr)]
        assert aggregations[-1] in {"max", "min"}, f"{each.name}: {aggregations}"
        calls = [node.func.name for node in each.around if isinstance(node, promql.Call)]
        family = FAMILIES.get(each.name) or FAMILIES[each.name.rpartition("_")[0]]
        is_counter = family.type is not Type.GAUGE
        assert is_counter == ("rate" in calls) == isinstance(each.around[-1], promql.MatrixSelector)


def test_every_metric_is_on_a_dashboard():
    expressions = [parameters.values[1] for parameters in QUERIES]
    names = {each.name for expression in expressions for each in selected(expression)}
    recorded = [rule["expr"] for rule in ALL_RULES if rule.get("record") in names]
    behind = {name for expression in recorded for name in re.findall(r"emendo_\w+", expression)}
    families = {name for name in names | behind if name in FAMILIES}
    families |= {name.rpartition("_")[0] for name in names | behind}
    assert FAMILIES.keys() - families == set()


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_a_stranger_reads_what_each_panel_means(uid):
    dashboard = DASHBOARDS[uid]
    assert dashboard["uid"] == uid
    assert dashboard["title"].startswith("Emendo: ")
    assert dashboard["description"].endswith(".")
    for panel in panels_of(dashboard):
        assert len(panel["description"]) > 20, panel["title"]
        assert panel["description"].endswith("."), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, panel["title"]


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_panels_have_places_of_their_own(uid):
    panels = DASHBOARDS[uid]["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken = [
        (panel["gridPos"]["x"] + x, panel["gridPos"]["y"] + y)
        for panel in panels
        for x in range(panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) < 24


def test_each_target_turns_red_where_its_alert_fires():
    panels = {panel["title"]: panel for panel in panels_of(DASHBOARDS["emendo-overview"])}
    for alert, title in {
        "EmendoUpdatesSlow": "Time of an update (p95), target below 100 ms",
        "EmendoCacheTooLarge": "Vector cache, target below 1 GB",
        "EmendoChangesFail": "Failed changes, target below 0.1 %",
    }.items():
        recorded, _, limit = ALERTS[alert].rpartition(" > ")
        (target,) = panels[title]["targets"]
        assert target["expr"].partition("{")[0] == recorded
        assert panels[title]["fieldConfig"]["defaults"]["thresholds"]["steps"][-1] == {
            "color": "red",
            "value": float(limit),
        }


def test_each_alert_is_one_click_from_a_panel_and_each_link_leads_to_its_section():
    runbook = {panel["id"]: panel for panel in DASHBOARDS["emendo-runbook"]["panels"]}
    page = (ROOT / "docs" / "how-to" / "when-paged.md").read_text(encoding="utf-8")
    links = [link for dashboard in DASHBOARDS.values() for panel in panels_of(dashboard) for link in panel["links"]]
    linked = set()
    for link in links:
        alert = link["title"].removeprefix("When you are paged: ")
        place = int(re.fullmatch(r"/d/emendo-runbook/emendo-runbook\?viewPanel=(\d+)", link["url"])[1])
        assert runbook[place]["title"] == alert
        assert re.search(rf"^##? {alert}$", page, re.MULTILINE), alert
        linked.add(alert)
    assert ALERTS.keys() - linked == set()


def test_the_runbook_has_the_page_and_no_link_that_leads_nowhere():
    panels = DASHBOARDS["emendo-runbook"]["panels"]
    assert {panel["title"] for panel in panels} >= ALERTS.keys()
    for panel in panels:
        assert panel["options"]["content"].strip()
        assert "](" not in panel["options"]["content"], panel["title"]


@pytest.mark.parametrize("uid", DASHBOARDS)
def test_a_choice_is_among_few_values(uid):
    """`project` too: a scrape names the twenty projects with most jobs, and `other`."""
    source, *choices = DASHBOARDS[uid]["templating"]["list"]
    assert (source["name"], source["type"]) == ("datasource", "datasource")
    names = set()
    for each in choices:
        asked = re.fullmatch(r'label_values\((\w+)(?:\{job="\$job"\})?, (\w+)\)', each["query"]["query"])
        metric, label = asked.groups()
        assert label in SERIES[metric]
        assert label in {"job", "kind", "project", "queue"}
        assert label == each["name"]
        names.add(each["name"])
    used = set(re.findall(r"\$(?!__)([a-z]+)", json.dumps(panels_of(DASHBOARDS[uid]))))
    assert used - {"datasource"} <= names
    assert names - {"job"} <= used


def test_grafana_finds_prometheus_and_the_dashboards():
    (source,) = yaml.safe_load((FOLDER / "provisioning" / "datasources" / "prometheus.yml").read_text())["datasources"]
    prometheus = yaml.safe_load((ROOT / "ops" / "prometheus" / "prometheus.yml").read_text())
    assert source["jsonData"]["timeInterval"] == prometheus["global"]["scrape_interval"]
    assert source["type"] == "prometheus"
    (provider,) = yaml.safe_load((FOLDER / "provisioning" / "dashboards" / "emendo.yml").read_text())["providers"]
    assert provider["allowUiUpdates"] is False
    assert Path(provider["options"]["path"]).name == "dashboards"


def test_the_checks_tell_wrong_from_right():
    (wrong,) = selected('max by (job) (rate(emendo_nothing_total{job="$job", plane="x"}[$__rate_interval]))')
    assert (wrong.name, wrong.matched) == ("emendo_nothing_total", {"job", "plane"})
    assert wrong.name not in SERIES
    with pytest.raises(ValueError, match="unexpected character"):
        selected('rate(emendo_jobs_ended_total{job="$job")')
    assert list(itertools.chain(*(each.around for each in selected('emendo_workers{job="$job"}')))) == []
