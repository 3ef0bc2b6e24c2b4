"""docs/how-to/kubernetes.md: each `helm` line is one of the real chart, and each value that it names is there."""

from __future__ import annotations

import itertools
import re
import shlex
from typing import Any

import pytest
import yaml

from emendo_config import Settings
from emendo_config.traces import ENDPOINTS
from emendo_ops.cli.app import run
from tests.docs.test_compose import cli, parse
from tests.support.chart import CHART, RELEASE, render

__all__ = ["cli"]  # a fixture

ROOT = CHART.parents[2]
PAGE = (ROOT / "docs" / "how-to" / "kubernetes.md").read_text(encoding="utf-8")
VALUES = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
BLOCKS = re.findall(r"^ *```sh\n(.*?)^ *```", PAGE, re.DOTALL | re.MULTILINE)
LINES = [line.strip() for block in BLOCKS for line in block.replace("\\\n", " ").splitlines()]
HELM = [line for line in LINES if line.startswith("helm ")]


def given(line: str) -> dict[str, Any]:
    """The values of a line's `--set`, as Helm reads them."""
    words = shlex.split(line)
    values: dict[str, Any] = {}
    for option, assignment in itertools.pairwise(words):
        if option == "--set":
            path, _, text = assignment.partition("=")
            *parents, name = path.split(".")
            place = values
            for parent in parents:
                place = place.setdefault(parent, {})
            place[name] = text if parents[-1:] in (["image"], []) else yaml.safe_load(text)
    return values


def merged(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    inner = {key: merged(low.get(key, {}), value) for key, value in high.items() if isinstance(value, dict)}
    return {**low, **high, **inner}


def test_the_helm_lines_are_of_this_chart_and_follow_one_another():
    assert len(HELM) == 5
    values: dict[str, Any] = {}
    for line in HELM:
        command, release, *words = shlex.split(line)[1:]
        assert release == RELEASE
        assert words[words.index("--namespace") + 1] == "memories"
        if command == "test":
            continue
        assert (ROOT / words[0]).samefile(CHART)
        assert command == "install" or "--reuse-values" in words
        values = merged(values, given(line))
        assert render(values).of("Deployment")
    assert {each["image"] for each in render(values).containers().values()} == {"registry.example.com/emendo:0.2.0"}


def test_the_first_step_of_an_upgrade_changes_the_workers_only():
    line = next(line for line in HELM if "gateway.image.tag=0.1.0" in line)
    for name, container in render(given(line)).containers().items():
        assert container["image"].endswith(":0.2.0" if name.startswith("worker-") else ":0.1.0"), name


def test_the_autoscaler_of_the_page_asks_with_the_key_of_the_page():
    line = next(line for line in HELM if "kind=keda" in line)
    rendered = render(given(line))
    assert rendered.of("ScaledObject")["worker-bulk"]["spec"]["minReplicaCount"] == 0
    (secret,) = rendered.of("TriggerAuthentication")["scaling"]["spec"]["secretTargetRef"]
    assert any(f"secret generic {secret['name']} " in each and f"={secret['key']}=" in each for each in LINES)


def test_the_secrets_that_the_page_makes_are_those_that_the_chart_reads(tmp_path):
    roles = re.search(r"for role in ([a-z ]+);", "\n".join(LINES))[1].split()
    assert {f"emendo-redis-{role}" for role in roles} >= set(VALUES["secrets"]["redis"].values())
    assert run(["redis-users", "--prefix", "emendo:", "--out", str(tmp_path / "users")]) == 0
    assert all((tmp_path / "users" / f"{role}.env").is_file() for role in roles)


def test_the_commands_of_emendo_are_those_that_the_cli_has(cli):
    commands = [re.search(r"\bemendo ((?:redis-users|keys) [^)|]*)", line) for line in LINES]
    found = [shlex.split(command[1]) for command in commands if command and not command[0].startswith("emendo-")]
    assert len(found) == 2
    for words in found:
        parse(cli, words)
    (arguments,) = re.findall(r'"args": (\[[^\]]*\])', PAGE)
    parse(cli, yaml.safe_load(arguments))


@pytest.mark.parametrize("path", sorted({*re.findall(r"`((?:[a-z][A-Za-z]+\.)+[a-zA-Z_]+)`", PAGE)}))
def test_a_value_that_the_page_names_is_there(path):
    value: Any = VALUES
    for part in path.split("."):
        if value == {}:
            assert part in {*Settings.variables(), *ENDPOINTS}
            return
        assert part in value, path
        value = value[part]
