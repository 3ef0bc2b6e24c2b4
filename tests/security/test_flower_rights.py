"""Flower shows nothing without its login, and only shows things unless a setting says otherwise."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from flower.urls import handlers
from tornado.web import URLSpec

from emendo_config import Settings
from emendo_config.celery_app import create_app
from emendo_ops.dashboard.serve import HARMLESS
from tests.support.dashboards import LOGIN, Browser, flower_process, flower_thread
from tests.support.patience import until

# Everything that Flower knows to undo the door, in the environment and in the file that it reads by itself.
HOSTILE_VARIABLES = {
    "FLOWER_READ_ONLY": "false",
    "FLOWER_read_only": "0",
    "FLOWER_BASIC_AUTH": "guest:guest",
    "FLOWER_AUTH": ".*",
    "FLOWER_AUTH_PROVIDER": "flower.views.auth.GithubLoginHandler",
    "FLOWER_UNAUTHENTICATED_API": "true",
    "FLOWER_DEBUG": "true",
    "FLOWER_PERSISTENT": "true",
    "FLOWER_COOKIE_SECRET": "known",
    "FLOWER_ADDRESS": "0.0.0.0",
    "FLOWER_CONF": "planted.py",
    "FLOWER_MAX_TASKS": "77",
}
PLANTED = """
open("planted-code-ran", "w").close()
basic_auth = []
read_only = False
"""
# These are shown. All else that Flower has, now or in its next release, is for those who may change things.
SHOWN = {
    *("/", "/workers", "/worker/(.+)", "/task/(.+)", "/tasks", "/tasks/datatable", "/broker", "/api/workers"),
    *("/api/tasks", "/api/task/types", "/api/queues/length", "/api/task/info/(.*)", "/api/task/result/(.+)"),
    *("/metrics", "/healthcheck", "/static/(.*)", "/login/?", "/logout", ".*"),
}
CHANGES = [
    "/api/worker/shutdown/{worker}",
    "/api/worker/pool/restart/{worker}",
    "/api/worker/pool/grow/{worker}?n=1",
    "/api/worker/pool/shrink/{worker}?n=1",
    "/api/worker/pool/autoscale/{worker}?min=1&max=9",
    "/api/worker/queue/add-consumer/{worker}?queue=other",
    "/api/worker/queue/cancel-consumer/{worker}?queue=interactive",
    "/api/task/apply/emendo.housekeeping",
    "/api/task/async-apply/emendo.housekeeping",
    "/api/task/send-task/emendo.housekeeping",
    "/api/task/abort/any",
    "/api/task/timeout/emendo.drain?workername={worker}&soft=1&hard=1",
    "/api/task/rate-limit/emendo.drain?workername={worker}&ratelimit=0",
    "/api/task/revoke/any?terminate=true",
]


def patterns() -> set[str]:
    return {(each.regex.pattern if isinstance(each, URLSpec) else each[0]).removesuffix("$") for each in handlers}


def sample(pattern: str) -> str:
    return re.sub(r"\(\.[+*]\)", "some", pattern).removesuffix("/?").replace(".*", "/nowhere")


@pytest.fixture(scope="module")
def browser(emendo_worker: Settings, tmp_path_factory) -> Iterator[Browser]:
    """Flower in a folder and an environment that try to open it."""
    folder: Path = tmp_path_factory.mktemp("planted")
    for name in ("flowerconfig.py", "planted.py", "celeryconfig.py"):
        (folder / name).write_text(PLANTED)
    with flower_process(emendo_worker, folder, **HOSTILE_VARIABLES) as made:
        yield made
        assert not (folder / "planted-code-ran").exists()
        assert {each.name for each in folder.iterdir()} == {"flowerconfig.py", "planted.py", "celeryconfig.py"}


def test_the_table_of_routes_is_whole():
    changes = {re.sub(r"\?.*", "", each.replace("{worker}", "(.+)")) for each in CHANGES}
    changed = {re.sub(r"/(any|emendo\.\w+)$", "/(.+)", each) for each in changes}
    assert patterns() == SHOWN | changed


@pytest.mark.parametrize("login", [None, "guest:guest", "emendo:", ":", "emendo:hush ", "nobody:hush", "hush"])
def test_no_route_answers_without_the_login(browser, login):
    for pattern in sorted(patterns()):
        for method in ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            answer = browser.ask(sample(pattern), method, login)
            assert answer.status == 401, (pattern, method)
            assert answer.body == ("" if method == "HEAD" else "Access denied")
    assert browser.ask("/metrics", login=login).headers["Www-Authenticate"] == 'Basic realm="flower"'


@pytest.mark.parametrize(
    "header", ["Basic", "Basic %%%", "Bearer ZW1lbmRvOmh1c2g=", "ZW1lbmRvOmh1c2g=", "Basic w6k6w6k="]
)
def test_no_other_header_is_taken_for_a_login(browser, header):
    assert browser.ask("/metrics", login=None, Authorization=header).status == 401


def test_what_is_shown_is_shown_with_the_login(browser):
    until(lambda: '"test-' in browser.ask("/workers?json=1").body, "Flower does not see the worker")
    for path in ("/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks", "/api/task/types"):
        assert browser.ask(path).status == 200, path
    assert browser.ask("/healthcheck").body == "OK"
    assert "flower_" in browser.ask("/metrics").body
    query = "draw=1&start=0&length=10&order[0][column]=0&columns[0][data]=name&order[0][dir]=asc&search[value]="
    assert browser.ask(f"/tasks/datatable?{query}", "POST").status == 200
    assert '"interactive"' in browser.ask("/api/queues/length").body


@pytest.mark.parametrize("path", CHANGES)
def test_nothing_can_be_changed(browser, path):
    until(lambda: '"test-' in browser.ask("/workers?json=1").body, "Flower does not see the worker")
    worker = re.search(r'"hostname": "(test-[^"]+)"', browser.ask("/workers?json=1").body)[1]
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = browser.ask(path.format(worker=worker), method)
        assert (answer.status, "EMENDO_FLOWER_READ_ONLY" in answer.body) == (403, True), method
    assert browser.ask(path.format(worker=worker)).status in {404, 405}


@pytest.mark.parametrize(
    "broker_url",
    [
        "redis://u:s3cret@a/1;redis://:s3cret@b/1",
        "redis+sentinel://u:s3cret@a:1,b:2/m/0?sentinel_password=s3cret",
        "rediss://:s3cret@a/1?ssl_password=s3cret",
        "amqp://u:s3cret@a//;amqp://u:s3cret@b//",
        "redis+socket://:s3cret@/run/redis.sock?virtual_host=1",
    ],
)
def test_what_a_workers_page_tells_of_its_broker_has_no_password(broker_url):
    app = create_app(Settings(redis_url="redis://h/0", broker_url=broker_url))
    with app.connection_for_read() as connection:
        shown = [app.conf.table(with_defaults=True), app.bugreport(), connection.as_uri()]
    assert "s3cret" in str(app.conf.broker_url) + str(app.conf.broker_transport_options) + str(app.conf.broker_use_ssl)
    assert "s3cret" not in str(shown)


def test_a_setting_lets_flower_change_things(emendo_settings):
    settings = emendo_settings.model_copy(update={"flower_read_only": False, "flower_password": _secret("hush")})
    with create_app(settings) as app, flower_thread(settings, app) as (browser, _):
        for path in CHANGES:
            answer = browser.ask(path.format(worker="nobody@nowhere"), "POST")
            assert answer.status != 403, path
            assert browser.ask(path, "POST", login=None).status == 401
        # A page of another site has the browser's login, too.
        strange = {"Origin": "http://elsewhere.example"}
        assert browser.ask("/api/task/revoke/any", "POST", LOGIN, **strange).status == 403


def test_the_brokers_password_is_not_sent_to_rabbitmqs_management_unasked(emendo_settings, monkeypatch):
    settings = emendo_settings.model_copy(update={"flower_password": _secret("hush")})
    app = create_app(settings)
    with app, flower_thread(settings, app) as (browser, dashboard):
        monkeypatch.setitem(dashboard.__dict__, "transport", "amqp")
        for path in ("/broker", "/broker?x=1", "/api/queues/length"):
            assert browser.ask(path).status == 404, path
            assert "FLOWER_BROKER_API" in browser.ask(path).body


def test_no_option_that_opens_something_is_taken_from_the_environment():
    taken = {f"FLOWER_{name.upper()}" for name in HARMLESS}
    assert taken & set(HOSTILE_VARIABLES) == {"FLOWER_MAX_TASKS"}


def _secret(text: str):
    return Settings(flower_password=text).flower_password
