"""tools/prose.py reports prose that must be read twice, and leaves the rest alone."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

_PATH = Path(__file__).resolve().parents[2] / "tools" / "prose.py"
_SPEC = importlib.util.spec_from_file_location("prose", _PATH)
assert _SPEC
assert _SPEC.loader
prose = importlib.util.module_from_spec(_SPEC)
sys.modules["prose"] = prose  # dataclasses look their module up
_SPEC.loader.exec_module(prose)

LONG = "The worker " + "very " * 23 + "slowly stops."  # 27 words
FITS = "The worker " + "very " * 21 + "slowly stops."  # 25 words


def found(path: str, source: str) -> list[tuple[int, str]]:
    return [(finding.line, finding.what) for finding in prose.check(path, source)]


@pytest.mark.parametrize(
    ("sentence", "what"),
    [
        ("Who finds all connections in use waits for one.", "a clause without its subject"),
        ("What is left stays. The rest goes.", "a clause without its subject"),
        ("Whatever a caller sends is checked.", "a clause without its subject"),
        ("The fact is decided anew.", '"anew"'),
        ("Jobs, of which one failed, are counted.", '"of which"'),
        ("A discarded letter is none any more.", '"none any more"'),
        ("The probe is refused for want of allowance.", '"for want of"'),
        ("It is public for whoever needs it.", '"whoever"'),
        ("A pool for who listens.", '"for who"'),
        ("The bell stays silent.", '"bell"'),
        ("A drain buries a whole batch.", '"buries"'),
        ("Each letter is replayed.", '"letter"'),
        ("The world is checked afterwards.", '"world"'),
        ("The applied mark is in the commit.", '"applied mark"'),
        (LONG, "27 words, at most 25"),
    ],
)
def test_a_sentence_that_must_be_read_twice_is_reported(sentence, what):
    assert any(what in message for _, message in found("page.md", f"Fine.\n\n{sentence}\n"))


@pytest.mark.parametrize(
    "sentence",
    [
        "If all connections are busy, the call waits for a free one.",
        "What can be done about it?",
        "Three jobs failed, some of which are retried.",
        "The record says whose job it is.",
        "A dead letter has no expiry. Two dead letters share a page.",
        "The id holds letters, digits and dashes.",
        "`emendo:bell:<shard>` is the key, and `anew` a word in code.",
        "lua/steer.lua and mend_all() are names.",
        "The client who calls gets an error.",
        "The gateway and the cluster slot stay.",
        "[The page of errors](docs/who-what-anew.md) says more.",
        FITS,
    ],
)
def test_a_plain_sentence_is_not_reported(sentence):
    assert found("page.md", f"Fine.\n\n{sentence}\n") == []


def test_code_counts_as_one_word_and_a_row_of_names_too():
    names = ", ".join(f"`name_{number}`" for number in range(40))
    assert found("page.md", f"These are names: {names}.\n") == []
    assert prose.words(prose.sentences(prose.Block(1, "Set `a = b + c` in api_client/emendo_client."))[0]) == 4


def test_code_blocks_and_drawings_of_a_page_are_not_read_and_cells_are_read_alone():
    half = " ".join(["word"] * 20)
    page = f"# What it is\n\n```\nanew {LONG}\n```\n\n| what | then |\n|---|---|\n| {half} | {half} |\n| anew | x |\n"
    assert found("page.md", page) == [(10, '"anew" (again)')]


def test_a_sentence_that_ends_with_a_number_is_no_list_item():
    (block,) = prose.markdown_blocks("The licence is Apache-2.0. The module has another one.\n")
    assert prose.sentences(block) == ["The licence is ◊.", "The module has another one."]


def test_a_line_of_a_page_that_begins_with_a_number_or_a_colon_is_no_entry():
    half = " ".join(["word"] * 13)
    page = f"{half}\n3 {half}\n\n{half}\nthem: {half}\n"
    assert found("page.md", page) == [(1, "27 words, at most 25"), (4, "27 words, at most 25")]


def test_list_items_are_read_alone():
    half = " ".join(["word"] * 20)
    assert found("page.md", f"- {half}\n- {half}\n  and more anew\n") == [(2, '"anew" (again)')]


def test_a_module_is_read_where_people_read_it():
    source = '''"""Doc anew."""

VALUE = "anew"  # trailing anew


class Some:
    """What it holds today."""

    suggestion = "do it anew"

    def some(self):
        """Fine.

        Args:
            first: one thing.
            second: of which one.
        """
        # A comment
        # anew, in two lines.
        raise Error("anew", suggestion=f"say {self!r} anew" if self else "fine")
'''
    assert found("module.py", source) == [
        (1, '"anew" (again)'),
        (3, '"anew" (again)'),
        (7, "a clause without its subject"),
        (9, '"anew" (again)'),
        (16, '"of which" (start a new sentence)'),
        (18, '"anew" (again)'),
        (20, '"anew" (again)'),
    ]


def test_a_scripts_comments_are_read_and_its_keys_alone():
    half = " ".join(["word"] * 15)
    source = f"-- {half}\n--\n-- KEYS  1 {half}   2 {half}\n-- ARGV  1 {half}\nlocal a = '-- anew'  -- anew\n"
    assert found("script.lua", source) == [(5, '"anew" (again)')]


def test_the_comments_of_settings_are_read():
    assert found("pyproject.toml", 'a = "# anew"\n# anew\nb = 1  # anew\n') == [
        (2, '"anew" (again)'),
        (3, '"anew" (again)'),
    ]


def test_a_page_of_long_sentences_is_reported_as_a_whole():
    seventeen = " ".join(["word"] * 16)
    page = "\n\n".join(f"Each {seventeen}." for _ in range(8))
    assert found("page.md", page) == [(1, "17.0 words a sentence, at most 16")]


def test_an_exception_names_its_file_and_its_words():
    assert prose.allowed(["# why", "", "docs/page.md\tdecided anew"]) == {("docs/page.md", "decided anew")}


def test_the_command_prints_path_and_line_and_fails(tmp_path, capsys, monkeypatch):
    (tmp_path / "page.md").write_text("Fine.\n\nDecided anew.\n", encoding="utf-8")
    monkeypatch.setattr(prose, "ROOT", tmp_path)
    monkeypatch.setattr(prose, "files", lambda arguments: ["page.md"])
    assert prose.main([]) == 1
    assert capsys.readouterr().out == 'page.md:3: "anew" (again): Decided anew.\n'
    (tmp_path / "page.md").write_text("Decided again.\n", encoding="utf-8")
    assert prose.main([]) == 0
