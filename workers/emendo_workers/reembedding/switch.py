"""Moving the alias that every search goes through from one space's index to another's."""

from __future__ import annotations

import time

from emendo_client.models import Event
from emendo_client.reembedding.models import MigrationPhase
from emendo_workers.reembedding.migration import Migration
from emendo_workers.services import Services


def switch(migration: Migration) -> None:
    """Verifying → switched: searches answer from the new space."""
    target = migration.target
    point_alias(migration.services, target.name)
    migration.advance(
        {"phase": MigrationPhase.SWITCHED, "switched_at": f"{time.time():.6f}"},
        told=feed_entry(migration, target.name),
    )


def point_alias(services: Services, space: str) -> None:
    """Lets searches answer from the space's index, from one command to the next."""
    services.data.execute_command("FT.ALIASUPDATE", services.keys.index_alias, services.keys.index(space))


def feed_entry(migration: Migration, space: str) -> dict[str, str]:
    """What followers are told: no memory changed, but all are found through another space."""
    return {
        "memory_id": "",
        "project": "",
        "event": Event.MIGRATE.value,
        "version": "",
        "job_id": migration.work.job_id,
        "space": space,
    }
