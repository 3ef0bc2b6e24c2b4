"""Flower's pages show hostile fields of events and workers as text: they make no tag, attribute, script or header."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import quote

import flower
import pytest

from emendo_config import Settings
from emendo_config.celery_app import create_app
from tests.support.dashboards import Browser, flower_thread

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</td></tr></table></script><svg onload=alert(1)>",
    "line\r\nSet-Cookie: a=b\r\n\r\n<b>bold</b>",
    "{{ 7 * 191 }}{% raw '<i>' %}",
    "javascript:alert(1)",
    "&lt;u&gt;",
    '"} hostile_metric{a="1"} 7\nhostile_metric 8',
]
PLAIN = "plain"
QUERY = "draw=1&start=0&length=100&order[0][column]=0&columns[0][data]=name&order[0][dir]=asc&search[value]="
FIELDS = ("name", "args", "kwargs", "exception", "traceback", "result", "routing_key", "exchange", "eta", "expires")


class Shape(HTMLParser):
    """The tags of a page, each with the names of its attributes, and all scripts' texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.links: set[str] = set()
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attributes)))
        self.links |= {value.partition(":")[0] for name, value in attributes if name in {"href", "src"} and value}


@pytest.fixture(scope="module")
def shown() -> Iterator[tuple[Browser, Any]]:
    settings = Settings(redis_url="redis://127.0.0.1:1/0", flower_password="hush", broker_timeout=0.1)
    with create_app(settings, only_sends=True) as app, flower_thread(settings, app) as made:
        yield made


def tell(dashboard: Any, value: str) -> tuple[str, str]:
    """Events of a worker and a task whose every field has the value, and what the worker says of itself."""
    now, worker, task = time.time(), f"worker-{value}", f"task-{value}"
    common = {"hostname": worker, "timestamp": now, "local_received": now, "pid": 1, "utcoffset": 0, "freq": 2.0}
    fields = dict.fromkeys(FIELDS, value) | {"root_id": value, "parent_id": value, "client": value}
    state = dashboard.events.state
    online = {"sw_ident": value, "sw_ver": value, "sw_sys": value, "active": 0, "processed": 0, "loadavg": [0, 0, 0]}
    state.event({"type": "worker-online", "clock": 1, **common, **online})
    state.event({"type": "task-received", "clock": 2, "uuid": task, **common, **fields})
    state.event({"type": "task-failed", "clock": 3, "uuid": task, **common, **fields})
    queue = {"name": value, "exchange": {"name": value, "type": value}, "routing_key": value, "alias": value}
    queue |= dict.fromkeys(
        ("exclusive", "durable", "no_ack", "queue_arguments", "binding_arguments", "auto_delete"), value
    )
    request = {"id": value, "name": value, "args": value, "kwargs": value, "hostname": value, "time_start": now}
    request |= {"acknowledged": value, "worker_pid": value}
    dashboard.inspector.workers[worker] = {
        "stats": {
            "pool": {value: value},
            "broker": {value: value},
            "total": {value: 1},
            "rusage": {value: value},
            value: value,
        },
        "active_queues": [queue],
        "registered": [value],
        "scheduled": [{"request": request, "eta": value, "priority": 1}],
        "active": [request],
        "reserved": [request],
        "revoked": [value],
        "conf": {value: value},
    }
    return worker, task


def pages(browser: Browser, dashboard: Any, value: str) -> dict[str, str]:
    dashboard.events.state.clear(ready=False)
    dashboard.events.state.counter.clear()
    dashboard.inspector.workers.clear()
    worker, task = tell(dashboard, value)
    paths = {"workers": "/workers", "tasks": "/tasks", "task": f"/task/{quote(task, safe='')}"}
    paths["worker"] = f"/worker/{quote(worker, safe='')}"
    found = {}
    for name, path in paths.items():
        answer = browser.ask(path)
        assert answer.status == 200, (name, answer)
        assert answer.headers["Content-Type"].startswith("text/html")
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "bold" not in str(answer.headers)
        assert not answer.headers.get("Set-Cookie", "").startswith("a=")
        found[name] = answer.body
    return found


@pytest.mark.parametrize("value", HOSTILE)
def test_a_page_has_the_same_tags_whatever_the_fields_say(shown, value):
    browser, dashboard = shown
    expected = {name: Shape(page) for name, page in pages(browser, dashboard, PLAIN).items()}
    for name, page in pages(browser, dashboard, value).items():
        got = Shape(page)
        assert got.tags == expected[name].tags, name
        assert "javascript" not in got.links
        assert "1337" not in page, "a template ran"
        assert not re.search(r"<(script>alert|img src=x|svg onload|b>bold)", page), name


@pytest.mark.parametrize("value", HOSTILE)
def test_what_scripts_ask_for_is_json(shown, value):
    """The tables' script writes cells as HTML, so it must escape each."""
    browser, dashboard = shown
    pages(browser, dashboard, value)
    for path, method in ((f"/tasks/datatable?{QUERY}", "POST"), ("/workers?json=1", "GET"), ("/api/tasks", "GET")):
        answer = browser.ask(path, method)
        assert answer.status == 200, path
        assert answer.headers["Content-Type"].startswith("application/json")
        assert value in str(list(strings(json.loads(answer.body)))) or value in list(strings(json.loads(answer.body)))
    script = (Path(flower.__file__).parent / "static/js/flower.js").read_text()
    columns = re.findall(r"columnDefs: (\w+)", script)
    assert columns
    assert set(columns) == {"withDefaultRenderer"}, "each table escapes the cells that it does not build itself"


@pytest.mark.parametrize("value", HOSTILE)
def test_a_metric_has_no_line_of_its_own(shown, value):
    browser, dashboard = shown
    pages(browser, dashboard, value)
    lines = browser.ask("/metrics").body.splitlines()
    assert not any(line.startswith(("hostile_metric", "Set-Cookie", "<b>")) for line in lines)


def strings(document: Any) -> Iterator[str]:
    """All texts of a document, names included."""
    if isinstance(document, str):
        yield document
    elif isinstance(document, dict):
        for name, value in document.items():
            yield name
            yield from strings(value)
    elif isinstance(document, list):
        for value in document:
            yield from strings(value)
