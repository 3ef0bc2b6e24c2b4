"""The providers as the workers see them: circuit breakers and rate limits."""

from __future__ import annotations

from typing import Any

from redis import Redis

from emendo_client.exchanges.health import CircuitBreaker
from emendo_config import Keys, Settings
from emendo_config.store.clock import seconds_of
from emendo_ops.doctor.finding import Finding

# The embedding provider that workers rate-limit, whatever the settings here name.
_LIMITED_PROVIDER = "openai"


def check_circuit_breaker(provider: str, breaker: CircuitBreaker) -> Finding:
    """A warning unless the breaker is closed."""
    if breaker.state == "closed":
        return Finding("circuit breaker", "ok", f"{provider}: closed")
    left = f", {breaker.seconds_left:.0f} s left" if breaker.state == "open" else ": one call probes"
    return Finding(
        "circuit breaker",
        "warn",
        f"{provider}: {breaker.state.replace('_', ' ')}{left}",
        "the provider has been failing; jobs wait and spend no attempts",
    )


def known_rate_limits(control: Redis, keys: Keys) -> list[float]:
    """Requests and tokens a minute that the provider announced, and for how long (ms) workers pause; 0 if unknown."""
    fields: Any = control.hmget(keys.rate_limit(_LIMITED_PROVIDER), "limit_requests", "limit_tokens", "paused")
    requests, tokens, paused = (float(value or 0) for value in fields)
    now: Any = control.time()
    return [requests, tokens, max(0.0, paused - seconds_of(now) * 1000)]


def check_rate_limits(settings: Settings, known_requests: float, known_tokens: float, paused: float) -> Finding:
    """The limits that workers keep: of the setting and the provider's own, the lower one. A pause is a warning.

    Args:
        paused: milliseconds that are left of it.
    """
    limits = []
    for unit, known, setting in (
        ("requests", known_requests, settings.embedding_requests_per_minute or 0),
        ("tokens", known_tokens, settings.embedding_tokens_per_minute or 0),
    ):
        if setting and (not known or setting <= known):
            limits.append(f"{setting:,} {unit} a minute (set)")
        elif known:
            limits.append(f"{known:,.0f} {unit} a minute (the provider's)")
    described = ", ".join(limits) or "no limit, neither set nor told of by the provider"
    left = paused / 1000
    if left <= 0:
        return Finding("pace", "ok", described)
    hint = "the provider asked to slow down; jobs wait and spend no attempts"
    return Finding("pace", "warn", f"{described}; all workers pause for another {left:.0f} s", hint)
