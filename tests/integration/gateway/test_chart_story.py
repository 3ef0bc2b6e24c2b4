"""The script of `helm test`, as its pod runs it: against a real gateway with a worker."""

from __future__ import annotations

import os
import subprocess
import sys

from emendo_client.testing.ports import LOOPBACK, free_port
from tests.support.chart import CHART
from tests.support.gateway import make_key
from tests.support.patience import PATIENCE

SCRIPT = CHART / "files" / "story.py"


def told(gateway: str, seconds: str, key: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", SCRIPT],
        env={"PATH": os.environ["PATH"], "GATEWAY": gateway, "SECONDS": seconds, "API_KEY": key},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_a_memory_is_written_found_and_erased(gateway, openai_server):
    key, record = make_key(gateway.settings, "helm-test", "write")
    result = told(gateway.url, "60", key)
    assert result.returncode == 0, result.stderr + result.stdout
    claims = [line.removeprefix("ok: ") for line in result.stdout.splitlines() if line.startswith("ok: ")]
    assert claims == ["jobs are accepted and carried out", "a memory is written", "a search finds it", "it is erased"]
    assert key not in result.stdout
    assert record.project == "helm-test"


def test_without_a_key_only_the_health_is_asked_for(gateway):
    result = told(gateway.url, "60")
    assert result.returncode == 0, result.stderr
    assert "no memory is written" in result.stdout


def test_a_wrong_key_and_an_absent_gateway_fail_with_a_word(gateway):
    refused = told(gateway.url, "60", "em_wrong")
    assert refused.returncode == 1
    assert "FAILED: a memory is written" in refused.stderr
    assert "em_wrong" not in refused.stderr
    absent = told(f"http://{LOOPBACK}:{free_port()}", "0")
    assert absent.returncode == 1
    assert "FAILED: jobs are accepted and carried out" in absent.stderr


def test_a_gateway_without_workers_is_not_healthy(start_gateway):
    result = told(start_gateway().url, "0.1")
    assert result.returncode == 1
    assert '"workers": 0' in result.stderr
