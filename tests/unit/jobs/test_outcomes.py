"""The outcome of a job, from the outcomes of its items."""

from __future__ import annotations

import itertools
import json
import random

import pytest

from emendo_client.errors import ConflictError, MemoryNotFoundError, NetworkError, RateLimitError
from emendo_client.models import ItemResult, JobStatus
from emendo_config import Settings
from emendo_workers.jobs.finish_documents import finish_documents
from emendo_workers.jobs.operations import Add, Update
from emendo_workers.jobs.outcomes import ItemOutcome
from emendo_workers.jobs.retry import BUSY_DELAY
from emendo_workers.jobs.settlement import poisoned, settle
from emendo_workers.jobs.work import Work

SETTINGS = Settings(max_attempts=3)
OPERATION = Update("j", "p", 1, "m", text="secret text")
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
    assert settle(work(attempts, len(items)), items, SETTINGS, random.Random(1)).status == status


def test_waiting_for_a_lock_is_refunded_and_failing_is_not():
    assert settle(work(), [BUSY], SETTINGS, random.Random(1)).refund is True
    assert settle(work(), [SHAKY], SETTINGS, random.Random(1)).refund is False


def test_the_feed_has_no_text():
    outcome = settle(work(items=2), [GOOD, BAD], SETTINGS, random.Random(1))
    assert [version for _, _, version in outcome.feed] == ["2"]
    assert "secret text" not in str(outcome.feed)


def test_documents_are_json_that_finish_understands():
    document = json.loads(finish_documents(settle(work(), [BAD], SETTINGS, random.Random(1)))[0])
    assert (document["job"], document["entry"], document["status"]) == ("j", "1-0", "failed")
    assert json.loads(document["error"])["type"] == "ConflictError"


def test_poison_fails_every_item():
    outcome = poisoned(work(), 5)
    assert (outcome.status, outcome.error.error_code) == ("failed", "POISON")
    assert [item["error"]["code"] for item in outcome.results] == ["POISON"]


RETRYING = Settings(max_attempts=3, retry_base=1.0, retry_max=60.0)
OPERATIONS = [Add("j", "p", 1, memory_id, text="secret text") for memory_id in ("m0", "m1")]
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
    return settle(work, [item(kind, place) for place, kind in enumerate(kinds)], RETRYING, random.Random(1))


def expected(kinds, attempts: int) -> JobStatus:
    if "cancelled" in kinds and "busy" in kinds:
        return JobStatus.RETRYING  # a dead worker may have committed what another one holds
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
    assert settle(work, items, RETRYING, random.Random(1)).error is errors[0]


def test_the_longest_pause_its_items_ask_for_is_the_jobs():
    work = Work("j", "1-0", "add", "p", 1, 1, OPERATIONS)
    slow, slower = RateLimitError("x", retry_after=20), RateLimitError("y", retry_after=40)
    items = [ItemOutcome(OPERATIONS[0], error=slower), ItemOutcome(OPERATIONS[1], error=slow)]
    outcome = settle(work, items, RETRYING, random.Random(1))
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
    document = json.loads(finish_documents(outcome)[0])
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
    document, results = map(json.loads, finish_documents(run(("done", "refused"), 1)))
    assert document["status"] == "partially_succeeded"
    assert [result["memory_id"] for result in results] == ["m0", "m1"]
    assert json.loads(document["error"])["code"] == "CONFLICT"
    assert len(document["feed"]) == 1
    assert not {"due", "refund", "settled"} & set(document), "it says only what there is to say"


def test_a_job_put_aside_says_when_it_is_due_in_milliseconds():
    document = json.loads(finish_documents(run(("busy",), 1))[0])
    assert (document["status"], document["due"], document["refund"]) == ("retrying", 200, True)
    assert "error" not in document
    failing = json.loads(finish_documents(run(("failing",), 1))[0])
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
