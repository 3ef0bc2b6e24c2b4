"""A provider's rate limits, read from the headers of an answer.

The names are OpenAI's (https://platform.openai.com/docs/guides/rate-limits, "Rate limits in headers"); most compatible
servers use them too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from emendo_client.rate_limits import Allowance, RateLimitState

# A larger number stands for "no limit" or is nonsense, so it is cut to this.
_MOST = 10**12
# The longest value that is read, in characters, and the longest time that a provider may ask for, in seconds.
MAX_CHARS, LONGEST_PAUSE = 64, 604_800.0
_SECONDS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ms|us|µs|ns|d|h|m|s)")
_PLAIN = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")


def read_rate_limits(headers: Mapping[str, str]) -> RateLimitState:
    """The limits in the headers; a missing or unreadable one is None."""
    return RateLimitState(_allowance(headers, "requests"), _allowance(headers, "tokens"))


def parse_duration(text: str) -> float | None:
    """Seconds: Go's form (`6m0s`, `120ms`, `1h2m3.5s`) or a plain number of seconds; None for anything else."""
    text = text.strip()
    if len(text) > MAX_CHARS:  # searching a long one for its parts takes quadratic time
        return None
    if _PLAIN.fullmatch(text):
        return min(float(text), LONGEST_PAUSE)
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    return min(sum(float(number) * _SECONDS[unit] for number, unit in parts), LONGEST_PAUSE)


def _allowance(headers: Mapping[str, str], what: str) -> Allowance:
    limit = _whole(headers.get(f"x-ratelimit-limit-{what}"))
    return Allowance(
        limit or None,  # some gateways write 0 for "no limit"; a real limit of 0 would block every request
        _whole(headers.get(f"x-ratelimit-remaining-{what}")),
        parse_duration(headers.get(f"x-ratelimit-reset-{what}", "")),
    )


def _whole(value: str | None) -> int | None:
    try:
        number = int(value or "")
    except ValueError:
        return None
    return min(max(0, number), _MOST)
