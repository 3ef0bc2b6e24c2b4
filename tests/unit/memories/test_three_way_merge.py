"""Three-way merges, field by field: every combination of what base, theirs and ours can say."""

from __future__ import annotations

import itertools

import pytest

from emendo_workers.jobs.operations import Update
from emendo_workers.memories.state import MemoryState, Snapshot, WriteTimes
from emendo_workers.memories.three_way_merge import (
    MergedTexts,
    MergeResult,
    NeedsMerge,
    conflict_document,
    is_contested,
    three_way_merge,
)
from emendo_workers.providers.merge_prompt import Texts

OLDER, THEIR_TIME, NEWER = 200, 300, 400
MODES = ("merge", "manual")
MODES_AND_TIMES = list(itertools.product(MODES, (OLDER, NEWER)))


def op(mode: str = "merge", *, submitted: int = OLDER, **more) -> Update:
    return Update("job", "p", submitted, "m", on_conflict=mode, **more)


def state(memory: str = "base", metadata: dict | None = None) -> MemoryState:
    keys = dict.fromkeys(("k", "other"), THEIR_TIME)
    write_times = WriteTimes(base=100, text=THEIR_TIME, metadata=keys)
    return MemoryState("m", project="p", memory=memory, metadata=metadata or {}, version=5, write_times=write_times)


def texts(theirs: str, ours: str | None, mode: str, merges: MergedTexts | None = None) -> MergeResult:
    return three_way_merge(Snapshot("base", {}), state(theirs), op(mode, text=ours), merges)


def value(base, theirs, ours, mode: str, submitted: int) -> MergeResult:
    """One metadata key: an absent one is None, as a patch says it."""
    sides = [{} if side is None else {"k": side} for side in (base, theirs)]
    return three_way_merge(
        Snapshot("base", sides[0]), state("base", sides[1]), op(mode, submitted=submitted, metadata={"k": ours}), None
    )


# Texts.


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("theirs", "ours", "becomes"),
    [
        ("base", None, None),  # nothing asked
        ("theirs", None, None),
        ("base", "base", None),  # nothing changed
        ("theirs", "base", None),  # only they changed it
        ("base", "ours", "ours"),  # only we changed it
        ("ours", "ours", "ours"),  # both said the same
    ],
)
def test_a_text_that_one_side_changed_takes_that_change_and_nobody_is_asked(theirs, ours, becomes, mode):
    done = texts(theirs, ours, mode, MergedTexts())
    assert (done.text, done.is_disputed) == (becomes, False)


def test_a_text_both_changed_is_what_the_chat_model_made_of_it():
    with pytest.raises(NeedsMerge) as question:
        texts("theirs", "ours", "merge", MergedTexts())
    assert question.value.texts == Texts("base", "theirs", "ours")
    done = texts("theirs", "ours", "merge", MergedTexts({question.value.texts: "both"}))
    assert (done.text, done.is_disputed) == ("both", False)


@pytest.mark.parametrize(
    ("mode", "merges"),
    [
        ("manual", MergedTexts()),  # a person is wanted
        ("manual", MergedTexts({Texts("base", "theirs", "ours"): "both"})),
        ("merge", None),  # there is no chat model
        ("merge", MergedTexts({Texts("base", "theirs", "ours"): None})),  # the chat model could not
    ],
)
def test_a_text_both_changed_waits_where_nothing_merged_it(mode, merges):
    done = texts("theirs", "ours", mode, merges)
    assert (done.text, done.disputed_text, done.is_disputed) == (None, "ours", True)


# Metadata.

ABSENT = None
_UNDISPUTED = [
    # base, theirs, ours
    (1, 1, 2),  # only we changed it
    (1, 1, ABSENT),  # only we removed it
    (ABSENT, ABSENT, 2),  # only we added it
    (1, 2, 2),  # both changed it alike
    (1, ABSENT, ABSENT),  # both removed it
    (ABSENT, 2, 2),  # both added it alike
    ({"a": [1]}, {"a": [1]}, {"a": [2]}),
]
_DISPUTED = [
    (1, 2, 3),
    (1, 2, ABSENT),  # they changed what we removed
    (1, ABSENT, 3),  # they removed what we changed
    (ABSENT, 2, 3),  # both added it differently
    (1, True, 2),  # JSON tells 1 from true
]
_THEIRS_ALONE = [
    (1, 1, 1),  # nobody changed it
    (ABSENT, ABSENT, ABSENT),
    (1, 2, 1),  # only they changed it
    (1, ABSENT, 1),  # only they removed it
    (ABSENT, 2, ABSENT),  # only they added it
]


@pytest.mark.parametrize(("mode", "submitted"), MODES_AND_TIMES)
@pytest.mark.parametrize(("base", "theirs", "ours"), _UNDISPUTED)
def test_a_key_that_one_side_changed_takes_that_change(base, theirs, ours, mode, submitted):
    done = value(base, theirs, ours, mode, submitted)
    assert (done.metadata, done.is_disputed) == ({"k": ours}, False)


@pytest.mark.parametrize(("mode", "submitted"), MODES_AND_TIMES)
@pytest.mark.parametrize(("base", "theirs", "ours"), _THEIRS_ALONE)
def test_a_key_we_left_as_it_was_stays_as_they_have_it(base, theirs, ours, mode, submitted):
    done = value(base, theirs, ours, mode, submitted)
    assert (done.metadata, done.is_disputed) == ({}, False)


@pytest.mark.parametrize(("base", "theirs", "ours"), _DISPUTED)
def test_a_key_both_changed_waits_under_manual_and_keeps_the_newest_under_merge(base, theirs, ours):
    for submitted in (OLDER, NEWER):
        waits = value(base, theirs, ours, "manual", submitted)
        assert (waits.metadata, waits.disputed_metadata, waits.is_disputed) == ({}, {"k": ours}, True)
    assert value(base, theirs, ours, "merge", NEWER).metadata == {"k": ours}
    beaten = value(base, theirs, ours, "merge", OLDER)
    assert (beaten.metadata, beaten.is_disputed) == ({}, False)


def test_each_key_and_the_text_are_judged_by_themselves():
    base = Snapshot("base", {"k": 1, "gone": 1})
    theirs = state("theirs", {"k": 2, "gone": 1, "other": 1})
    ours = op("manual", text="ours", metadata={"k": 3, "gone": None, "fresh": 4})
    done = three_way_merge(base, theirs, ours, None)
    assert done.metadata == {"gone": None, "fresh": 4}
    assert (done.disputed_metadata, done.disputed_text, done.text) == ({"k": 3}, "ours", None)


# Contested fields.


@pytest.mark.parametrize(
    ("submitted", "asked", "contested"),
    [
        (OLDER, {"text": "x"}, True),
        (NEWER, {"text": "x"}, False),
        (OLDER, {"metadata": {"k": 1}}, True),
        (OLDER, {"metadata": {"k": None}}, True),
        (NEWER, {"metadata": {"k": 1}}, False),
        (OLDER, {"metadata": {"fresh": 1}}, False),
        (OLDER, {"metadata": {"fresh": 1, "k": 1}}, True),
        (THEIR_TIME, {"text": "x"}, True),
    ],
)
def test_only_fields_a_newer_submission_set_are_contested(submitted, asked, contested):
    assert is_contested(state(), op(submitted=submitted, **asked)) is contested


# What waits.


def test_what_waits_is_the_disputed_part_and_where_it_began():
    base = Snapshot("base", {"k": 1, "fine": 1})
    operation = op("manual", text="ours", metadata={"k": None, "fine": 2}, actor_id="bob", expected_version=3)
    theirs = state("theirs", {"k": 2, "fine": 1})
    done = three_way_merge(base, theirs, operation, None)
    assert conflict_document(base, theirs, operation, done) == {
        "job_id": "job",
        "submitted": OLDER,
        "actor_id": "bob",
        "expected_version": 3,
        "version": 5,
        "base_memory": "base",
        "base_metadata": {"k": 1},
        "memory": "ours",
        "metadata": {"k": None},
    }


def test_a_text_that_is_not_in_dispute_does_not_wait():
    base, theirs = Snapshot("base", {"k": 1}), state("base", {"k": 2})
    operation = op("manual", text="ours", metadata={"k": 3})
    document = conflict_document(base, theirs, operation, three_way_merge(base, theirs, operation, None))
    assert document.keys().isdisjoint({"memory", "base_memory"})
    assert document["metadata"] == {"k": 3}
