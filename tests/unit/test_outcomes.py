"""What becomes of a job, from what became of its items."""

from __future__ import annotations

import json
import random

import pytest

from emendo_client.errors import ConflictError, NetworkError
from emendo_config import Settings
from emendo_workers.operations import Operation, Work
from emendo_workers.outcomes import ItemOutcome, judge, poisoned

SETTINGS = Settings(max_attempts=3)
OPERATION = Operation(job_id="j", project="p", submitted=1, op="update", memory_id="m", text="secret text")
GOOD = ItemOutcome(OPERATION, result={"memory_id": "m", "event": "UPDATE", "version": 2, "error": None})
BAD = ItemOutcome(OPERATION, error=ConflictError("no"))
SHAKY = ItemOutcome(OPERATION, error=NetworkError("away"))
BUSY = ItemOutcome(OPERATION, busy=True)
CANCELLED = ItemOutcome(OPERATION, cancelled=True)


def work(attempts: int = 1, items: int = 1) -> Work:
    return Work("j", "1-0", "update", "p", attempts, 1, [OPERATION] * items)


@pytest.mark.parametrize(
    ("items", "attempts", "status"),
    [
        ([GOOD], 1, "succeeded"),
        ([GOOD, GOOD], 1, "succeeded"),
        ([GOOD, BAD], 1, "partially_succeeded"),
        ([BAD, BAD], 1, "failed"),
        ([SHAKY], 1, "retrying"),
        ([GOOD, SHAKY], 2, "retrying"),
        ([SHAKY], 3, "failed"),
        ([GOOD, SHAKY], 3, "partially_succeeded"),
        ([BUSY], 3, "retrying"),
        ([GOOD, BUSY], 1, "retrying"),
        ([CANCELLED, CANCELLED], 1, "cancelled"),
        ([CANCELLED, GOOD], 1, "partially_succeeded"),
    ],
)
def test_the_status_follows_from_the_items(items, attempts, status):
    assert judge(work(attempts, len(items)), items, SETTINGS, random.Random(1)).status == status


def test_waiting_for_a_lock_is_refunded_and_failing_is_not():
    assert judge(work(), [BUSY], SETTINGS, random.Random(1)).refund is True
    assert judge(work(), [SHAKY], SETTINGS, random.Random(1)).refund is False


def test_the_feed_has_no_text():
    outcome = judge(work(items=2), [GOOD, BAD], SETTINGS, random.Random(1))
    assert [version for _, _, version in outcome.feed] == ["2"]
    assert "secret text" not in str(outcome.feed)


def test_documents_are_json_that_finish_understands():
    document = json.loads(judge(work(), [BAD], SETTINGS, random.Random(1)).documents()[0])
    assert (document["job"], document["entry"], document["status"]) == ("j", "1-0", "failed")
    assert json.loads(document["error"])["type"] == "ConflictError"


def test_poison_fails_every_item():
    outcome = poisoned(work(), 5)
    assert (outcome.status, outcome.error.error_code) == ("failed", "POISON")
    assert [item["error"]["code"] for item in outcome.results] == ["POISON"]
