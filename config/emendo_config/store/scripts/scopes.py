"""Scripts about scopes: the locks under which one worker at a time infers, and what one job may lose in each."""

from __future__ import annotations

from typing import NamedTuple

from emendo_config.store.scripts.declaration import Key, KeyList, Number, Rows, script


class BroaderScope(NamedTuple):
    """The keys of a broader scope: its lock, the locks of narrower scopes, and the mark that it waits for them."""

    broader_lock: Key
    broader_inner: Key
    broader_wanted: Key


@script(reply=bool)
def take_scope(
    *, lock: Key, inner: Key, wanted: Key, token: str, ttl_ms: int, listed_ms: int, broader: Rows[BroaderScope]
) -> None:
    """True when the scope's lock is the token's now.

    Args:
        lock, inner, wanted: the scope's.
        token: the worker's.
        ttl_ms: milliseconds that the lock lasts unless it is renewed.
        listed_ms: milliseconds that no lock outlasts.
        broader: of all broader scopes.
    """


@script(reply=bool)
def release_scope(*, lock: Key, token: str, broader: KeyList) -> None:
    """True when the scope's lock was the token's.

    Args:
        lock, token: as for `take_scope`.
        broader: for each broader scope the set of locks of narrower ones.
    """


@script(reply=int, shared=("account",), at_limit=True)
def reserve_losses(*, record: Key, job: Key, field: str, wanted: Number, most: Number) -> None:
    """How many changes that lose content the chunk may make.

    Args:
        record, job: of the chunk and of its batch job.
        field: of the job's record, with the sum for one scope.
        wanted: by the chunk's whole plan.
        most: by all chunks of the job together.
    """
