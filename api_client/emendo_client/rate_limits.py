"""What a provider says of its rate limits, read from an answer's headers.

OpenAI's names (https://platform.openai.com/docs/guides/rate-limits, "Rate limits in headers"), which most
compatible servers use too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

# A number beyond this stands for "no limit" (or for nonsense) and only makes arithmetic harder.
_MOST = 10**12
_SECONDS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ms|us|µs|ns|d|h|m|s)")
_PLAIN = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")


@dataclass(frozen=True, slots=True)
class Allowance:
    """One limit, in requests or in tokens; None where the provider does not say.

    Attributes:
        limit: how many a minute.
        remaining: how many of them are left just now.
        reset: seconds until all of them are there again.
    """

    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None


@dataclass(frozen=True, slots=True)
class RateLimitState:
    """What one answer's headers say; everything is None when they say nothing."""

    requests: Allowance = Allowance()
    tokens: Allowance = Allowance()

    @property
    def exhausted_for(self) -> float | None:
        """Seconds until everything that is used up is there again; None when nothing is, or its end is not said."""
        resets = [a.reset for a in (self.requests, self.tokens) if a.remaining == 0 and a.reset is not None]
        return max(resets, default=None)


def read_rate_limits(headers: Mapping[str, str]) -> RateLimitState:
    """The state the headers tell of; what is absent or cannot be read is None."""
    return RateLimitState(_allowance(headers, "requests"), _allowance(headers, "tokens"))


def parse_duration(text: str) -> float | None:
    """Seconds: Go's form (`6m0s`, `120ms`, `1h2m3.5s`) or a plain number of seconds; None for anything else."""
    text = text.strip()
    if _PLAIN.fullmatch(text):
        return float(text)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def _allowance(headers: Mapping[str, str], what: str) -> Allowance:
    limit = _whole(headers.get(f"x-ratelimit-limit-{what}"))
    return Allowance(
        limit or None,  # some gateways write 0 for "none"; a limit of none at all would let nothing through, ever
        _whole(headers.get(f"x-ratelimit-remaining-{what}")),
        parse_duration(headers.get(f"x-ratelimit-reset-{what}", "")),
    )


def _whole(value: str | None) -> int | None:
    try:
        number = int(value or "")
    except ValueError:
        return None
    return min(max(0, number), _MOST)
