"""The state of the store's latest re-embedding."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from emendo_client.errors import VectorStoreError
from emendo_client.exchanges.exchange import Exchange, RoundTrip
from emendo_client.exchanges.reembedding.models import Migration, MigrationPhase, ReembedPlan
from emendo_config import Keys
from emendo_config.store.pipeline import as_text

# Failed memories that the state names.
MOST_SHOWN = 100


def migration(keys: Keys, grace: float) -> Exchange[Migration | None]:
    """The state of the latest re-embedding; None if there was none, or its record expired.

    Args:
        keys: key names.
        grace: seconds for which the old space is kept after the switch.

    Raises:
        VectorStoreError: the record is damaged, or of a newer release.
    """
    listing = keys.migration_failures
    fields, failed, (_, listed) = yield RoundTrip(
        "control",
        [("HGETALL", keys.migration), ("HLEN", listing), ("HSCAN", listing, 0, "COUNT", MOST_SHOWN)],
    )
    state = {as_text(name): as_text(value) for name, value in fields.items()}
    if "job" not in state:
        return None
    (counted,) = yield RoundTrip("control", [("HMGET", keys.job(state["job"]), "items", "succeeded")])
    items, succeeded = (int(value) if (value or b"").isdigit() else 0 for value in counted)
    pairs = listed.items() if isinstance(listed, dict) else zip(listed[::2], listed[1::2], strict=True)
    failures = {as_text(name): as_text(code) for name, code in list(pairs)[:MOST_SHOWN]}
    try:
        return _migration(state, (items, succeeded, int(failed)), failures, grace)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        raise VectorStoreError(
            "the record of the re-embedding cannot be read: it is damaged, or a newer release wrote it",
            suggestion="upgrade this process; if it has the workers' release, end the re-embedding with "
            "rollback_reembed() or finalize_reembed(), and begin another",
        ) from error


def _migration(
    state: Mapping[str, str], counted: tuple[int, int, int], failures: dict[str, str], grace: float
) -> Migration:
    items, succeeded, failed = counted
    phase = MigrationPhase(state["phase"])
    plan = ReembedPlan.model_validate(json.loads(state["plan"])) if "plan" in state else None
    switched = datetime.fromtimestamp(float(state["switched_at"]), UTC) if "switched_at" in state else None
    total = max(plan.memories if plan else 0, items)
    # A memory that the second pass embeds again counts twice, and a memory added meanwhile not at all.
    is_complete = switched is not None or phase is MigrationPhase.REPAIRED
    done = total - failed if is_complete else min(total, succeeded + int(state.get("skipped", 0)))
    rate = float(state["rate"]) if "rate" in state and not is_complete else None
    is_kept = switched is not None and phase is MigrationPhase.SWITCHED
    return Migration(
        job_id=state["job"],
        phase=phase,
        active="active" in state,
        paused="paused" in state,
        source=state.get("source", ""),
        target=state.get("target", ""),
        total=total,
        done=done,
        failed=failed,
        rate=rate,
        eta=(total - done) / rate if rate else None,
        failures=failures,
        recall=float(state["recall"]) if "recall" in state else None,
        plan=plan,
        switched_at=switched,
        drops_at=switched + timedelta(seconds=grace) if switched and is_kept else None,
    )
