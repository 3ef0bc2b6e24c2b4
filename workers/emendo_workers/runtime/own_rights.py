"""The rights that this worker's users of Redis lack, as a probe for the fault of a refused command."""

from __future__ import annotations

import time

from redis.exceptions import RedisError

from emendo_client.errors import EmendoError
from emendo_config.redis_users import Names, Plane, Rights, missing_rights, rights_of
from emendo_workers.store import Store

# Seconds after which a worker tries again although nothing is known to have changed.
_TRY_AGAIN = 60.0
# Missing rules that a message names.
_MOST_NAMED = 8


class OwnRights:
    """The rights that were missing when it was made, and whether they still are."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._since = time.monotonic()
        self._missing = self._look()

    def explained(self, error: EmendoError) -> EmendoError:
        """The refusal, with the rules that the user lacks."""
        if not self._missing:
            return error
        named = ", ".join(self._missing[:_MOST_NAMED]) + (", …" if len(self._missing) > _MOST_NAMED else "")
        return type(error)(
            f"{error.message}; it lacks {named}", error.error_code, error.details, error.suggestion, error.debug_info
        )

    def have_changed(self) -> bool:
        """True when it is worth while to try again."""
        is_late = time.monotonic() - self._since >= _TRY_AGAIN
        return is_late or not self._missing or self._look() != self._missing

    def _look(self) -> list[str]:
        """The missing rules of both planes; none when they cannot be found out."""
        store, settings = self._store, self._store.settings
        names = Names.of(settings.key_prefix)

        def wanted(planes: tuple[Plane, ...]) -> Rights:
            # The worker's one pattern stands for all keys; an ACL of one's own may leave out some of them.
            known = rights_of("operator", names, planes)
            return rights_of("worker", names, planes) | Rights(writes=(*known.writes, *known.reads))

        planes: list[tuple[object, tuple[Plane, ...]]] = [(store.data, ("data",)), (store.control, ("control",))]
        if store.data is store.control:
            planes = [(store.data, ("data", "control"))]
        try:
            found = [missing_rights(connection, wanted(each)) for connection, each in planes]  # type: ignore[arg-type]
        except RedisError:
            return []
        return [rule for missing in found for rule in missing or []]
