"""ops/prometheus and docs/reference/metrics.md against what the gateway exports. No Prometheus runs here."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from emendo_client.exchanges.health import CircuitBreaker, Health, InferenceUsage, unreachable
from emendo_client.exchanges.measurements import Measurements, OpenJobs, Pace
from emendo_client.exchanges.reembedding.models import Migration, MigrationPhase
from emendo_config.metric_families import COUNTED, SECONDS, Type, field_of
from emendo_gateway.admission.kinds import METRICS
from emendo_gateway.gauges import READ
from emendo_gateway.metrics import exposition
from emendo_gateway.operations import CHECK_TIMEOUT

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "ops" / "prometheus"
CONFIG = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
RULES = yaml.safe_load((FOLDER / "rules.yml").read_text(encoding="utf-8"))
ALL_RULES = [rule for group in RULES["groups"] for rule in group["rules"]]
ALERTS = [rule for rule in ALL_RULES if "alert" in rule]
RECORDED = {rule["record"]: rule["expr"] for rule in ALL_RULES if "record" in rule}
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))

DURATION = {"type": "string", "pattern": r"^([0-9]+(ms|[smhdwy]))+$"}
TEXTS = {"type": "object", "additionalProperties": {"type": "string", "minLength": 1}}
# Prometheus' own grammar of rule files.
RECORDING = {
    "type": "object",
    "required": ["record", "expr"],
    "additionalProperties": False,
    "properties": {
        "record": {"type": "string", "pattern": "^job(_le)?:emendo_[a-z_]+:[a-z0-9_]+$"},
        "expr": {"type": "string", "minLength": 1},
    },
}
ALERTING = {
    "type": "object",
    "required": ["alert", "expr", "labels", "annotations"],
    "additionalProperties": False,
    "properties": {
        "alert": {"type": "string", "pattern": "^Emendo[A-Za-z]+$"},
        "expr": {"type": "string", "minLength": 1},
        "for": DURATION,
        "keep_firing_for": DURATION,
        "labels": {**TEXTS, "required": ["severity"]},
        "annotations": {**TEXTS, "required": ["summary", "description", "runbook_url"]},
    },
}
SHAPE = {
    "type": "object",
    "required": ["groups"],
    "additionalProperties": False,
    "properties": {
        "groups": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["name", "rules"],
                "additionalProperties": False,
                "properties": {
                    "name": {"type": "string"},
                    "interval": DURATION,
                    "rules": {
                        "type": "array",
                        "minItems": 1,
                        "items": {"oneOf": [ALERTING, RECORDING]},
                    },
                },
            },
        }
    },
}

HEALTH = Health(
    redis=True,
    queued=1,
    queued_by_shard={"3": 1},
    oldest_job_seconds={"interactive": 1.0},
    circuit_breakers={"openai": CircuitBreaker(state="closed")},
    inference=InferenceUsage(fallbacks={"UNKNOWN_MEMORY": 1}),
)


MEASURED = Measurements(
    counts={field_of(family, *family.labels, *(["0"] if family.bounds else [])): 1 for family in COUNTED.values()},
    memories=1,
    cache_bytes={"space": 1},
    paces={("openai", "requests"): Pace(0.0, 0.0)},
    projects={"acme": OpenJobs(1, 1.0)},
    reembedding=Migration(job_id="job", phase=MigrationPhase.BACKFILL, active=True),
)
FAMILIES = {**COUNTED, **READ}


def exported() -> dict[str, set[str]]:
    """Label names by series, of everything the gateway exports; a counter's name ends in `_total`."""
    families = text_string_to_metric_families(exposition(HEALTH, MEASURED).decode())
    return {sample.name: set(sample.labels) for family in families for sample in family.samples}


def seconds(duration: str) -> int:
    (amount,) = re.fullmatch(r"(\d+)s", duration).groups()
    return int(amount)


def test_the_rules_have_the_shape_prometheus_asks_for():
    validator = jsonschema.Draft202012Validator(SHAPE)
    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(RULES)] == []
    # The shape does tell wrong from right.
    wrong = {"groups": [{"name": "x", "rules": [{**ALERTS[0], "for": "soon"}]}]}
    assert list(validator.iter_errors(wrong))
    assert len({alert["alert"] for alert in ALERTS}) == len(ALERTS)


def expanded(expression: str) -> str:
    """The expression, with recorded ones in the place of their names."""
    while found := re.search(r"\bjob(?:_le)?:[a-z_]+:\w+", expression):
        expression = expression.replace(found[0], f"({RECORDED[found[0]]})")
    return expression


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alert_names_metrics_and_labels_that_exist(alert):
    alert = {**alert, "expr": expanded(alert["expr"])}
    names = set(re.findall(r"\bemendo_[a-z_]+\b", alert["expr"]))
    assert names
    assert names <= exported().keys()
    matched = set(re.findall(r"[{,] ?(\w+)!?=~?\"", alert["expr"]))
    assert matched <= set().union(*(exported()[name] for name in names))
    kept = {label for group in re.findall(r"by \(([^)]*)\)", alert["expr"]) for label in group.split(", ")}
    assert kept - {"job"} <= set().union(*(exported()[name] for name in names))
    used = {label for text in alert["annotations"].values() for label in re.findall(r"\$labels\.(\w+)", text)}
    assert used <= kept


def test_every_metric_that_a_rule_records_exists():
    named = {name for expression in RECORDED.values() for name in re.findall(r"\bemendo_[a-z_]+", expanded(expression))}
    assert named
    assert named <= exported().keys()


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_the_link_of_an_alert_leads_to_its_section(alert):
    page, _, section = alert["annotations"]["runbook_url"].partition("#")
    assert section == alert["alert"].lower()
    assert f"\n## {alert['alert']}\n" in (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "command",
    [
        ("check", "rules", "rules.yml"),
        ("check", "config", "prometheus.yml"),
        ("test", "rules", "tests.yml", "alert-tests.yml"),
    ],
)
def test_prometheus_own_tool_approves(command):
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed here (Debian's package prometheus): the rules are not tried")
    result = subprocess.run([tool, *command], cwd=FOLDER, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_each_alert_was_tried_and_each_target_has_one():
    """An alert that never fires in the tests may never fire at night."""
    files = [yaml.safe_load((FOLDER / name).read_text(encoding="utf-8")) for name in ("tests.yml", "alert-tests.yml")]
    cases = [case for file in files for test in file["tests"] for case in test.get("alert_rule_test", [])]
    targets = {rule["alert"] for rule in RULES["groups"][0]["rules"] if "alert" in rule}
    assert RULES["groups"][0]["name"] == "emendo-targets"
    assert len(targets) == 4
    names = {rule["alert"] for rule in ALERTS}
    assert {case["alertname"] for case in cases if case.get("exp_alerts")} == names
    assert {case["alertname"] for case in cases if not case.get("exp_alerts")} == names, "and stays quiet at its limit"


def test_the_command_an_alert_names_can_be_typed_as_it_stands():
    """`emendo dead replay` alone refuses: it wants to be told which."""
    texts = " ".join(text for alert in ALERTS for text in alert["annotations"].values())
    assert re.findall(r"emendo dead replay(?: --\w+)?", texts) == ["emendo dead replay --all"]


@pytest.mark.parametrize(
    "metric",
    [
        "emendo_redis_up",
        "emendo_workers",
        "emendo_oldest_job_seconds",
        "emendo_overdue_seconds",
        "emendo_housekeeping_seconds",
        "emendo_dead_letters",
        "emendo_circuit_breaker_open",
        "emendo_inference_fallbacks_total",
    ],
)
def test_what_needs_a_person_has_an_alert(metric):
    assert any(metric in alert["expr"] for alert in ALERTS)


def test_the_page_lists_what_is_exported():
    result = subprocess.run(
        [sys.executable, ROOT / "docs" / "generate_metrics.py", "--check"], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    histograms = {name for name, family in FAMILIES.items() if family.bounds}
    series = {f"{name}{end}" for name in histograms for end in ("_bucket", "_count", "_sum")}
    assert exported().keys() == FAMILIES.keys() - histograms | series
    for name, labels in exported().items():
        family = FAMILIES.get(name) or FAMILIES[name.rpartition("_")[0]]
        assert labels - {"le"} == set(family.labels), name


def test_names_follow_the_conventions_of_prometheus():
    for name, family in FAMILIES.items():
        assert name.endswith("_total") == (family.type is Type.COUNTER), name
        assert re.fullmatch(r"emendo(_[a-z]+)+", name), name
        assert family.meaning.endswith("."), name
        assert family.bounds == tuple(sorted(family.bounds)), name
    assert 0.1 in SECONDS, "the target for an update is counted, not interpolated"


def test_prometheus_scrapes_the_gateway_where_it_is():
    (scrape,) = CONFIG["scrape_configs"]
    command = COMPOSE["services"]["gateway"]["command"]
    port = command[command.index("--port") + 1]
    assert scrape["static_configs"] == [{"targets": [f"gateway:{port}"]}]
    assert scrape["metrics_path"] == METRICS
    assert CHECK_TIMEOUT < seconds(scrape["scrape_timeout"]) <= seconds(CONFIG["global"]["scrape_interval"])
    assert [(FOLDER / name).is_file() for name in CONFIG["rule_files"]] == [True]


def test_an_unreachable_redis_is_not_an_empty_backlog():
    assert exposition(unreachable("away")).decode().splitlines()[-1] == "emendo_redis_up 0.0"


@pytest.mark.parametrize(("state", "value"), [("closed", 0.0), ("open", 1.0), ("half_open", 1.0)])
def test_a_breaker_counts_as_open_until_it_is_closed(state, value):
    """Half open is a moment between two pauses, and must not restart the alert's clock."""
    health = HEALTH.model_copy(update={"circuit_breakers": {"openai": CircuitBreaker(state=state)}})
    assert f'emendo_circuit_breaker_open{{provider="openai"}} {value}' in exposition(health).decode()
