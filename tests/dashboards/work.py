"""A stack with every kind of work and trouble, watched by a Prometheus: what the dashboards show is then not empty.

`emendo up` starts it with the local embedder, and the demo's story goes first. Then a stand-in provider gives it a chat
model, a re-embedding, and faults.
"""

from __future__ import annotations

import contextlib
import io
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from rich.console import Console

from emendo_client import Job, MemoryClient
from emendo_client.testing import Fault
from emendo_client.testing.openai_server.rate_limits import RateLimits
from emendo_client.testing.openai_server.server import OpenAIServer
from emendo_config import Settings
from emendo_ops.demo.checks import Checks
from emendo_ops.demo.story import tell
from emendo_ops.stack.process import running_stack
from tests.support.inferring import Model
from tests.support.patience import LONG_PATIENCE, until
from tests.support.prometheus import Prometheus

# Projects, and the updates of each in a round of load.
PROJECTS = {"acme": 96, "globex": 36, "initech": 12}
DIMENSIONS = 64


@dataclass
class Watched:
    """A running stack, and what watches it.

    Attributes:
        began: when Prometheus made its first scrape, in seconds since 1970.
        checks: the demo's claims.
    """

    settings: Settings
    prometheus: Prometheus
    began: float
    checks: Checks


@contextmanager
def watched_stack(directory: Path, seconds: float, say: Callable[[str], None]) -> Iterator[Watched]:
    """Runs everything; ends with the work done and the stack still there.

    Args:
        directory: for all data and logs.
        seconds: of load without trouble.
        say: is told each part.
    """
    limits = RateLimits(requests=3_000, tokens=400_000)
    with OpenAIServer(latency_ms=20, jitter_ms=15, rate_limits=limits) as provider:
        variables = {
            "EMENDO_EMBEDDING_PROVIDER": "local",
            "EMENDO_EMBEDDING_BASE_URL": provider.base_url,
            "EMENDO_EMBEDDING_API_KEY": "test",
            "EMENDO_CHAT_MODEL": "m",
            "EMENDO_CHAT_BASE_URL": provider.base_url,
            "EMENDO_CHAT_API_KEY": "test",
            "EMENDO_RETRY_BASE": "0.3",
            "EMENDO_MAX_ATTEMPTS": "4",
            "EMENDO_LEASE": "2",
            "EMENDO_CHUNK_ITEMS": "16",
            "EMENDO_PROJECT_WINDOW_CHUNKS": "1",
            "EMENDO_BREAKER_PAUSE": "1",
        }
        with running_stack(directory, variables) as stack:
            settings = Settings(
                redis_url=stack["redis_url"],
                embedding_provider="local",
                embedding_base_url=provider.base_url,
                embedding_api_key="test",
                chunk_items=16,
                project_window_chunks=1,
            )
            with Prometheus(directory / "prometheus", stack["gateway_url"]) as prometheus:
                began = time.time()
                until(lambda: prometheus.at("emendo_redis_up"), "nothing is scraped")
                work = _Work(settings, stack, provider, prometheus, say)
                checks = work.demo()
                work.load(seconds)
                work.conflicts()
                work.conversations()
                work.reembedding()
                work.faults()
                work.death()
                work.full_redis()
                work.load(seconds)
                yield Watched(settings, prometheus, began, checks)


class _Work:
    def __init__(
        self,
        settings: Settings,
        stack: dict[str, Any],
        provider: OpenAIServer,
        prometheus: Prometheus,
        say: Callable[[str], None],
    ) -> None:
        self.settings, self.stack, self.provider = settings, stack, provider
        self.prometheus, self.say = prometheus, say
        self.model = Model(provider)

    def client(self, project: str = "acme") -> MemoryClient:
        return MemoryClient(self.settings, project=project)

    def demo(self) -> Checks:
        self.say("the demo's story")
        console = Console(file=io.StringIO(), width=140)
        checks = Checks(console)
        with MemoryClient(self.settings) as client:
            tell(client, self.stack, console, checks)
        return checks

    def load(self, seconds: float) -> None:
        """Adds, updates and batches of three projects, one round after another."""
        self.say(f"{seconds:g} s of load")
        with contextlib.ExitStack() as open_clients:
            clients = {project: open_clients.enter_context(self.client(project)) for project in PROJECTS}
            ids = {project: _ids(_added(client, 40)) for project, client in clients.items()}
            deadline, round_ = time.monotonic() + seconds, 0
            while time.monotonic() < deadline:
                round_ += 1
                jobs: list[Job] = []
                for project, client in clients.items():
                    own = ids[project]
                    changed = (own[n % len(own)] for n in range(PROJECTS[project]))
                    jobs += [client.update(each, f"fact {each[:6]} in round {round_}") for each in changed]
                    jobs.append(client.delete(own[round_ % len(own)]))
                    jobs.append(client.restore(own[round_ % len(own)]))
                if round_ % 10 == 1:
                    values = ({"memory_id": each, "metadata": {"round": round_}} for each in ids["acme"] * 4)
                    jobs.append(clients["acme"].batch_update(values))
                for job in jobs:
                    job.wait(LONG_PATIENCE, raise_on_failure=False)

    def conflicts(self) -> None:
        self.say("changes that contradict each other")
        with self.client() as client:
            (memory_id,) = _ids(_added(client, 1))
            client.update(memory_id, "second").wait(LONG_PATIENCE)
            client.update(memory_id, "third", expected_version=1, on_conflict="manual").wait(LONG_PATIENCE)
            (conflict,) = client.conflicts()
            client.resolve_conflict(conflict.id, "ours").wait(LONG_PATIENCE)
            # Many changes of one memory at once: attempts meet its lock, and commits a changed version.
            jobs = [client.update(memory_id, f"change {number}") for number in range(200)]
            for job in jobs:
                job.wait(LONG_PATIENCE)

    def conversations(self) -> None:
        self.say("conversations")
        self.model.rules.append(_no_such_memory)
        self.model.updates("I moved to Rome.", "I live in Oslo.")
        with self.client() as client:
            client.add("I live in Oslo.", user_id="ana").wait(LONG_PATIENCE)
            client.add("I moved to Rome. I like rice.", user_id="ana").wait(LONG_PATIENCE)
            client.add("Nobody understands this.", user_id="ana").wait(LONG_PATIENCE)

    def reembedding(self) -> None:
        self.say("a re-embedding from the local embedder to the provider")
        with self.client() as client:
            job = client.reembed("text-embedding-3-small", DIMENSIONS, provider="openai")
            job.wait(LONG_PATIENCE)
        self.settings = self.settings.model_copy(
            update={
                "embedding_provider": "openai",
                "embedding_model": "text-embedding-3-small",
                "embedding_dimensions": DIMENSIONS,
            }
        )

    def faults(self) -> None:
        self.say("faults of the provider")
        with self.client() as client:
            client.delete("00000000-0000-4000-8000-000000000000").wait(LONG_PATIENCE, raise_on_failure=False)
            self.provider.faults.add(Fault("bad_request", times=100, match="unbearable"))
            jobs = [client.add("unbearable", user_id="eve", infer=False)]
            self.provider.faults.add(Fault("unavailable", times=30, endpoint="embeddings"))
            jobs += [client.add(f"later {number}", user_id="eve", infer=False) for number in range(5)]
            self.seen('emendo_circuit_breaker_open{provider="openai"} > 0')
            self.provider.faults.clear()
            self.provider.faults.add(Fault("bad_request", times=100, match="unbearable"))
            self.seen('emendo_circuit_breaker_open{provider="openai"} == 0')
            self.provider.faults.add(Fault("rate_limit", times=2, retry_after=6.0, endpoint="embeddings"))
            jobs += [client.add(f"limited {number}", user_id="eve", infer=False) for number in range(5)]
            self.seen("max(emendo_rate_limit_wait_seconds) > 0")
            for job in jobs:
                job.wait(LONG_PATIENCE, raise_on_failure=False)
            self.provider.faults.clear()

    def death(self) -> None:
        self.say("a worker that is killed")
        with self.client() as client:
            ids = _ids(_added(client, 100))
            self.provider.latency_ms = 400
            before = len(self.provider.requests)
            job = client.batch_update({"memory_id": each, "text": f"after {each}"} for each in ids)
            until(lambda: len(self.provider.requests) > before, "no worker asks for vectors")
            os.kill(self.stack["pids"]["worker"], signal.SIGKILL)
            self.provider.latency_ms = 20
            job.wait(LONG_PATIENCE)

    def full_redis(self) -> None:
        self.say("a Redis without room")
        with redis.Redis.from_url(self.stack["redis_url"]) as server:
            used = server.info("memory")["used_memory"]
            server.config_set("maxmemory", used)
            self.seen("emendo_memory_full > 0")
            server.config_set("maxmemory", 8 * used)
            self.seen("emendo_memory_full == 0")

    def seen(self, expression: str) -> None:
        """Waits until Prometheus has seen it."""
        until(lambda: self.prometheus.at(expression), f"never seen: {expression}", LONG_PATIENCE)


def _added(client: MemoryClient, number: int) -> list[Job]:
    return [client.add(f"fact {n} of many", user_id=f"user-{n % 5}", infer=False) for n in range(number)]


def _ids(jobs: list[Job]) -> list[str]:
    return [job.wait(LONG_PATIENCE).results[0].memory_id for job in jobs]


def _no_such_memory(fact: str, memories: dict[int, str]) -> list[dict[str, Any]] | None:
    """An unusable answer: it updates a memory that it was not shown."""
    if not fact.startswith("Nobody"):
        return None
    return [{"memory": 99, "old_text": "x", "event": "UPDATE", "text": fact, "reason": "because"}]
