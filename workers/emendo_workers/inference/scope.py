"""The scope of an add: one worker at a time infers in it."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from emendo_client.records.derived_fields import text_hash
from emendo_client.requests.operations import scope_name
from emendo_config.json_codec import read_json
from emendo_config.store import scripts
from emendo_workers.jobs.operations import Scoped
from emendo_workers.services import Services


def scope_of(operation: Scoped) -> str:
    """The name of the operation's scope."""
    return scope_name(operation.project, operation.user_id, operation.agent_id, operation.run_id)


@contextmanager
def locked(services: Services, scopes: Sequence[str]) -> Iterator[set[str]]:
    """Locks the scopes in which nobody else infers, nor in a broader or narrower one; yields their names.

    Scopes that are given here exclude each other in the same way. Like a memory's lock it only saves work. If a worker
    stands still for longer than its lease, two may infer in one scope, and a fact that both add exists twice.
    """
    token = secrets.token_hex(16)
    wanted = {scope: _Locks(services, scope) for scope in dict.fromkeys(scopes)}
    taken = scripts.run(services.data, [locks.take(services, token) for locks in wanted.values()])
    held = {scope: locks for (scope, locks), is_ours in zip(wanted.items(), taken, strict=True) if is_ours}
    with services.leases.renewing([locks.lock for locks in held.values()], token):
        try:
            yield set(held)
        finally:
            scripts.run(services.data, [locks.release(token) for locks in held.values()])


class _Locks:
    """The keys of a scope's lock, and those of its broader scopes."""

    def __init__(self, services: Services, scope: str) -> None:
        self.lock, self._inner, self._wanted = _keys(services, scope)
        self._broader = [_keys(services, each) for each in broader_scopes(scope)]

    def take(self, services: Services, token: str) -> scripts.Command:
        """The command that takes the lock."""
        listed_ms = services.settings.task_time_limit * 1_000 + services.lease_ms
        return scripts.take_scope(
            lock=self.lock,
            inner=self._inner,
            wanted=self._wanted,
            token=token,
            ttl_ms=services.lease_ms,
            listed_ms=listed_ms,
            broader=self._broader,
        )

    def release(self, token: str) -> scripts.Command:
        """The command that gives it back."""
        return scripts.release_scope(
            lock=self.lock, token=token, broader=[each.broader_inner for each in self._broader]
        )


def broader_scopes(scope: str) -> list[str]:
    """The names of the scopes that know this one's memories where scopes are shared: those with fewer of its ids."""
    project, *ids = read_json(scope)
    given = [place for place, value in enumerate(ids) if value]
    subsets = (each for count in range(1, len(given)) for each in itertools.combinations(given, count))
    return [
        scope_name(project, *(value if place in kept else None for place, value in enumerate(ids))) for kept in subsets
    ]


def _keys(services: Services, scope: str) -> scripts.BroaderScope:
    keys, digest = services.keys, text_hash(scope)
    return scripts.BroaderScope(keys.scope_lock(digest), keys.scope_inner(digest), keys.scope_wanted(digest))
