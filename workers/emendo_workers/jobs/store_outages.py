"""Outages of the store: which errors are one, and the error that the jobs under way get."""

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
from emendo_client.exchanges.redis_errors import is_busy, translate
from emendo_config.error_codes import ErrorCode
from emendo_config.store.refusals import is_refused

# Redis answers but takes no writes: it is a replica, full, without a cluster, a disk, or its replicas.
_NO_WRITES = ("MISCONF", "NOREPLICAS")
_NO_USE_NOW = (OutOfMemoryError, ReadOnlyError, MasterDownError, ClusterDownError)


def is_away(error: Exception) -> bool:
    """True when the store cannot be reached, is busy, takes no writes or refuses this worker's user.

    So every job would fail the same way.
    """
    if isinstance(error, ResponseError):
        if is_refused(error):
            return True
        return is_busy(error) or isinstance(error, _NO_USE_NOW) or str(error).startswith(_NO_WRITES)
    return isinstance(error, RedisError) and not isinstance(error, DataError)  # a DataError is a defect of ours


def failure_of(error: Exception) -> EmendoError:
    """The error that stopped an attempt, as one of Emendo's."""
    if isinstance(error, EmendoError):
        return error
    if not isinstance(error, RedisError):  # most likely a defect of ours
        return EmendoError(f"unexpected {type(error).__name__}", error_code=ErrorCode.UNEXPECTED)
    known = translate(error)
    if not is_away(error) or isinstance(error, OutOfMemoryError) or is_refused(error):
        return known
    return NetworkError(
        f"the store cannot be used just now ({type(error).__name__})",
        error_code=ErrorCode.STORE_AWAY,
        suggestion="the job waits and spends no attempts; emendo doctor shows what answers",
    )
