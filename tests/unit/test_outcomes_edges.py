"""Every combination of what can become of two items, and what is recorded of it."""

from __future__ import annotations

import itertools
import json
import random

import pytest

from emendo_client.errors import ConflictError, MemoryNotFoundError, NetworkError, RateLimitError
from emendo_client.models import ItemResult, JobStatus
from emendo_config import Settings
from emendo_workers.operations import Operation, Work
from emendo_workers.outcomes import ItemOutcome, judge, poisoned
from emendo_workers.retry import BUSY_DELAY

SETTINGS = Settings(max_attempts=3, retry_base=1.0, retry_max=60.0)
OPERATIONS = [Operation("j", "p", 1, "add", memory_id, text="secret text") for memory_id in ("m0", "m1")]
KINDS = ("done", "refused", "failing", "busy", "cancelled")


def item(kind: str, place: int) -> ItemOutcome:
    operation = OPERATIONS[place]
    result = {"memory_id": operation.memory_id, "event": "ADD", "memory": "secret text", "version": 1, "error": None}
    return {
        "done": ItemOutcome(operation, result=result),
        "refused": ItemOutcome(operation, error=ConflictError("no")),
        "failing": ItemOutcome(operation, error=NetworkError("away")),
        "busy": ItemOutcome(operation, busy=True),
        "cancelled": ItemOutcome(operation, cancelled=True),
    }[kind]


def run(kinds, attempts: int):
    work = Work("j", "1-0", "add", "p", attempts, 1, OPERATIONS[: len(kinds)])
    return judge(work, [item(kind, place) for place, kind in enumerate(kinds)], SETTINGS, random.Random(1))


def expected(kinds, attempts: int) -> JobStatus:
    if "cancelled" in kinds and "busy" in kinds:
        return JobStatus.RETRYING  # what another worker holds may have been committed by a dead one
    if "cancelled" in kinds:
        return JobStatus.PARTIALLY_SUCCEEDED if "done" in kinds else JobStatus.CANCELLED
    if "busy" in kinds or ("failing" in kinds and attempts < 3):
        return JobStatus.RETRYING
    if "done" not in kinds:
        return JobStatus.FAILED
    return JobStatus.SUCCEEDED if set(kinds) == {"done"} else JobStatus.PARTIALLY_SUCCEEDED


@pytest.mark.parametrize("attempts", [1, 2, 3, 4])
@pytest.mark.parametrize("kinds", [*itertools.product(KINDS), *itertools.product(KINDS, KINDS)], ids="-".join)
def test_every_combination_has_its_status(kinds, attempts):
    outcome = run(kinds, attempts)
    assert outcome.status is expected(kinds, attempts)
    assert (outcome.delay > 0) is (outcome.status is JobStatus.RETRYING)


def test_results_follow_the_order_of_the_items_and_say_what_failed():
    outcome = run(("refused", "done"), 1)
    assert [result["memory_id"] for result in outcome.results] == ["m0", "m1"]
    assert outcome.results[0]["error"]["type"] == "ConflictError"
    assert outcome.results[1]["error"] is None
    assert [ItemResult.model_validate(result).event for result in outcome.results] == [None, "ADD"]
    assert outcome.error.message == "no"


def test_the_first_failure_is_the_jobs_error():
    work = Work("j", "1-0", "add", "p", 1, 1, OPERATIONS)
    errors = (MemoryNotFoundError("first"), ConflictError("second"))
    items = [ItemOutcome(operation, error=error) for operation, error in zip(OPERATIONS, errors, strict=True)]
    assert judge(work, items, SETTINGS, random.Random(1)).error is errors[0]


def test_the_longest_pause_its_items_ask_for_is_the_jobs():
    work = Work("j", "1-0", "add", "p", 1, 1, OPERATIONS)
    slow, slower = RateLimitError("x", retry_after=20), RateLimitError("y", retry_after=40)
    items = [ItemOutcome(OPERATIONS[0], error=slower), ItemOutcome(OPERATIONS[1], error=slow)]
    outcome = judge(work, items, SETTINGS, random.Random(1))
    assert (outcome.delay, outcome.error, outcome.refund) == (40, slower, False)


@pytest.mark.parametrize(
    ("kinds", "attempts", "refund"),
    [
        (("busy",), 1, True),
        (("busy", "busy"), 3, True),
        (("busy", "done"), 1, True),
        (("busy", "refused"), 1, True),
        (("busy", "failing"), 3, True),  # the failing one had its attempts; only the busy one waits
        (("busy", "failing"), 1, False),
        (("failing", "done"), 1, False),
    ],
)
def test_an_attempt_that_only_waited_is_not_counted(kinds, attempts, refund):
    outcome = run(kinds, attempts)
    assert outcome.refund is refund
    assert (outcome.delay == BUSY_DELAY) is refund


@pytest.mark.parametrize("kinds", [("done", "done"), ("done", "refused"), ("refused", "done")])
def test_the_feed_tells_each_change_once_and_without_its_text(kinds):
    outcome = run(kinds, 1)
    document = json.loads(outcome.documents()[0])
    changed = [f"m{place}" for place, kind in enumerate(kinds) if kind == "done"]
    assert document["feed"] == outcome.feed == [[memory_id, "ADD", "1"] for memory_id in changed]
    assert (document["project"], document["of"]) == ("p", "j")


@pytest.mark.parametrize("kinds", [("done", "cancelled"), ("cancelled", "done")])
def test_what_was_committed_before_a_cancel_is_still_told(kinds):
    """docs/design.md, the feed: every change of every memory; and the job's result must not hide it."""
    outcome = run(kinds, 1)
    assert [entry[0] for entry in outcome.feed] == [f"m{kinds.index('done')}"]
    assert f"m{kinds.index('done')}" in [result["memory_id"] for result in outcome.results]


def test_documents_are_plain_json_of_what_happened_and_of_the_results():
    document, results = map(json.loads, run(("done", "refused"), 1).documents())
    assert document["status"] == "partially_succeeded"
    assert [result["memory_id"] for result in results] == ["m0", "m1"]
    assert json.loads(document["error"])["code"] == "CONFLICT"
    assert len(document["feed"]) == 1
    assert not {"due", "refund", "settled"} & set(document), "it says only what there is to say"


def test_a_job_put_aside_says_when_it_is_due_in_milliseconds():
    document = json.loads(run(("busy",), 1).documents()[0])
    assert (document["status"], document["due"], document["refund"]) == ("retrying", 200, True)
    assert "error" not in document
    failing = json.loads(run(("failing",), 1).documents()[0])
    assert 500 <= failing["due"] <= 1_000
    assert json.loads(failing["error"])["type"] == "NetworkError"


def test_poison_is_a_failure_of_every_item_and_says_how_often_it_killed():
    outcome = poisoned(Work("j", "1-0", "add", "p", 6, 1, OPERATIONS), 6)
    assert outcome.status is JobStatus.FAILED
    assert outcome.error.message.startswith("6 workers died")
    assert [(result["memory_id"], result["error"]["code"]) for result in outcome.results] == [
        ("m0", "POISON"),
        ("m1", "POISON"),
    ]
    assert (outcome.feed, outcome.delay) == ([], 0.0)
