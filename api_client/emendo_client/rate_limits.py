"""A provider's rate limits, as one answer reports them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Allowance:
    """One limit, in requests or in tokens; None where the provider does not say.

    Attributes:
        limit: how many a minute.
        remaining: how many of them are left now.
        reset: seconds until all of them are available again.
    """

    limit: int | None = None
    remaining: int | None = None
    reset: float | None = None


@dataclass(frozen=True, slots=True)
class RateLimitState:
    """The limits in one answer's headers; every value is None when the headers hold none."""

    requests: Allowance = Allowance()
    tokens: Allowance = Allowance()

    @property
    def exhausted_for(self) -> float | None:
        """Seconds until every used-up limit is available again; None if none is used up or no reset time is known."""
        resets = [a.reset for a in (self.requests, self.tokens) if a.remaining == 0 and a.reset is not None]
        return max(resets, default=None)
