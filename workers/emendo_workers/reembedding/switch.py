"""Moves the alias that every search uses from one space's index to another's."""

from __future__ import annotations

from emendo_client.exchanges.reembedding.models import MigrationPhase
from emendo_client.models import Event
from emendo_workers.reembedding.migration import Migration
from emendo_workers.store import Store


def switch(migration: Migration) -> None:
    """Verifying → switched: searches use the new space."""
    target = migration.target
    point_alias(migration.store, target.name)
    migration.advance(
        {"phase": MigrationPhase.SWITCHED, "switched_at": f"{migration.store.control_time():.6f}"},
        feed_entry=feed_entry(migration, target.name),
    )


def point_alias(store: Store, space: str) -> None:
    """Makes all searches use the space's index from the next command on."""
    store.data.execute_command("FT.ALIASUPDATE", store.keys.index_alias, store.keys.index(space))


def feed_entry(migration: Migration, space: str) -> dict[str, str]:
    """The feed's entry: no memory changed, but searches find them through another space."""
    return {
        "memory_id": "",
        "project": "",
        "event": Event.MIGRATE.value,
        "version": "",
        "job_id": migration.work.job_id,
        "space": space,
    }
