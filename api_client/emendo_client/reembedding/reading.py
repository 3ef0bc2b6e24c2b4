"""Reading how far the store's re-embedding is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

from emendo_client.reembedding.models import Migration, MigrationPhase, ReembedPlan
from emendo_client.steps import Batch, Steps
from emendo_config import Keys
from emendo_config.redis_io import as_text

# Failed memories that are named.
MOST_SHOWN = 100


def migration(keys: Keys, grace: float) -> Steps[Migration | None]:
    """The latest re-embedding, as it stands; None when there was none lately.

    Args:
        keys: key names.
        grace: seconds the old space is kept after the switch.
    """
    listing = keys.migration_failures
    fields, failed, (_, listed) = yield Batch(
        "control",
        [("HGETALL", keys.migration), ("HLEN", listing), ("HSCAN", listing, 0, "COUNT", MOST_SHOWN)],
    )
    state = {as_text(name): as_text(value) for name, value in fields.items()}
    if "job" not in state:
        return None
    (counted,) = yield Batch("control", [("HMGET", keys.job(state["job"]), "items", "succeeded")])
    items, succeeded = (int(value or 0) for value in counted)
    pairs = listed.items() if isinstance(listed, dict) else zip(listed[::2], listed[1::2], strict=True)
    failures = {as_text(name): as_text(code) for name, code in list(pairs)[:MOST_SHOWN]}
    return _migration(state, (items, succeeded, int(failed)), failures, grace)


def _migration(
    state: Mapping[str, str], counted: tuple[int, int, int], failures: dict[str, str], grace: float
) -> Migration:
    items, succeeded, failed = counted
    phase = MigrationPhase(state["phase"])
    plan = ReembedPlan.model_validate(json.loads(state["plan"])) if "plan" in state else None
    switched = datetime.fromtimestamp(float(state["switched_at"]), UTC) if "switched_at" in state else None
    total = max(plan.memories if plan else 0, items)
    # What a second look embeds again counts twice, and what was made meanwhile not at all.
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
