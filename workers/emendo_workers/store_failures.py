"""What becomes of jobs whose attempt the store ended: nobody died, and mostly nothing is wrong with them."""

from __future__ import annotations

from redis.exceptions import (
    ClusterDownError,
    DataError,
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)

from emendo_client.errors import EmendoError, NetworkError
from emendo_client.steps import translate

# The code of a failure that says nothing of the job: it is tried again for as long as the store is away.
STORE_AWAY = "STORE_AWAY"
# Redis answers, but as one that is being replaced, is full, cannot write its file, or has lost its replicas.
_NO_WRITES = ("MISCONF", "NOREPLICAS")
_NO_USE_NOW = (OutOfMemoryError, ReadOnlyError, MasterDownError, ClusterDownError)


def is_away(error: Exception) -> bool:
    """True when the store cannot be reached or takes no writes, so that each job would fail like the first."""
    if isinstance(error, ResponseError):
        return isinstance(error, _NO_USE_NOW) or str(error).startswith(_NO_WRITES)
    return isinstance(error, RedisError) and not isinstance(error, DataError)  # one is what our own code gave it


def failure_of(error: RedisError) -> EmendoError:
    """The error in Emendo's terms."""
    known = translate(error)
    if not is_away(error):
        return known
    return NetworkError(
        f"the store cannot be used just now ({type(error).__name__})",
        error_code=STORE_AWAY,
        suggestion="the job waits and spends no attempts; emendo doctor shows what answers",
    )
