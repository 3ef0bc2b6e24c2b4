"""Faults a provider can have, on demand."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

Kind = Literal[
    "rate_limit",  # 429, Retry-After in seconds
    "rate_limit_date",  # 429, Retry-After as an HTTP-date
    "rate_limit_ms",  # 429, retry-after-ms
    "quota",  # 429, code insufficient_quota
    "server_error",  # 500
    "bad_gateway",  # 502
    "unavailable",  # 503
    "request_timeout",  # 408
    "bad_request",  # 400
    "unauthorized",  # 401
    "timeout",  # no answer until the client gives up
    "reset",  # the connection is torn down
    "malformed_json",  # 200, and a body that is not JSON
    "truncated",  # 200, and a body that ends too early
    "wrong_dimension",  # vectors one element too long
    "missing_item",  # one vector too few
    "nan",  # a vector with an element that is not a number
]
KINDS: tuple[str, ...] = get_args(Kind)
_OF_VECTORS = frozenset({"wrong_dimension", "missing_item", "nan"})
_ENDPOINTS = ("embeddings", "chat", "*")


@dataclass(slots=True)
class Fault:
    """One kind of fault and when it strikes.

    Attributes:
        kind: see `Kind`.
        times: how many requests it strikes, then it is over; None with a `rate`.
        rate: the share of requests it strikes, 0 to 1, by the server's seeded random numbers.
        retry_after: seconds, for the 429 kinds; how long `timeout` keeps silent at most.
        endpoint: `embeddings`, `chat` or `*`.
        match: strikes only requests with an input that contains this.

    Raises:
        ValueError: an unknown kind or endpoint, a rate that is no share, or fewer than one time.
    """

    kind: Kind
    times: int | None = 1
    rate: float | None = None
    retry_after: float = 1.0
    endpoint: str = "*"
    match: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown fault {self.kind!r}; use one of {', '.join(KINDS)}")
        if self.endpoint not in _ENDPOINTS:
            raise ValueError(f"unknown endpoint {self.endpoint!r}; use one of {', '.join(_ENDPOINTS)}")
        if self.rate is not None:
            if not 0 <= self.rate <= 1:
                raise ValueError(f"rate must be between 0 and 1, not {self.rate}")
            self.times = None
        elif self.times is None or self.times < 1:
            raise ValueError(f"times must be 1 or more without a rate, not {self.times}")

    def concerns(self, endpoint: str, inputs: list[str]) -> bool:
        """True when the fault may strike this request."""
        if self.endpoint not in ("*", endpoint):
            return False
        if self.kind in _OF_VECTORS and endpoint != "embeddings":
            return False
        return not self.match or any(self.match in text for text in inputs)


@dataclass(slots=True)
class Faults:
    """The faults a server has; thread-safe."""

    seed: int = 0
    _faults: list[Fault] = field(default_factory=list)
    _lock: Any = field(default_factory=threading.Lock)
    _random: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._random = random.Random(self.seed)  # noqa: S311  # repeatable on purpose

    def add(self, *faults: Fault) -> None:
        """Adds faults, after those there are."""
        with self._lock:
            self._faults.extend(faults)

    def clear(self) -> None:
        """Ends all faults."""
        with self._lock:
            self._faults.clear()
            self._random.seed(self.seed)

    def strike(self, endpoint: str, inputs: list[str]) -> Fault | None:
        """The fault that strikes this request, if any; counts it."""
        with self._lock:
            for fault in self._faults:
                if not fault.concerns(endpoint, inputs):
                    continue
                if fault.rate is not None:
                    if self._random.random() < fault.rate:
                        return fault
                elif fault.times:
                    fault.times -= 1
                    return fault
            return None
