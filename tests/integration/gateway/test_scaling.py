"""`GET /api/v1/scaling`: how many workers each queue needs, and the page that shows KEDA how to ask for it."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
import yaml

from emendo_config import GatewaySettings
from emendo_config.queues import QUEUES
from emendo_config.store.scripts import execution
from emendo_gateway.admission.kinds import Kind, is_open, kind_of
from tests.integration.gateway.conftest import problem
from tests.support.gateway import browser, make_key
from tests.support.intake import added

PATH = "/api/v1/scaling"
PAGE = Path(__file__).resolve().parents[3] / "docs/how-to/scale.md"


@pytest.fixture
def ask(services, emendo_settings):
    """Asks with a reading key; each call is to an application of its own, which looks at Redis."""
    key, _ = make_key(emendo_settings, "keda", "read")

    def answer(**own):
        with browser(emendo_settings, **own) as http:
            found = http.get(PATH, headers={"Authorization": f"Bearer {key}"})
        assert found.status_code == 200, found.text
        return found.json()

    return answer


def put(services, shard: str, jobs: int, seconds_ago: float = 0.0) -> None:
    """Puts jobs into a shard's inbox, as if they were accepted then."""
    written = int((time.time() - seconds_ago) * 1_000)
    for place in range(jobs):
        services.control.xadd(services.keys.inbox(shard), {"job": "x"}, id=f"{written + place}-0")
    services.control.sadd(services.keys.shards, shard)


def test_nothing_is_wanted_while_nothing_waits(services, client, ask):
    added(services, client)
    found = ask()
    assert (found["value"], list(found["queues"])) == (0.0, list(QUEUES))
    assert {each["value"] for each in found["queues"].values()} == {0.0}


def test_the_depth_of_all_inboxes_of_a_queue_counts(services, ask):
    put(services, "3", 6)
    put(services, "5", 4)
    found = ask(scaling_interactive_depth=4, scaling_interactive_age=3_600)
    assert (found["value"], found["queues"]["interactive"]["depth"]) == (2.5, 10)
    assert found["queues"]["bulk"]["value"] == 0.0


def test_the_age_counts_where_it_is_more(services, ask):
    put(services, "3", 10)
    put(services, "bulk-1", 1, seconds_ago=3_600)
    found = ask(scaling_interactive_depth=10, scaling_interactive_age=3_600, scaling_bulk_age=60)
    assert found["queues"]["interactive"]["value"] == 1.0
    assert 60 <= found["queues"]["bulk"]["value"] < 62
    assert found["value"] == found["queues"]["bulk"]["value"], "the largest of all"


def test_a_delayed_job_that_is_due_brings_the_first_worker(services, ask):
    """No worker runs, so nobody puts it back into its inbox."""
    services.control.zadd(services.keys.delayed, {"inference-3:job": int((time.time() + 3_600) * 1_000)})
    assert ask()["value"] == 0.0
    services.control.zadd(services.keys.delayed, {"inference-3:job": int((time.time() - 90) * 1_000)})
    found = ask(scaling_inference_age=30)["queues"]["inference"]
    assert (found["depth"], 3 <= found["value"] < 4) == (1, True)


def test_a_look_takes_two_round_trips_and_no_scan(services, ask, monkeypatch):
    put(services, "3", 2)
    trips = []
    real = execution.round_trip_async

    async def noted(connection, commands):
        trips.append([command[0] for command in commands])
        return await real(connection, commands)

    monkeypatch.setattr(execution, "round_trip_async", noted)
    ask()
    looks = [names for names in trips if "XLEN" in names or "SMEMBERS" in names]
    assert len(looks) == 2
    assert {name for names in looks for name in names} <= {"TIME", "SMEMBERS", "ZRANGE", "XLEN", "XRANGE"}


def test_it_needs_no_place_among_the_reads():
    """An overloaded installation is the one to scale. The tenant matrix says that it needs a key all the same."""
    scope = {"type": "http", "method": "GET", "path": PATH, "headers": []}
    assert (kind_of(scope), is_open(scope, GatewaySettings())) == (Kind.HEALTH, False)
    assert kind_of({**scope, "path": "/api/v1/users"}) is Kind.READ


def test_redis_away_is_an_error_and_no_zero(emendo_settings):
    """A zero would end workers that have work."""
    away = emendo_settings.model_copy(update={"control_url": "redis://127.0.0.1:1/0"})
    with browser(away, auth="off") as http:
        problem(http.get(PATH), 503, "NETWORK")


def test_every_queue_has_its_targets():
    own = GatewaySettings(scaling_maintenance_depth=7, scaling_maintenance_age=9)
    assert own.scaling_target("maintenance") == (7, 9.0)
    assert all(own.scaling_target(queue) > (0, 0) for queue in QUEUES)


def test_the_pages_trigger_reads_what_the_gateway_answers(ask):
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    documents = list(yaml.safe_load_all(block))
    (scaled,) = [each for each in documents if each["kind"] == "ScaledObject"]
    (trigger,) = scaled["spec"]["triggers"]
    assert (trigger["type"], trigger["metadata"]["url"].endswith(PATH)) == ("metrics-api", True)
    value = ask()
    for name in trigger["metadata"]["valueLocation"].split("."):
        value = value[name]
    assert value == 0.0
