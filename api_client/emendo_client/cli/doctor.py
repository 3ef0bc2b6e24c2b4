"""`emendo doctor`: what is configured, what answers, what is wrong and how to mend it."""

from __future__ import annotations

import difflib
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import click
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError

from emendo_client.audit import Audit
from emendo_client.cli import FAILED
from emendo_client.cli.deep import look_deep, print_audit
from emendo_client.cli.output import json_option, print_json, print_table
from emendo_client.embeddings import create_embedder
from emendo_client.errors import EmendoError
from emendo_client.health import CircuitBreaker, check
from emendo_client.steps import plane
from emendo_config import ConfigurationError, Keys, Settings
from emendo_config.index import find_active, indexed_space
from emendo_config.redis_io import connect
from emendo_config.registry import find_space, registered_spaces
from emendo_config.settings import redact_url

# Variables of ours that are no settings.
_KNOWN_OTHERS = frozenset({"EMENDO_VERSION"})
DEEP_SAMPLE = 1_000
_NEEDED_BY_MEMORIES = frozenset({"settings", "redis", "search"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `mend` says what to do about a warning or failure."""

    check: str
    state: Literal["ok", "warn", "fail"]
    found: str
    mend: str = ""


@click.command()
@click.option("--deep", is_flag=True, help="Diagnose memories, too: of all projects, as emendo diagnose does.")
@click.option(
    "--sample",
    type=click.IntRange(min=1),
    help=f"With --deep: so many memories, drawn by lot.  [default: {DEEP_SAMPLE}]",
)
@click.option("--all", "everything", is_flag=True, help="With --deep: every memory.")
@json_option
def doctor(deep: bool, sample: int | None, everything: bool, as_json: bool) -> int:
    """Look at settings, Redis, index, broker, workers and backlog; with --deep also at the memories."""
    if (sample is not None or everything) and not deep:
        raise click.UsageError("--sample and --all go with --deep")
    if sample is not None and everything:
        raise click.UsageError("give --sample or --all, not both")
    findings = list(examine())
    audit: Audit | None = None
    if deep:
        finding, audit = _memories(findings, None if everything else sample or DEEP_SAMPLE, quiet=as_json)
        findings.append(finding)
    if as_json:
        plain = [asdict(finding) for finding in findings]
        print_json({"findings": plain, "memories": audit and audit.model_dump(mode="json")} if deep else plain)
    else:
        print_table(
            "emendo doctor",
            ("check", "state", "found", "mend"),
            ((f.check, f.state, f.found, f.mend) for f in findings),
        )
        if audit is not None:
            print_audit(audit)
    return FAILED if any(finding.state == "fail" for finding in findings) else 0


def examine() -> Iterator[Finding]:
    """All findings, in the order things depend on one another."""
    yield from _unknown_variables()
    try:
        settings = Settings()
    except ConfigurationError as error:
        yield Finding("settings", "fail", error.message, error.suggestion or "")
        return
    yield Finding("settings", "ok", "valid")
    yield _embedder(settings)
    yield _embedded_server()
    connection = connect(settings.redis_url, settings)
    try:
        yield from _data_redis(connection, settings)
    except AuthenticationError:
        found = f"{redact_url(settings.redis_url)} refuses the user or password"
        yield Finding("redis", "fail", found, "correct them in EMENDO_REDIS_URL")
        return
    except RedisError as error:
        yield Finding(
            "redis",
            "fail",
            f"{redact_url(settings.redis_url)} does not answer ({type(error).__name__})",
            "start it (emendo up, or docker compose up redis) or set EMENDO_REDIS_URL",
        )
        return
    finally:
        connection.close()
    yield from _backlog(settings)
    yield _broker(settings)


def _memories(findings: list[Finding], sample: int | None, *, quiet: bool) -> tuple[Finding, Audit | None]:
    """What the memories themselves say, when they can be looked at."""
    if any(finding.state == "fail" and finding.check in _NEEDED_BY_MEMORIES for finding in findings):
        return Finding("memories", "fail", "not looked at", "mend the above first"), None
    try:
        audit = look_deep(Settings(), sample, quiet=quiet)
    except EmendoError as error:
        return Finding("memories", "fail", error.message, error.suggestion or ""), None
    found = f"{audit.looked_at:,} looked at, {audit.wrong:,} damaged"
    mend = "docs/how-to/diagnose.md says how to mend each kind" if audit.wrong else ""
    return Finding("memories", "fail" if audit.wrong else "ok", found, mend), audit


def _unknown_variables() -> Iterator[Finding]:
    known = {f"EMENDO_{name.upper()}" for name in Settings.model_fields} | _KNOWN_OTHERS
    for name in sorted(os.environ):
        if name.startswith("EMENDO_") and name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else "docs/reference/settings.md lists them all"
            yield Finding("environment", "warn", f"{name} is no setting", hint)


def _embedder(settings: Settings) -> Finding:
    space = settings.space
    described = f"{space.provider}: {space.model}, {space.dimensions} dimensions"
    if space.provider == "openai":
        described += f", {redact_url(settings.embedding_base_url) if settings.embedding_base_url else 'OpenAI itself'}"
        described += f", {_key_origin(settings)}"
    try:
        embedder = create_embedder(settings)
        embedder.prepare()  # no provider is asked, which might cost money
    except ConfigurationError as error:
        return Finding("embedder", "fail", error.message, error.suggestion or "")
    embedder.close()
    return Finding("embedder", "ok", described)


def _key_origin(settings: Settings) -> str:
    if not settings.embedding_api_key.get_secret_value():
        return "no key"
    own = os.environ.get("EMENDO_EMBEDDING_API_KEY")
    return f"key from {'EMENDO_EMBEDDING_API_KEY' if own else 'OPENAI_API_KEY'}"


def _embedded_server() -> Finding:
    from emendo_client.local.embedded_redis import find_server

    try:
        return Finding("embedded redis", "ok", find_server().origin)
    except ConfigurationError as error:
        # Only `emendo up` and `emendo redis` need one; a machine with an EMENDO_REDIS_URL is well without.
        return Finding("embedded redis", "warn", error.message, error.suggestion or "")


def _data_redis(connection: Redis, settings: Settings) -> Iterator[Finding]:
    info: Any = connection.info()
    yield Finding("redis", "ok", f"{redact_url(settings.redis_url)}, version {info['redis_version']}")
    try:
        connection.execute_command("FT._LIST")
    except RedisError:
        yield Finding("search", "fail", "the server has no search module", "use Redis 8, or emendo redis")
        return
    yield Finding("search", "ok", "the search module answers")
    yield from _spaces(connection, settings)
    yield from _durability(connection, info)


def _spaces(connection: Redis, settings: Settings) -> Iterator[Finding]:
    """Which embedding space is searched, which others there are, and whether the settings name one of them."""
    keys, wanted = Keys(settings.key_prefix), settings.space
    indexed = indexed_space(connection, keys)
    if indexed is None:
        yield Finding("index", "warn", "there is none yet", "start a worker: it makes the index")
        return
    registry: Any = connection.hgetall(keys.spaces)
    try:
        records = registered_spaces(registry, settings)
        active = find_active(indexed, records)
    except ConfigurationError as error:
        yield Finding("index", "fail", error.message, error.suggestion or "")
        return
    described = f"{active.name}, {active.space.dimensions} dimensions"
    named = find_space(records, wanted)
    if named is None:
        mend = "set the embedding settings back; emendo reembed changes the model"
        yield Finding("index", "fail", f"holds {active.name}, settings ask for {wanted.name}", mend)
    elif find_space([active], wanted) is None:
        mend = f"set EMENDO_EMBEDDING_MODEL={active.space.model} and EMENDO_EMBEDDING_DIMENSIONS to the active space's"
        yield Finding("index", "warn", f"{described}; the settings name {named.name}", mend)
    else:
        yield Finding("index", "ok", described)
    if len(records) > 1:
        listed = ", ".join(f"{record.name} ({record.state})" for record in records)
        yield Finding("spaces", "ok", listed)


def _durability(connection: Redis, info: dict[str, Any]) -> Iterator[Finding]:
    appends = bool(info.get("aof_enabled"))
    yield Finding(
        "persistence",
        "ok" if appends else "warn",
        "append-only file on" if appends else "append-only file off",
        "" if appends else "set appendonly yes: without it a restart loses accepted jobs",
    )
    try:
        policy = str(connection.config_get("maxmemory-policy").get("maxmemory-policy"))
    except RedisError:
        yield Finding("eviction", "warn", "the server does not say", "make sure it is noeviction")
        return
    kept = policy == "noeviction"
    yield Finding(
        "eviction",
        "ok" if kept else "fail",
        policy,
        "" if kept else "set maxmemory-policy noeviction: anything else drops memories and jobs",
    )


def _backlog(settings: Settings) -> Iterator[Finding]:
    connections = {
        "data": connect(settings.redis_url, settings),
        "control": connect(settings.control_url, settings),
    }
    try:
        keys = Keys(settings.key_prefix)
        found = check({name: plane(connection) for name, connection in connections.items()}, keys)
        pace = _pace_fields(connections["control"], keys) if found.redis else []
    finally:
        for connection in connections.values():
            connection.close()
    if not found.redis:  # the data Redis has answered before this
        yield Finding("jobs", "fail", f"the control Redis: {found.problem}", "start it, or set EMENDO_CONTROL_URL")
        return
    mend = "" if found.workers else "start one: emendo worker; until then jobs are accepted and wait"
    yield Finding("workers", "ok" if found.workers else "warn", f"{found.workers} alive", mend)
    stuck = bool(found.workers) and found.overdue_seconds > _OVERDUE
    yield Finding(
        "backlog",
        "warn" if stuck else "ok",
        f"{found.queued} in the inboxes, the oldest for {max(found.oldest_job_seconds.values()):.0f} s; "
        f"{found.delayed} waiting for another attempt",
        f"no worker has brought one back for {found.overdue_seconds:.0f} s: start them anew" if stuck else "",
    )
    for provider, breaker in found.circuit_breakers.items():
        yield _circuit_breaker(provider, breaker)
    yield _pace(settings, *pace)
    look = "emendo dead lists them; emendo dead replay --all tries them again" if found.dead else ""
    yield Finding("dead letters", "warn" if found.dead else "ok", str(found.dead), look)


# Seconds after which a delayed job that is due should long be back; workers look every second.
_OVERDUE = 60.0
# The embedding provider whose pace workers keep, whatever the settings here name.
_PACED = "openai"


def _circuit_breaker(provider: str, breaker: CircuitBreaker) -> Finding:
    if breaker.state == "closed":
        return Finding("circuit breaker", "ok", f"{provider}: closed")
    left = f", {breaker.seconds_left:.0f} s left" if breaker.state == "open" else ": one call probes"
    return Finding(
        "circuit breaker",
        "warn",
        f"{provider}: {breaker.state.replace('_', ' ')}{left}",
        "the provider has been failing; jobs wait and spend no attempts",
    )


def _pace_fields(control: Redis, keys: Keys) -> list[float]:
    fields: Any = control.hmget(keys.pace(_PACED), "limit_requests", "limit_tokens", "paused")
    return [float(value or 0) for value in fields]


def _pace(settings: Settings, told_requests: float, told_tokens: float, paused: float) -> Finding:
    """What the workers keep to: for each limit the lower of the setting and what the provider told of."""
    limits = []
    for what, told, setting in (
        ("requests", told_requests, settings.embedding_requests_per_minute or 0),
        ("tokens", told_tokens, settings.embedding_tokens_per_minute or 0),
    ):
        if setting and (not told or setting <= told):
            limits.append(f"{setting:,} {what} a minute (set)")
        elif told:
            limits.append(f"{told:,.0f} {what} a minute (the provider's)")
    described = ", ".join(limits) or "no limit, neither set nor told of by the provider"
    left = paused / 1000 - time.time()
    if left <= 0:
        return Finding("pace", "ok", described)
    hint = "the provider asked to slow down; jobs wait and spend no attempts"
    return Finding("pace", "warn", f"{described}; all workers pause for another {left:.0f} s", hint)


def _broker(settings: Settings) -> Finding:
    from emendo_config.celery_app import create_app

    app = create_app(settings)
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=int(settings.broker_timeout) or 1)
    except Exception as error:  # noqa: BLE001  # kombu raises KeyError, ValueError and what its transports raise
        return Finding(
            "broker", "fail", f"{redact_url(settings.broker_url)}: {type(error).__name__}", "set EMENDO_BROKER_URL"
        )
    return Finding("broker", "ok", redact_url(settings.broker_url))
