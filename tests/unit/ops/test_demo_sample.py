"""The demo's sample: enough, varied, and every correction has its target."""

from __future__ import annotations

import unicodedata

from emendo_client.requests.content import metadata, text
from emendo_client.requests.messages import conversation
from emendo_config import Settings
from emendo_ops.demo.sample import read_sample

LINES = read_sample()


def of(op):
    return [line for line in LINES if line.op == op]


def test_there_is_enough_of_everything():
    assert len(of("add")) >= 60
    assert len(of("update")) >= 40
    assert len(of("delete")) >= 3
    assert len(of("restore")) >= 3
    assert len({line.user_id for line in of("add")}) >= 5
    assert len({line.agent_id for line in of("add")} - {None}) >= 3
    assert any(line.text is None for line in of("update")), "a correction of the metadata alone"
    assert any(line.index > 0 for line in of("update")), "a correction of a later message"


def test_the_texts_are_as_varied_as_people_are():
    content = "".join(message["content"] for line in of("add") for message in line.messages)
    scripts = {unicodedata.name(character, "?").split()[0] for character in content if character.isalpha()}
    wanted = {"LATIN", "CJK", "HIRAGANA", "HANGUL", "ARABIC", "DEVANAGARI", "CYRILLIC", "GREEK", "HEBREW", "THAI"}
    assert wanted <= scripts
    assert "\u200d" in content, "an emoji joined from several"
    assert "\u0301" in content, "a combining mark"
    assert all(part in content for part in ('"', "\n", "https://", "€"))
    assert max(len(message["content"]) for line in of("add") for message in line.messages) > 10_000


def test_every_line_is_valid_and_has_its_target():
    settings = Settings(embedding_provider="local")
    adds = {line.key: line for line in of("add")}
    assert len(adds) == len(of("add"))
    for line in LINES:
        if line.op == "add":
            assert conversation(line.messages, settings).messages
        else:
            assert 0 <= line.index < len(adds[line.target].messages)
        if line.text is not None:
            text(line.text, "text", settings)
        metadata(line.metadata, settings, none_removes=True)


def test_changes_of_one_memory_do_not_contradict_each_other():
    """The demo waits for a whole kind of change at once and then expects each text: a memory gets one of each."""
    for op in ("update", "delete", "restore"):
        places = [(line.target, line.index) for line in of(op)]
        assert len(places) == len(set(places))
    deleted = {(line.target, line.index) for line in of("delete")}
    assert {(line.target, line.index) for line in of("restore")} <= deleted
    assert deleted.isdisjoint((line.target, line.index) for line in of("update"))
