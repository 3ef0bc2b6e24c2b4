"""The control Redis: workers, backlog, dead letters, and the state of each provider."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from emendo_client.exchanges.health import Health, Memory, check
from emendo_client.times import iso
from emendo_config import Keys, Settings
from emendo_config.store.connections import connect
from emendo_config.store.pipeline import as_text
from emendo_config.store.scripts import sender_for
from emendo_config.urls import redact_url
from emendo_ops.doctor.data_redis import check_version
from emendo_ops.doctor.finding import Finding
from emendo_ops.doctor.providers import check_circuit_breaker, check_rate_limits, known_rate_limits

# Seconds after which a delayed job that is due should be back in its inbox; workers look every second.
_OVERDUE = 60.0
# Seconds that submission times may be ahead: a batch takes one microsecond for each of its items.
_AHEAD = 5.0
# Seconds without housekeeping that are too many; beat starts it every minute.
_UNKEPT = 300.0


def check_jobs(settings: Settings) -> Iterator[Finding]:
    """Yields findings on workers, backlog, providers and dead letters; one failure if the Redis does not answer."""
    connections = {
        "data": connect(settings.redis_url, settings),
        "control": connect(settings.control_url, settings),
    }
    try:
        keys = Keys(settings.key_prefix)
        found = check({name: sender_for(connection) for name, connection in connections.items()}, keys)
        limits = known_rate_limits(connections["control"], keys) if found.redis else []
        info: Any = connections["control"].info("server") if found.redis else {}
        marks: Any = connections["control"].hgetall(keys.housekeeping) if found.redis else {}
    finally:
        for connection in connections.values():
            connection.close()
    if not found.redis:  # the data Redis has answered already, so it is the control Redis
        yield Finding("jobs", "fail", f"the control Redis: {found.problem}", "start it, or set EMENDO_CONTROL_URL")
        return
    version = check_version(redact_url(settings.control_url), info)
    if version.state == "fail":
        yield version
    mend = "" if found.workers else "start one: emendo worker; until then jobs are accepted and wait"
    yield Finding("workers", "ok" if found.workers else "warn", f"{found.workers} alive", mend)
    for worker, fault in found.worker_faults.items():
        claims = f"claims nothing of {', '.join(fault.queues)}" if fault.queues else "waits with some jobs"
        described = f"{worker} {claims}: {fault.message} ({fault.code})"
        yield Finding("worker", "fail", described, fault.suggestion or "mend it; the worker looks again by itself")
    for plane, memory in found.memory.items():
        yield _memory(plane, memory, is_full=found.full)
    stuck = bool(found.workers) and found.overdue_seconds > _OVERDUE
    yield Finding(
        "backlog",
        "warn" if stuck else "ok",
        f"{found.queued} in the inboxes, the oldest for {max(found.oldest_job_seconds.values()):.0f} s; "
        f"{found.delayed} waiting for another attempt",
        f"no worker has brought one back for {found.overdue_seconds:.0f} s: restart the workers" if stuck else "",
    )
    yield _housekeeping(found)
    yield _clock(found)
    yield from _rewrites({as_text(name): at for name, at in marks.items()})
    for provider, breaker in found.circuit_breakers.items():
        yield check_circuit_breaker(provider, breaker)
    yield check_rate_limits(settings, *limits)
    look = "emendo dead lists them; emendo dead replay --all tries them again" if found.dead else ""
    yield Finding("dead letters", "warn" if found.dead else "ok", str(found.dead), look)


def _memory(plane: str, memory: Memory, *, is_full: bool) -> Finding:
    """The memory of one Redis; a failure when only erasures are accepted."""
    limit = f"of {memory.limit / 1e6:,.1f} MB" if memory.limit else "without a limit"
    described = f"{plane} Redis: {memory.used / 1e6:,.1f} MB {limit}"
    if not is_full or not memory.limit:
        return Finding("memory", "ok", described)
    remedy = "raise maxmemory, or erase memories (emendo purge); jobs that need memory wait and go on by themselves"
    return Finding("memory", "fail", f"{described}; only erasures are accepted", remedy)


def _rewrites(marks: dict[str, Any]) -> Iterator[Finding]:
    """When the append-only files were last rewritten after an erasure; nothing while nothing was erased."""
    erased = int(marks.get("erased", 0))
    if not erased:
        return
    rewritten = min((int(at) for name, at in marks.items() if name.startswith("rewrite:")), default=0)
    since = f"the last erasure was at {_minute(erased)}"
    if rewritten:
        since += f", and the last rewrite of the append-only file began at {_minute(rewritten)}"
    remedy = "an append-only file holds the text until housekeeping has it rewritten" if rewritten < erased else ""
    yield Finding("erased text", "ok", since, remedy)


def _minute(milliseconds: int) -> str:
    return f"{iso(milliseconds * 1_000)[:16]} UTC"


def _housekeeping(health: Health) -> Finding:
    """A warning if housekeeping has not ended for some minutes: then expired memories and old lists stay."""
    ago = health.housekeeping_seconds
    if ago is not None and ago <= _UNKEPT:
        return Finding("housekeeping", "ok", f"ended {ago:.0f} s ago")
    found = "never ended" if ago is None else f"last ended {ago:.0f} s ago"
    return Finding("housekeeping", "warn", found, "see whether beat runs (emendo beat), and a worker for maintenance")


def _clock(health: Health) -> Finding:
    """A warning if submission times are ahead, because the clock of Redis was."""
    ahead = health.clock_ahead_seconds
    if ahead <= _AHEAD:
        return Finding("clock", "ok", "submission times agree with Redis' clock")
    mend = "Redis' clock was set back; order is kept, and times of memories stay right. Nothing is to be done"
    return Finding("clock", "warn", f"submission times are {ahead:.0f} s ahead of Redis' clock", mend)
