"""The checks on one memory, each on a right one and on a damaged one; nothing they say tells its text."""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from emendo_client.exchanges.diagnosis.checks import Reading, diagnose
from emendo_client.exchanges.diagnosis.models import REMEDIES, Check, Diagnosis
from emendo_client.records.derived_fields import metadata_tags
from emendo_config import Settings
from emendo_config.embedding_space import EmbeddingSpace
from emendo_config.spaces.registry import SpaceRecord, SpaceState

SETTINGS = Settings(embedding_provider="openai", embedding_api_key="x", embedding_dimensions=4)
SPACES = (SpaceRecord(SETTINGS.space),)
FIELD = SETTINGS.space.field
TEXT, OLD = "I enjoy seafood, especially sushi.", "I dislike seafood."
METADATA = {"topic": "food", "sure": True}
THEN, NOW = "2026-01-01T00:00:00.000000+00:00", "2026-01-02T00:00:00.000000+00:00"
DOCS = Path(__file__).resolve().parents[3] / "docs" / "how-to" / "diagnose.md"


def vector(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}f", *values)


def entry(version: int, event: str, **more: str) -> tuple[bytes, dict[bytes, bytes]]:
    fields = {"version": str(version), "event": event, "created_at": THEN, "updated_at": NOW, "job_id": "job", **more}
    return f"{version}-0".encode(), {name.encode(): value.encode() for name, value in fields.items()}


def whole() -> Reading:
    """A memory that was added, updated, and met by an update that came too late."""
    old, new = json.dumps({"topic": "food"}), json.dumps(METADATA)
    return Reading(
        memory_id="m",
        fields={
            "id": b"m",
            "project": "projekt ü".encode(),
            "memory": TEXT.encode(),
            "hash": hashlib.sha256(TEXT.encode()).hexdigest().encode(),
            "user_id": b"ana",
            "metadata": new.encode(),
            "metadata_tags": metadata_tags(METADATA).encode(),
            "version": b"3",
            "created_at": THEN.encode(),
            "updated_at": NOW.encode(),
            "expires_at": b"2100-01-01T00:00:00.000000+00:00",
            "expires_ms": b"4102444800000",
            "is_deleted": b"0",
            "stamps": b"[1,2,0,{}]",
            FIELD: vector(0.5, 0.5, 0.5, 0.5),
            "embedding_model": SETTINGS.space.model.encode(),
            "embedding_space": SETTINGS.space.name.encode(),
        },
        entries=[
            entry(1, "ADD", new_memory=OLD, new_metadata=old),
            entry(2, "UPDATE", old_memory=OLD, new_memory=TEXT, old_metadata=old, new_metadata=new),
            entry(3, "SUPERSEDED", old_memory=TEXT, new_memory=TEXT, old_metadata=new, new_metadata=new),
        ],
        indexed=True,
    )


def deleted(event: str = "DELETE") -> Reading:
    memory = with_fields(whole(), version="4", is_deleted="1")
    gone = entry(4, event, old_memory=TEXT, old_metadata=json.dumps(METADATA), is_deleted="1")
    return replace(memory, entries=[*memory.entries, gone])


def erased() -> Reading:
    kept = {"id": b"m", "project": b"p", "version": b"2", "is_deleted": b"1", "erased": b"1"}
    entries = [entry(1, "ADD"), entry(2, "DELETE", is_deleted="1")]
    return Reading("m", kept, entries, indexed=False)


def with_fields(reading: Reading, **changed: str | bytes | None) -> Reading:
    """The reading with some fields set, or gone where None."""
    fields = {**reading.fields, **{k: v.encode() if isinstance(v, str) else v for k, v in changed.items()}}
    return replace(reading, fields={name: value for name, value in fields.items() if value is not None})


def with_entry(reading: Reading, number: int, changed: tuple[bytes, dict[bytes, bytes]] | None) -> Reading:
    """The reading with one history entry (from 1) another, or gone where None."""
    entries = [*reading.entries[: number - 1], *([changed] if changed else []), *reading.entries[number:]]
    return replace(reading, entries=entries)


def wrong(reading: Reading) -> set[str]:
    return {finding.check.value for finding in diagnose(reading, SPACES).wrong}


def looked_at(reading: Reading) -> set[Check]:
    return {finding.check for finding in diagnose(reading, SPACES).findings}


# The content of an entry that changes nothing of `whole()`.
SAME = {
    **dict.fromkeys(("old_memory", "new_memory"), TEXT),
    **dict.fromkeys(("old_metadata", "new_metadata"), json.dumps(METADATA)),
}
OF_ERASED = {Check.ERASED, Check.ERASED_HISTORY}


@pytest.mark.parametrize("reading", [whole(), deleted(), deleted("EXPIRE")])
def test_a_whole_memory_passes_every_check(reading):
    diagnosis = diagnose(reading, SPACES)
    assert diagnosis.wrong == []
    assert diagnosis.ok is True
    assert [finding.remedy for finding in diagnosis.findings if finding.remedy] == []
    assert looked_at(reading) == set(Check) - OF_ERASED


def test_a_diagnosis_says_whose_and_which_version_it_is_of():
    diagnosis = diagnose(deleted(), SPACES)
    seen = (diagnosis.memory_id, diagnosis.project, diagnosis.version, diagnosis.is_deleted, diagnosis.erased)
    assert seen == ("m", "projekt ü", 4, True, False)


def test_a_memory_and_a_newest_entry_of_two_commits_are_found():
    """A failover mixed them; entries of an older release name no commit, and a lost entry is found by its version."""
    mixed = with_entry(
        with_fields(whole(), commit_id="AbCd-_12"), 3, entry(3, "SUPERSEDED", commit_id="another1", **SAME)
    )
    assert wrong(mixed) == {"newest_commit"}
    assert wrong(with_fields(mixed, commit_id="another1")) == set()
    assert wrong(with_fields(mixed, commit_id=None)) == {"newest_commit"}
    assert wrong(with_fields(whole(), commit_id="AbCd-_12")) == set()
    assert wrong(with_fields(mixed, version="4")) == {"history_end"}


def test_a_trimmed_history_may_begin_anywhere_even_with_a_submission_that_came_too_late():
    late = entry(3, "SUPERSEDED", history_start="3", **SAME)
    assert wrong(replace(whole(), entries=[late])) == set()
    assert wrong(replace(whole(), entries=whole().entries[1:])) == {"history_versions"}
    assert wrong(with_entry(whole(), 3, entry(3, "SUPERSEDED", history_start="x", **SAME))) == set()


def test_an_erased_memory_is_right_when_nothing_of_it_is_left():
    assert wrong(erased()) == set()
    history = {Check.HISTORY, Check.HISTORY_VERSIONS, Check.HISTORY_END}
    assert looked_at(erased()) == {Check.FIELDS, *OF_ERASED, *history}
    assert diagnose(erased(), SPACES).erased is True


def test_a_memory_without_metadata_and_expiry_needs_neither_tags_nor_a_moment():
    plain = with_fields(whole(), metadata="{}", metadata_tags=None, expires_at=None, expires_ms=None)
    newest = entry(2, "UPDATE", old_memory=OLD, new_memory=TEXT, new_metadata="{}")
    assert (
        wrong(with_entry(plain, 2, newest)) == wrong(with_entry(with_fields(plain, metadata=None), 2, newest)) == set()
    )


def test_a_late_update_of_a_deleted_memory_leaves_it_deleted_and_right():
    memory = with_fields(whole(), version="5", is_deleted="1")
    told = json.dumps(METADATA)
    late = entry(5, "UPDATE", old_memory=OLD, new_memory=TEXT, new_metadata=told, is_deleted="1")
    entries = [*memory.entries, entry(4, "DELETE", old_memory=OLD, old_metadata=told, is_deleted="1"), late]
    assert wrong(replace(memory, entries=entries)) == set()


@pytest.mark.parametrize(
    ("damaged", "found"),
    [
        (with_fields(whole(), id="other"), {"fields"}),
        (with_fields(whole(), id=None), {"fields"}),
        (with_fields(whole(), project=None), {"fields"}),
        (with_fields(whole(), user_id=None), {"fields"}),
        (with_fields(whole(), created_at="yesterday"), {"fields"}),
        (with_fields(whole(), updated_at="2026-01-02T00:00:00"), {"fields"}),
        (with_fields(whole(), expires_at="never"), {"fields"}),
        (with_fields(whole(), version="three"), {"fields"}),
        (with_fields(whole(), version="0"), {"fields"}),
        (with_fields(whole(), is_deleted=None), {"fields"}),
        (with_fields(whole(), metadata="[1]"), {"fields"}),
        (with_fields(whole(), metadata="{broken"), {"fields"}),
        (with_fields(whole(), metadata=b"\xff"), {"fields"}),
        (with_fields(whole(), stamps="{}"), {"fields"}),
        (with_fields(whole(), role=b"\xff"), {"fields"}),
        (with_fields(whole(), memory=None), {"fields"}),
        (with_fields(whole(), hash=None), {"fields"}),
        (replace(whole(), fields={}, memory_type="string"), {"fields"}),
        (with_fields(whole(), hash="0" * 64), {"text_hash"}),
        (with_fields(whole(), hash=TEXT), {"text_hash"}),
        (with_fields(whole(), memory=OLD), {"text_hash", "newest_text"}),
        (with_fields(whole(), memory=b"\xff"), {"fields", "text_hash", "newest_text"}),
        (replace(whole(), indexed=False), {"index"}),
        (with_fields(whole(), **{FIELD: None}), {"vector"}),
        (with_fields(whole(), **{FIELD: None, "vector_local_x_4_1": vector(1, 1, 1, 1)}), {"vector"}),
        (with_fields(whole(), **{FIELD: vector(1, 1, 1)}), {"vector_length"}),
        (with_fields(whole(), **{FIELD: b""}), {"vector_length"}),
        (with_fields(whole(), **{FIELD: vector(1, 1, float("nan"), 1)}), {"vector_finite"}),
        (with_fields(whole(), **{FIELD: vector(1, float("-inf"), 1, 1)}), {"vector_finite"}),
        (with_fields(whole(), **{FIELD: vector(0, -0.0, 0, 0)}), {"vector_finite"}),
        (with_fields(whole(), embedding_model="other"), {"embedding_model"}),
        (with_fields(whole(), embedding_model=None), {"embedding_model"}),
        (with_fields(whole(), embedding_space="other"), {"embedding_space"}),
        (with_fields(whole(), embedding_space=None), {"embedding_space"}),
        (with_fields(whole(), metadata_tags=None), {"metadata_tags"}),
        (with_fields(whole(), metadata_tags='topic="art"'), {"metadata_tags"}),
        (with_fields(whole(), metadata='{"topic":"art"}'), {"metadata_tags", "newest_metadata"}),
        (with_fields(whole(), metadata='{"topic":"\\ud800"}'), {"metadata_tags", "newest_metadata"}),
        (with_fields(whole(), expires_ms="1"), {"expires_ms"}),
        (with_fields(whole(), expires_ms="soon"), {"expires_ms"}),
        (with_fields(whole(), expires_ms=None), {"expires_ms"}),
        (with_fields(whole(), expires_at=None), {"expires_ms"}),
        (replace(whole(), entries=[], history_type="none"), {"history"}),
        (replace(whole(), entries=[]), {"history"}),
        (replace(whole(), entries=[], history_type="list"), {"history"}),
        (with_entry(whole(), 2, entry(2, "NONSENSE")), {"history"}),
        (with_entry(whole(), 2, (b"2-0", {b"version": b"2"})), {"history"}),
        (with_entry(whole(), 2, entry(2, "UPDATE", new_memory=TEXT, new_metadata="{broken")), {"history"}),
        (with_entry(whole(), 2, (b"2-0", {b"version": b"\xff"})), {"history"}),
        (with_entry(whole(), 1, None), {"history_versions"}),
        (with_entry(whole(), 1, entry(2, "ADD", new_memory=OLD)), {"history_versions"}),
        (with_entry(whole(), 3, None), {"history_end"}),
        (with_fields(whole(), version="4"), {"history_end"}),
        (with_fields(whole(), version="2"), {"history_end"}),
        (with_entry(whole(), 3, entry(2, "SUPERSEDED", **SAME)), {"history_versions", "history_end"}),
        (
            with_entry(whole(), 2, entry(2, "UPDATE", new_memory=OLD, new_metadata=json.dumps(METADATA))),
            {"newest_text"},
        ),
        (with_entry(whole(), 2, entry(2, "UPDATE", new_metadata=json.dumps(METADATA))), {"newest_text"}),
        (with_entry(whole(), 2, entry(2, "UPDATE", new_memory=TEXT, new_metadata='{"a":1}')), {"newest_metadata"}),
        (with_entry(whole(), 2, entry(2, "UPDATE", new_memory=TEXT)), {"newest_metadata"}),
        (with_fields(whole(), is_deleted="1"), {"newest_deleted"}),
        (with_fields(deleted(), is_deleted="0"), {"newest_deleted"}),
        (with_fields(deleted(), memory=OLD, hash=hashlib.sha256(OLD.encode()).hexdigest()), {"newest_text"}),
        (with_fields(erased(), memory=TEXT), {"erased"}),
        (with_fields(erased(), hash="0" * 64), {"erased"}),
        (with_fields(erased(), metadata="{}"), {"erased"}),
        (with_fields(erased(), metadata_tags='topic="art"'), {"erased"}),
        (with_fields(erased(), user_id="ana"), {"erased"}),
        (with_fields(erased(), agent_id="chef"), {"erased"}),
        (with_fields(erased(), run_id="1"), {"erased"}),
        (with_fields(erased(), vector_local_x_4_1=vector(1)), {"erased"}),
        (with_fields(erased(), is_deleted="0"), {"erased"}),
        (with_entry(erased(), 1, entry(1, "ADD", new_memory=TEXT)), {"erased_history"}),
        (with_entry(erased(), 1, entry(1, "ADD", old_memory=TEXT)), {"erased_history"}),
        (with_entry(erased(), 1, entry(1, "ADD", new_metadata="{}")), {"erased_history"}),
        (with_entry(erased(), 2, entry(2, "DELETE", old_metadata="{}", is_deleted="1")), {"erased_history"}),
        (with_entry(erased(), 1, None), {"history_versions"}),
        (with_fields(erased(), version="3"), {"history_end"}),
    ],
)
def test_each_damage_is_found_and_nothing_else(damaged, found):
    diagnosis = diagnose(damaged, SPACES)
    assert {finding.check.value for finding in diagnosis.wrong} == found
    assert diagnosis.ok is False
    for finding in diagnosis.wrong:
        assert finding.remedy == finding.mend == REMEDIES[finding.check]
        assert finding.found != finding.expected
    told = diagnosis.model_dump_json()
    assert not any(secret in told for secret in ("seafood", "food", "art"))


@pytest.mark.parametrize(
    ("damaged", "check", "found", "expected"),
    [
        (with_fields(whole(), hash=None, version="x"), "fields", "missing: hash; malformed: version", "complete"),
        (replace(whole(), fields={}, memory_type="set"), "fields", "a key of type set", "a hash"),
        (with_fields(whole(), **{FIELD: b"123"}), "vector_length", "3 bytes", "16 bytes: 4 dimensions"),
        (with_fields(whole(), **{FIELD: None, "vector_old": b"1"}), "vector", "vector_old", FIELD),
        (with_fields(whole(), embedding_model="BAAI/bge-m3"), "embedding_model", "BAAI/bge-m3", SETTINGS.space.model),
        (with_fields(whole(), embedding_model=TEXT), "embedding_model", "34 bytes that are no name", "text-embedding"),
        (with_fields(whole(), metadata_tags=None), "metadata_tags", "no tags", "4 tags, 35 bytes, SHA-256"),
        (with_fields(whole(), expires_ms="1"), "expires_ms", "1", "4102444800000"),
        (with_entry(whole(), 2, None), "history_versions", "version 3 at entry 2", "1 to 2, without gaps"),
        (with_fields(whole(), version="9"), "history_end", "ends at version 3", "ends at version 9"),
        (with_entry(whole(), 2, entry(2, "NONSENSE")), "history", "entry 2 of 3 cannot be read", "readable entries"),
        (with_fields(whole(), is_deleted="1"), "newest_deleted", "deleted", "not deleted"),
        (with_fields(erased(), memory="x", run_id="1"), "erased", "memory, run_id", "no content"),
    ],
)
def test_a_finding_says_what_is_there_and_what_should_be(damaged, check, found, expected):
    (finding,) = [finding for finding in diagnose(damaged, SPACES).wrong if finding.check == check]
    assert (finding.found, finding.expected[: len(expected)]) == (found, expected)


NEWER = SpaceRecord(EmbeddingSpace("openai", "newer", 2, 2), datatype="float16", state=SpaceState.LIVE)
FILLING, DROPPING = (replace(NEWER, state=state) for state in (SpaceState.FILLING, SpaceState.DROPPING))


def with_both() -> Reading:
    names = ",".join(sorted((SETTINGS.space.name, NEWER.name)))
    more = {NEWER.field: struct.pack("<2e", 0.5, -0.5)}
    return with_fields(whole(), embedding_space=names, embedding_model="newer", **more)


@pytest.mark.parametrize(
    ("reading", "second", "found_wrong"),
    [
        (with_both(), NEWER, set()),
        (with_both(), FILLING, set()),
        (with_both(), DROPPING, set()),
        (whole(), FILLING, set()),
        (whole(), DROPPING, set()),
        (whole(), NEWER, {"vector", "embedding_space", "embedding_model"}),
        (with_both(), None, {"embedding_space", "embedding_model"}),
        (with_fields(with_both(), **{NEWER.field: vector(0.5, 0.5)}), FILLING, {"vector_length"}),
        (with_fields(with_both(), **{NEWER.field: struct.pack("<2e", 1, float("nan"))}), NEWER, {"vector_finite"}),
        (with_fields(with_both(), **{NEWER.field: None}), FILLING, {"vector"}),
        (with_fields(whole(), **{NEWER.field: struct.pack("<2e", 1, 1)}), FILLING, {"vector"}),
        (with_fields(with_both(), embedding_model=SETTINGS.space.model), NEWER, {"embedding_model"}),
    ],
)
def test_of_two_spaces_each_is_looked_at(reading, second, found_wrong):
    spaces = SPACES if second is None else (*SPACES, second)
    assert {finding.check.value for finding in diagnose(reading, spaces).wrong} == found_wrong


def test_a_check_that_rests_on_something_unreadable_is_left_out():
    assert Check.TEXT_HASH not in looked_at(with_fields(whole(), hash=None))
    assert Check.METADATA_TAGS not in looked_at(with_fields(whole(), metadata="{broken"))
    assert Check.HISTORY_END not in looked_at(with_fields(whole(), version="x"))
    assert looked_at(replace(whole(), fields={}, memory_type="set")) & {Check.INDEX, Check.NEWEST_TEXT} == set()
    assert looked_at(replace(whole(), entries=[])) & {Check.HISTORY_VERSIONS, Check.NEWEST_TEXT} == set()


def test_a_diagnosis_as_json_says_whether_it_is_ok():
    document = json.loads(diagnose(with_fields(whole(), expires_ms="1"), SPACES).model_dump_json())
    assert document["ok"] is False
    assert Diagnosis.model_validate(document).wrong == diagnose(with_fields(whole(), expires_ms="1"), SPACES).wrong


def test_every_check_has_its_remedy_and_its_row_in_the_docs():
    assert set(REMEDIES) == set(Check)
    rows = [line.split("|")[1].strip() for line in DOCS.read_text(encoding="utf-8").splitlines() if line[:3] == "| `"]
    assert sorted(rows) == sorted(f"`{check}`" for check in Check)
