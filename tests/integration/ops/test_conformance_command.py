"""`emendo conformance` against a running gateway: every check passes, in both dialects."""

from __future__ import annotations

import json

import pytest

from emendo_ops.cli.app import run
from emendo_ops.conformance.checks import CHECKS
from tests.support.gateway import RunningGateway, make_key


@pytest.mark.slow  # it waits as the checks do
@pytest.mark.parametrize("dialect", ["emendo", "mem0"])
def test_the_gateway_passes_every_check(dialect, emendo_worker, openai_server, monkeypatch, capsys):
    monkeypatch.setenv("EMENDO_CONFORMANCE_KEY", make_key(emendo_worker, "examined", "write")[0])
    monkeypatch.setenv("EMENDO_CONFORMANCE_OTHER_KEY", make_key(emendo_worker, "another", "write")[0])
    with RunningGateway(emendo_worker) as gateway:
        code = run(["conformance", "--url", gateway.url, "--dialect", dialect, "--json"])
    report = json.loads(capsys.readouterr().out)
    assert [each for each in report["checks"] if each["verdict"] != "pass"] == []
    assert {each["check"] for each in report["checks"]} == set(CHECKS)
    assert (code, report["passed"], report["dialect"]) == (0, True, dialect)
