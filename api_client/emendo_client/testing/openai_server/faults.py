"""A provider's faults, on demand."""

from __future__ import annotations

import dataclasses
import random
import threading
from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from pydantic import ConfigDict

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
    "timeout",  # no answer; the connection stays open until the client gives up
    "reset",  # the connection is torn down
    "malformed_json",  # 200, and a body that is not JSON
    "hidden_error",  # 200, and in the body the error of a provider behind it: code 502
    "truncated",  # 200, and a body that ends before its announced length
    "wrong_dimension",  # vectors one element too long
    "missing_item",  # one vector too few
    "nan",  # a vector with an element that is not a number
    "infinite",  # a vector with an element that is infinite
    "zero",  # a vector of zeros
    "null",  # null in place of a vector
    "empty",  # a vector without elements
    "repeated_index",  # two vectors for one text
]
KINDS: tuple[str, ...] = get_args(Kind)
_OF_VECTORS = frozenset(KINDS[KINDS.index("wrong_dimension") :])
_ENDPOINTS = ("embeddings", "chat", "*")


@dataclass(slots=True)
class Fault:
    """One kind of fault, and which requests it strikes.

    Attributes:
        kind: see `Kind`.
        times: the number of requests it strikes; None with a `rate`.
        rate: the share of requests it strikes, 0 to 1, by the server's seeded random numbers.
        retry_after: seconds, for the 429 kinds.
        endpoint: `embeddings`, `chat` or `*`.
        match: strikes only requests with an input that contains this text.
        silence: seconds after which `timeout` closes the connection if the client is still waiting.

    Raises:
        ValueError: an unknown kind or endpoint, a rate outside 0 to 1, or times below 1.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    kind: Kind
    times: int | None = 1
    rate: float | None = None
    retry_after: float = 1.0
    endpoint: str = "*"
    match: str = ""
    silence: float = 60.0

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
        """True if the fault may strike this request."""
        if self.endpoint not in ("*", endpoint):
            return False
        if self.kind in _OF_VECTORS and endpoint != "embeddings":
            return False
        return not self.match or any(self.match in text for text in inputs)


class Faults:
    """A server's faults; thread-safe.

    Args:
        seed: of the random numbers behind each `rate`.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self._random = random.Random(seed)  # noqa: S311  # repeatable on purpose

    def add(self, *faults: Fault) -> None:
        """Appends copies of the faults, so the caller's objects are not counted down and may be used again."""
        with self._lock:
            self._faults.extend(dataclasses.replace(fault) for fault in faults)

    def clear(self) -> None:
        """Removes all faults and restarts the random numbers."""
        with self._lock:
            self._faults.clear()
            self._random.seed(self._seed)

    def strike(self, endpoint: str, inputs: list[str]) -> Fault | None:
        """The first fault that strikes this request, if any. Counts it, and removes it after its last time."""
        with self._lock:
            for fault in self._faults:
                if fault.concerns(endpoint, inputs) and self._strikes(fault):
                    return fault
            return None

    def _strikes(self, fault: Fault) -> bool:
        if fault.times is None:
            return self._random.random() < (fault.rate or 0.0)
        fault.times -= 1
        if fault.times == 0:
            self._faults.remove(fault)
        return True
