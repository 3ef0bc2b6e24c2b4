"""The metrics of one request to a provider."""

from __future__ import annotations

from collections.abc import Mapping

from emendo_client.errors import EmendoError
from emendo_config import metric_families as metrics
from emendo_workers.tally import Tally

# Kinds of requests, as labels.
EMBEDDING_REQUEST, CHAT_REQUEST = "embedding", "chat"


def note_request(
    tally: Tally,
    kind: str,
    seconds: float,
    tokens: Mapping[str, int] | None = None,
    *,
    error: EmendoError | None = None,
    texts: int = 0,
) -> None:
    """Counts a request.

    Args:
        tally: the process's.
        kind: EMBEDDING_REQUEST or CHAT_REQUEST.
        seconds: until the answer, or the error.
        tokens: as the provider counted them, by kind.
        error: of a request that failed.
        texts: that were to be embedded.
    """
    counts: dict[str, int] = {}
    metrics.count(counts, metrics.PROVIDER_REQUESTS, kind)
    metrics.observe(counts, metrics.PROVIDER_SECONDS, [(seconds, 1)], kind)
    for name, number in (tokens or {}).items():
        if number:
            metrics.count(counts, metrics.PROVIDER_TOKENS, name, by=number)
    if error is not None:
        metrics.count(counts, metrics.PROVIDER_ERRORS, kind, metrics.known_code(str(error.error_code)))
    if texts:
        metrics.observe(counts, metrics.REQUEST_TEXTS, [(texts, 1)])
    tally.add(counts)
