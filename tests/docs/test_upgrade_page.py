"""The times that docs/how-to/upgrade.md names are those of the product."""

from __future__ import annotations

import re
from pathlib import Path

import yaml

from emendo_config.celery_app import create_app
from emendo_config.settings import Settings
from emendo_ops.stack.plan import WORKER_STOP_TIMEOUT
from tests.support.upgrade_page import section

ROOT = Path(__file__).resolve().parents[2]


def test_the_times_are_those_of_the_product():
    words = section("Stop a worker")
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    graces = {each["stop_grace_period"] for name, each in compose["services"].items() if name.startswith("worker")}
    assert {f"{seconds}s" for seconds in re.findall(r"(\d+) seconds in docker-compose.yml", words)} == graces
    assert f"{WORKER_STOP_TIMEOUT:g} in `emendo up`" in words
    soft = create_app(Settings(redis_url="redis://h/0")).conf.worker_soft_shutdown_timeout
    assert f"after {soft:g} seconds it ends as if it were killed" in words
