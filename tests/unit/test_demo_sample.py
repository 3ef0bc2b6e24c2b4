"""The demo's sample: enough, varied, and every correction has its target."""

from __future__ import annotations

import unicodedata

from emendo_client.demo.sample import read_sample
from emendo_client.validation import messages, metadata, text
from emendo_config import Settings

LINES = read_sample()


def of(op):
    return [line for line in LINES if line.op == op]


def test_there_is_enough_of_everything():
    assert len(of("add")) >= 50
    assert len(of("update")) >= 30
    assert of("delete")
    assert of("restore")
    content = "".join(message["content"] for line in of("add") for message in line.messages)
    scripts = {unicodedata.name(character, "?").split()[0] for character in content if character.isalpha()}
    assert {"LATIN", "CJK", "HIRAGANA", "ARABIC", "DEVANAGARI", "CYRILLIC", "GREEK", "HEBREW", "THAI"} <= scripts
    assert "\u200d" in content, "an emoji joined from several"
    assert "\u0301" in content, "a combining mark"
    assert max(len(message["content"]) for line in of("add") for message in line.messages) > 10_000


def test_every_line_is_valid_and_has_its_target():
    settings = Settings()
    adds = {line.key: line for line in of("add")}
    assert len(adds) == len(of("add"))
    for line in LINES:
        if line.op == "add":
            assert messages(line.messages, settings)
        else:
            assert line.index < len(adds[line.target].messages)
        if line.text is not None:
            text(line.text, "text", settings)
        metadata(line.metadata, settings, none_removes=True)
