"""The dashboards with a real Prometheus that scrapes a real stack: no panel is empty, no metric stays zero."""

from __future__ import annotations

import time

import pytest

from emendo_config.metric_families import COUNTED, Type
from emendo_gateway.gauges import READ
from tests.dashboards.work import watched_stack
from tests.support.dashboard_files import DASHBOARDS, filled, panels_of
from tests.support.prometheus import program

# Metrics that stay zero in a system that works, each with the reason.
ZERO = {
    "emendo_faulty_workers": "no worker has a fault of its own",
    "emendo_inference_degraded_jobs_total": "the only worker has a chat model",
}


@pytest.mark.slow
def test_no_panel_is_empty_and_no_metric_stays_zero(tmp_path):
    if program() is None:
        pytest.skip("prometheus is not installed here (Debian's package): nothing scrapes the gateway")
    with watched_stack(tmp_path, 5.0, print) as watched:
        assert watched.checks.failed == []
        prometheus, now = watched.prometheus, time.time()
        empty = [
            f"{uid}: {panel['title']}: {target['expr']}"
            for uid, dashboard in DASHBOARDS.items()
            for panel in panels_of(dashboard)
            for target in panel["targets"]
            if not any(
                value != "NaN"
                for series in prometheus.over(filled(target["expr"], "10s"), watched.began, now, 1.0)
                for _, value in series["values"]
            )
        ]
        window = f"{int(now - watched.began) + 1}s"
        zero = set()
        for name, family in {**COUNTED, **READ}.items():
            series = f"{name}_count" if family.type is Type.HISTOGRAM else name
            if not prometheus.at(f"max(max_over_time({series}[{window}])) > 0", now):
                zero.add(name)
    assert empty == []
    assert zero == ZERO.keys()
