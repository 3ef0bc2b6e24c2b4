"""Every process under the Redis user of its role: the whole story is carried out, and Redis refuses nothing of it."""

from __future__ import annotations

import asyncio
import inspect
import re
import secrets
import shlex
import subprocess
import sys
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path

import pytest
import redis
import yaml

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_client.testing import Fault
from emendo_client.testing.fixtures import settings_for
from emendo_client.testing.ports import LOOPBACK, free_port, usable_port
from emendo_client.testing.redis_servers import find_server
from emendo_client.testing.worker import WorkerProcess, environment
from emendo_config import Keys
from emendo_gateway.keys import records
from emendo_ops.cli.app import run
from tests.fundamentals.test_12_inference import decided, found
from tests.support.gateway import RunningGateway, make_key, on_control
from tests.support.patience import LONG_PATIENCE, PATIENCE, until
from tests.support.redis_users import PREFIX, users_redis
from tests.support.tls import Certificates, TLSProxy

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = tuple(
    import_module(f"tests.fundamentals.{name}")
    for name in (
        "test_01_add_and_wait",
        "test_02_update_and_history",
        "test_03_search",
        "test_04_batch",
        "test_05_conflict",
        "test_06_dead_letter_and_replay",
        "test_07_delete_restore_erase",
        "test_08_idempotency",
        "test_09_strong_consistency",
        "test_10_cancel",
        "test_14_diagnose",
    )
)


@pytest.fixture(scope="module")
def redis_with_users(tmp_path_factory):
    with users_redis(tmp_path_factory.mktemp("users")) as made:
        yield made


@pytest.fixture(scope="module")
def worker(redis_with_users, _provider, tmp_path_factory):
    """A worker as the user `worker`, with a chat model."""
    settings = redis_with_users.settings(
        "worker", _provider.base_url, chat_model="any-model", chat_base_url=_provider.base_url, reembed_grace=0.0
    )
    log = tmp_path_factory.mktemp("worker") / "worker.log"
    with WorkerProcess(settings, log):
        yield log


@pytest.fixture
def client_as(redis_with_users, openai_server, worker):
    made = []

    def client(role: str, project: str | None = None, **more) -> MemoryClient:
        settings = redis_with_users.settings(role, openai_server.base_url, **more)
        made.append(MemoryClient(settings, project=project or uuid.uuid4().hex))
        return made[-1]

    redis_with_users.refusals()
    yield client
    for each in made:
        each.close()


@pytest.fixture
def emendo(redis_with_users, openai_server, monkeypatch, capfd):
    """Runs `emendo …` as a role: exit code, and all it wrote."""

    def call(role: str, *words: str, **more) -> tuple[int, str]:
        for name, value in environment(redis_with_users.settings(role, openai_server.base_url, **more)).items():
            if name.startswith("EMENDO_"):
                monkeypatch.setenv(name, value)
        capfd.readouterr()
        code = run(list(words))
        written = capfd.readouterr()
        return code, written.out + written.err

    return call


@pytest.fixture
def process(redis_with_users, openai_server, tmp_path):
    """Starts `emendo …` as a role and stops it after the test."""
    running = []

    def start(role: str, *words: str, **more) -> None:
        settings = redis_with_users.settings(role, openai_server.base_url, **more)
        with (tmp_path / f"{role}.log").open("ab") as log:
            command = [sys.executable, "-m", "emendo_ops.cli", *words]
            running.append(
                subprocess.Popen(command, env=environment(settings), cwd=tmp_path, stdout=log, stderr=subprocess.STDOUT)
            )

    yield start
    for each in running:
        each.terminate()
    for each in running:
        try:
            each.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            each.kill()
            each.wait()


def stories() -> Iterator[Callable[..., None]]:
    for chapter in CHAPTERS:
        for name, story in vars(chapter).items():
            if name.startswith("test_") and "emendo_settings" not in inspect.signature(story).parameters:
                yield story


@pytest.mark.parametrize("role", ["app", "gateway", "operator"])
def test_the_client_may_do_all_that_the_tutorial_shows(redis_with_users, client_as, openai_server, role):
    for story in stories():
        openai_server.reset()
        given = {"openai_server": openai_server, "emendo_client": client_as(role)}
        story(**{name: given[name] for name in inspect.signature(story).parameters})
        assert redis_with_users.refusals() == set(), story.__name__


def test_the_client_may_infer_and_decide_and_list(redis_with_users, client_as, openai_server):
    client = client_as("app")
    openai_server.script(found("I dislike seafood."))
    client.add("Please note: I dislike seafood.", user_id="ana").wait(raise_on_failure=True)
    openai_server.script(found("I enjoy seafood."), decided("UPDATE", old="I dislike seafood.", new="I enjoy seafood."))
    (updated,) = client.add("By now I enjoy seafood.", user_id="ana").wait(raise_on_failure=True).results
    assert updated.version == 2
    openai_server.script(found("I like tea."))
    assert client.add("I like tea.", user_id="tea").wait(raise_on_failure=True).results
    client.set_project_rules(instructions="Keep what people eat.")
    assert client.project_rules().instructions
    client.batch_update([{"memory_id": updated.memory_id, "metadata": {"k": "v"}}], idempotency_key="k").wait(
        raise_on_failure=True
    )
    assert client.search("seafood", user_id="ana", filters={"metadata": {"k": {"in": ["v"]}}})
    assert client.get_all(user_id="ana", filters={"metadata": {"k": "v"}}).total
    assert client.count(user_id="ana")
    assert client.users()
    assert client.jobs()
    assert client.health().problem is None
    openai_server.faults.add(Fault("bad_request"))
    letter = client.add("I like coffee.", user_id="ana", infer=False)
    assert letter.wait().status == "failed"
    client.discard(letter.id)
    assert client.dead_letters() == []
    assert redis_with_users.refusals() == set()


async def test_the_asyncio_client_may_wait_for_its_jobs(redis_with_users, openai_server, worker):
    redis_with_users.refusals()
    async with AsyncMemoryClient(redis_with_users.settings("app", openai_server.base_url), project="async") as client:
        jobs = await asyncio.gather(*(client.add(f"fact {n}", user_id="ana", infer=False) for n in range(20)))
        results = await asyncio.gather(*(job.wait() for job in jobs))
        assert {result.status for result in results} == {"succeeded"}
        assert await client.search("fact 1", user_id="ana")
    assert redis_with_users.refusals() == set()


def test_a_job_that_waits_is_cancelled_by_its_app(tmp_path, openai_server):
    """Without a worker, so the job waits; its end is said on its channel, and a batch has no idempotency key."""
    with users_redis(tmp_path / "redis") as own:
        settings = own.settings("app", openai_server.base_url)
        with MemoryClient(settings) as client:
            job = client.add("x", user_id="ana", infer=False)
            batch = client.batch_update([{"memory_id": "m", "text": "y"}])
            assert job.cancel()
            assert job.wait(PATIENCE).status == "cancelled"
            assert batch.status() == "queued"
        assert own.refusals() == set()


def test_a_killed_workers_jobs_are_done_by_the_next_worker(redis_with_users, client_as, openai_server, tmp_path):
    client = client_as("app")
    settings = redis_with_users.settings("worker", openai_server.base_url)
    with WorkerProcess(settings, tmp_path / "killed.log") as doomed:
        jobs = [client.add(f"fact {n}", user_id="ana", infer=False) for n in range(50)]
        doomed.kill()
    assert {job.wait(PATIENCE).status for job in jobs} == {"succeeded"}
    assert redis_with_users.refusals() == set()


def test_an_operator_may_run_every_command(redis_with_users, client_as, openai_server, emendo):
    client = client_as("operator", project="ops")
    more = {"project": "ops"}
    ids = [client.add(f"fact {n}", user_id=f"u{n}", infer=False).wait().results[0].memory_id for n in range(6)]
    openai_server.faults.add(Fault("bad_request"))
    (letter,) = [client.add("x", user_id="ana", infer=False)]
    assert letter.wait().status == "failed"
    client.update(ids[0], "another", expected_version=7, on_conflict="manual").wait()
    for words in (
        ("doctor", "--deep", "--all"),
        ("diagnose", ids[1]),
        ("dead",),
        ("dead", "show", letter.id),
        ("dead", "replay", "--all"),
        ("conflicts",),
        ("history", ids[1]),
        ("jobs",),
        ("users",),
        ("count", "--all-users"),
        ("list", "--all-users"),
        ("search", "fact", "--user", "u1"),
        ("project", "rules"),
        ("delete", ids[2]),
        ("restore", ids[2]),
        ("delete", ids[3], "--hard", "--yes"),
        ("purge", "--deleted-before", "2100-01-01T00:00Z", "--yes"),
        ("erase", "--user", "u4", "--yes"),
        ("reembed", "status"),
        ("keys", "list"),
    ):
        code, written = emendo("operator", *words, **more)
        assert "REDIS_NO_PERMISSION" not in written, written
        assert redis_with_users.refusals() == set(), (words, written)
        assert code in ((0, 1) if words[0] == "doctor" else (0,)), (words, written)


def test_an_operator_may_re_embed_and_take_it_back(redis_with_users, client_as, worker):
    client = client_as("operator")
    client.add("I enjoy seafood.", user_id="ana", infer=False).wait()
    assert client.reembed(dimensions=128, dry_run=True).memories
    assert client.reembed(dimensions=128).wait(LONG_PATIENCE).status == "succeeded"
    assert client.migration().phase == "switched"
    assert client.rollback_reembed().wait(LONG_PATIENCE).status == "succeeded"
    assert client.reembed(dimensions=128).wait(LONG_PATIENCE).status == "succeeded"
    assert client.finalize_reembed().wait(LONG_PATIENCE).status == "succeeded"
    assert client.search("seafood", user_id="ana")
    assert client.reembed(dimensions=64).wait(LONG_PATIENCE).status == "succeeded"
    assert client.finalize_reembed().wait(LONG_PATIENCE).status == "succeeded"
    assert redis_with_users.refusals() == set()


def test_beat_may_start_housekeeping(redis_with_users, process, worker):
    """A real beat; its task is due at its start."""
    key = f"{PREFIX}housekeeping"
    redis_with_users.refusals()
    redis_with_users.admin.delete(key)
    process("beat", "beat", "--dir", "beat")
    until(lambda: redis_with_users.admin.hexists(key, "ended"), redis_with_users.refusals, LONG_PATIENCE)
    assert redis_with_users.refusals() == set()


def test_flower_may_follow_events_and_ask_workers(redis_with_users, client_as, process, tmp_path):
    port = usable_port(0, "Flower", "--port")
    process("flower", "flower", "--port", str(port), flower_password="pw")
    login = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    login.add_password(None, f"http://127.0.0.1:{port}/", "emendo", "pw")
    browser = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(login))

    def page(path: str) -> str:
        try:
            with browser.open(f"http://127.0.0.1:{port}{path}", timeout=PATIENCE) as answer:
                return answer.read().decode()
        except OSError:
            return ""

    def log() -> str:
        return (tmp_path / "flower.log").read_text()

    until(lambda: "test-" in page("/workers?json=1") + page("/workers"), log)
    client_as("app").add("x", user_id="ana", infer=False).wait()
    until(lambda: page("/tasks"), log)
    until(lambda: page("/broker"), log)
    assert redis_with_users.refusals() == set(), log()


def test_the_gateway_may_serve_its_users(redis_with_users, openai_server, worker):
    redis_with_users.refusals()
    settings = redis_with_users.settings("gateway", openai_server.base_url)
    operator = redis_with_users.settings("operator", openai_server.base_url)  # it hands out the keys
    key, record = make_key(operator, rate=4)
    with RunningGateway(settings) as gateway, RunningGateway(settings) as other, gateway.http(key) as tenant:
        assert gateway.http().get("/health").status_code == 200
        body = {"messages": "I enjoy seafood.", "user_id": "ana", "infer": False}
        answer = tenant.post("/api/v1/memories", json=body, headers={"Prefer": "wait=60"})
        assert (answer.status_code, answer.json()["status"]) == (200, "succeeded"), answer.text
        hits = tenant.post("/api/v1/memories/search", json={"query": "seafood", "user_id": "ana"}).json()["results"]
        assert [hit["memory"] for hit in hits] == ["I enjoy seafood."]
        # The worker of another test may be listed until its lease ends.
        until(lambda: "emendo_workers 1.0" in gateway.http().get("/metrics").text)
        metrics = tenant.get("/metrics").text
        assert "emendo_metrics_read 1.0" in metrics, "the workers' counts, rate limits, cache and projects are read"
        with other.http(key) as beside, other.http("em_0123456789abcdef_" + "x" * 43) as stranger:
            codes = [beside.get(f"/api/v1/jobs/{'0' * 32}").status_code for _ in range(3)]
            assert codes == [404, 404, 429], "both gateways count, and know when the window ends"
            assert stranger.get("/api/v1/memories").status_code == 401
        on_control(operator, records.revoke(Keys(PREFIX), record.id))
    assert redis_with_users.refusals() == set()


def test_the_containers_check_of_a_worker_tells_whether_it_is_there(redis_with_users, openai_server, worker):
    redis_with_users.refusals()
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    _, command = compose["services"]["worker-bulk"]["healthcheck"]["test"]
    _, *words, _ = shlex.split(command)
    settings = redis_with_users.settings("worker", openai_server.base_url)
    (name,) = set(re.findall(r"(test-\d+@[\w.-]+) ready", worker.read_text()))

    def asks(destination: str) -> tuple[int, str]:
        asked = [sys.executable, *words, destination]
        done = subprocess.run(asked, env=environment(settings), capture_output=True, text=True, check=False)
        return done.returncode, done.stderr

    assert asks(name) == (0, "")
    assert asks("nobody@nowhere") == (1, "nobody@nowhere does not answer within 5 s\n")
    assert redis_with_users.refusals() == set()


@pytest.fixture
def reached_by(tmp_path):
    """A Redis with users and nobody else in it, and URLs of a role for it: with TLS, and by the name of its master."""
    certificates = Certificates(tmp_path)
    with users_redis(tmp_path / "redis") as own, TLSProxy(own.port, certificates.right) as proxy:
        secret = secrets.token_hex(16)
        # The rights that Redis' documentation gives to sentinels.
        rights = "+multi +slaveof +ping +exec +subscribe +config|rewrite +role +publish +info +client|setname"
        rights += " +client|kill +script|kill"
        own.admin.execute_command("ACL", "SETUSER", "sentinel", "on", f">{secret}", "allchannels", *rights.split())

        def url(kind: str, role: str) -> str:
            tls = own.url(role).replace("redis://", "rediss://").replace(f":{own.port}/", f":{proxy.port}/")
            if kind == "rediss":
                return f"{tls}?ssl_ca_certs={certificates.ca}"
            return own.url(role).replace("redis://", "redis+sentinel://").replace(f":{own.port}/", f":{port}/main/")

        port = free_port()
        conf = tmp_path / "sentinel.conf"
        conf.write_text(
            f"port {port}\nbind {LOOPBACK}\ndir {tmp_path}\nsentinel monitor main {LOOPBACK} {own.port} 1\n"
            f"sentinel auth-user main sentinel\nsentinel auth-pass main {secret}\n"
            "sentinel down-after-milliseconds main 60000\n"
        )
        with (tmp_path / "sentinel.log").open("wb") as log:
            process = subprocess.Popen([find_server().argv[0], str(conf), "--sentinel"], stdout=log, stderr=log)
        try:
            # Its first PING was answered.
            until(lambda: _is_up(port), (tmp_path / "sentinel.log").read_text)
            yield own, url
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _is_up(port: int) -> bool:
    with redis.Redis(port=port) as sentinel:
        try:
            found = sentinel.sentinel_master("main")
        except redis.RedisError:
            return False
    return found["flags"] == "master" and found["info-refresh"] > 0


@pytest.mark.parametrize("kind", ["rediss", "redis+sentinel"])
def test_users_log_in_with_tls_and_by_way_of_sentinels(reached_by, openai_server, tmp_path, kind):
    own, url = reached_by

    def settings(role: str):
        return settings_for(url(kind, role), openai_server.base_url, key_prefix=PREFIX)

    with WorkerProcess(settings("worker"), tmp_path / "worker.log"), MemoryClient(settings("app")) as client:
        assert client.add("I enjoy seafood.", user_id="ana", infer=False).wait(PATIENCE).status == "succeeded"
        assert client.search("seafood", user_id="ana")
        assert client.health().problem is None
    assert own.refusals() == set()


def test_an_exporter_may_read_the_servers_figures(redis_with_users):
    redis_with_users.refusals()
    with redis_with_users.connection("exporter") as connection:
        assert connection.info("all")
        for words in (("LATENCY", "LATEST"), ("LATENCY", "HISTOGRAM"), ("SLOWLOG", "LEN"), ("FT._LIST",), ("PING",)):
            connection.execute_command(*words)
    assert redis_with_users.refusals() == set()
