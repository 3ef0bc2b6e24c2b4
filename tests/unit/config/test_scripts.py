"""The table of Lua scripts: what is declared, what the Lua files use, what the builders send and refuse."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

import emendo_config.store
from emendo_config.store import scripts
from emendo_config.store.scripts import declaration
from emendo_config.store.scripts.declaration import Key, KeyList, Number, OptionalKey, Rows, Values, script

LUA = Path(emendo_config.store.__file__).parent / "lua"
CONFIG = Path(emendo_config.store.__file__).parents[2]
NAMES = sorted(scripts.TABLE)


def code(path: Path) -> str:
    """A Lua file without its comments and its texts."""
    return re.sub(r"'[^']*'", "''", re.sub(r"--.*", "", path.read_text(encoding="utf-8")))


@pytest.fixture
def declare(monkeypatch):
    """Declares a script for one test, which has no file and is not in the table."""
    monkeypatch.setattr(declaration, "_read", lambda name: "")

    def declare(stub, **more):
        declared = script(reply=int, **more)(stub)
        del scripts.TABLE[stub.__name__]
        return declared

    return declare


def test_every_lua_file_is_declared_and_every_declaration_has_its_file():
    assert {path.stem for path in LUA.glob("*.lua")} == set(scripts.TABLE)
    shared = {name for declared in scripts.TABLE.values() for name in declared.shared}
    assert {path.stem for path in (LUA / "shared").glob("*.lua")} == shared


def test_every_script_is_called_by_its_name_in_the_table():
    assert {name for name in NAMES if getattr(scripts, name) is scripts.TABLE[name]} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_script_uses_every_name_that_its_declaration_gives_it(name):
    declared = scripts.TABLE[name]
    text = code(LUA / f"{name}.lua")
    words = set(re.findall(r"\w+", text))
    found = declared.parameters
    lists = {f"{each}_{end}" for each in found.lists for end in ("from", "to")}
    unused = {*found.keys, *found.arguments, *lists, *declared.constants} - words
    assert unused == set()
    if found.tail is not None:
        fields = ["key"] if not found.row else [*found.row]
        if found.has_row_lists:
            fields[-1:] = [f"{fields[-1]}_from", f"{fields[-1]}_to"]
        assert f"for {', '.join(fields)} in {found.tail} do" in text
    for shared in declared.shared:
        functions = set(re.findall(r"^local function (\w+)", code(LUA / "shared" / f"{shared}.lua"), re.MULTILINE))
        others = {word for each in declared.shared for word in re.findall(r"\w+", code(LUA / "shared" / f"{each}.lua"))}
        assert functions & (words | (others if shared == "allowed" else set())), (
            f"{shared} is declared, and none of its functions is called"
        )


@pytest.mark.parametrize("name", NAMES)
def test_a_script_names_its_keys_and_arguments_instead_of_counting_them(name):
    text = code(LUA / f"{name}.lua")
    assert re.findall(r"(?:KEYS|ARGV)\[\d", text) == []


@pytest.mark.parametrize("name", NAMES)
def test_a_script_says_at_its_head_what_it_returns(name):
    head = (LUA / f"{name}.lua").read_text(encoding="utf-8")
    assert head.startswith("-- ")
    assert re.search(r"^-- Returns ", head, re.MULTILINE)


def test_a_key_or_argument_that_is_missing_unknown_or_nameless_is_refused():
    with pytest.raises(TypeError, match="lease_ms"):
        scripts.claim(wakeup="w", owner="o")
    with pytest.raises(TypeError, match="wakeup"):
        scripts.claim(owner="o", lease_ms=1)
    with pytest.raises(TypeError, match="other"):
        scripts.claim(wakeup="w", owner="o", lease_ms=1, other=2)
    with pytest.raises(TypeError, match="claim"):
        scripts.claim("w", "o", 1)


MISUSES = """\
from emendo_config.store import scripts

scripts.claim(wakeup="w", owner="o", lease_ms=1)
scripts.claim(wakeup="w", owner="o")  # refused: call-arg
scripts.claim(owner="o", lease_ms=1)  # refused: call-arg
scripts.claim(wakeup="w", owner=1, lease_ms=1)  # refused: arg-type
scripts.claim("w", "o", 1)  # refused: call-arg
scripts.claim(wakeup="w", owner="o", lease_ms=1, other=1)  # refused: call-arg
scripts.start(token="t", worker="w", records=[("record", "job")])  # refused: list-item
wait: str = scripts.reserve.reply([]).wait_ms  # refused: assignment
"""


@pytest.mark.slow  # a type check without a cache
def test_the_type_checker_refuses_misuse_too(tmp_path):
    program = tmp_path / "misuses.py"
    program.write_text(MISUSES, encoding="utf-8")
    settings = tmp_path / "mypy.ini"
    settings.write_text(
        f"[mypy]\nstrict = true\nmypy_path = {CONFIG}\nexplicit_package_bases = true\n", encoding="utf-8"
    )
    command = [sys.executable, "-m", "mypy", "--config-file", settings, "--cache-dir", tmp_path / "cache", program]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    refused = {
        int(line): code for line, code in re.findall(r":(\d+): error: .*\[([\w-]+)\]$", found.stdout, re.MULTILINE)
    }
    expected = {
        number: line.partition("# refused: ")[2]
        for number, line in enumerate(MISUSES.splitlines(), 1)
        if "# refused" in line
    }
    assert refused == expected, found.stdout + found.stderr


class Pair(NamedTuple):
    record: Key
    payload: str
    entry: Values


def test_what_is_sent_stands_in_the_order_of_the_declaration(declare):
    def move(
        *, source: Key, target: Key, count: int, is_last: bool, share: Number, fields: Values, pairs: Rows[Pair]
    ) -> None: ...

    move = declare(move)
    command = move(
        source="s",
        target="t",
        count=3,
        is_last=True,
        share=0.5,
        fields=["a", 1],
        pairs=[Pair("r1", "p1", []), Pair("r2", "p2", [b"x"])],
    )
    digest = command[1]
    keys, arguments = ("s", "t", "r1", "r2"), (3, 1, 0.5, 2, "a", 1, "p1", 0, "p2", 1, b"x")
    assert command == ("EVALSHA", digest, 4, *keys, *arguments)
    assert move.runs_in(command)
    assert not scripts.claim.runs_in(command)


def test_the_preamble_names_what_is_sent(declare):
    def move(*, source: Key, is_last: bool, share: Number, applied: KeyList) -> None: ...

    lines = declare(move, constants={"PLACE": 2, "prefix": "p:", "names": ("a", "b")}).preamble.split("\n")
    assert lines[:6] == [
        "local source = KEYS[1]",
        "local is_last = ARGV[1] == '1'",
        "local share = tonumber(ARGV[2])",
        "local PLACE = 2",
        "local prefix = 'p:'",
        "local function names() return 'a', 'b' end",
    ]
    assert "local applied_first_key = 2" in lines


def test_keys_that_are_not_given_are_not_sent_and_leave_no_gap():
    one = {name: name for name in ("job", "inbox", "wakeup", "jobs", "clock", "shards", "job_id", "shard", "woken_by")}
    one |= {"wakeup_ttl_ms": 1, "fingerprint": "", "idempotency_ttl": 1, "full": "", "record": []}

    def keys(**more):
        command = scripts.accept(**one, **more)
        return command[3 : 3 + command[2]]

    assert keys() == ("job", "inbox", "wakeup", "jobs", "clock", "shards")
    assert keys(idempotency="i")[6:] == ("i",)
    assert keys(migration="m")[6:] == ("job", "m")
    assert keys(idempotency="", migration="")[6:] == ()


def test_no_command_has_a_key_without_a_name(declare):
    def move(*, source: Key, target: OptionalKey, index: OptionalKey, pairs: Rows[Pair]) -> None: ...

    move = declare(move)
    for missing in (None, ""):
        command = move(source="s", target=missing, index="i", pairs=[Pair("r", "p", [])])
        assert command[2:7] == (4, "s", "s", "i", "r")
    assert "local target = KEYS[2] ~= KEYS[1] and KEYS[2] or ''" in move.preamble


def test_the_first_key_is_never_optional(declare):
    def move(*, source: OptionalKey = None, target: Key) -> None: ...

    with pytest.raises(TypeError, match="first key"):
        _ = declare(move).parameters


def test_a_script_that_only_reads_goes_through_the_command_that_lets_it_only_read(declare):
    def look(*, memory: Key) -> None: ...

    looking = declare(look, reads_only=True)
    assert looking(memory="m")[0] == looking.at_limit(memory="m")[0] == "EVALSHA_RO"
    assert looking.runs_in(looking(memory="m"))


def test_scripts_that_write_nothing_are_declared_so():
    writes = re.compile(
        r"'(SET|DEL|UNLINK|RENAME|PUBLISH|[HX]?INCR\w*|P?EXPIRE\w*|PERSIST|FT\.ALIAS\w+|H(SET|SETNX|DEL|INCRBY)|[LR]PUSH|LPOP"
        r"|S(ADD|REM)|Z(ADD|REM\w*)|X(ADD|ACK|DEL|GROUP|CLAIM|TRIM))'"
    )
    reading = {name for name, declared in scripts.TABLE.items() if not writes.search(declared.text)}
    assert reading == {name for name, declared in scripts.TABLE.items() if declared.reads_only}
    assert reading == {"read_history", "read_memory"}


def test_no_script_takes_a_channel_for_a_key():
    keys = {(name, key) for name, declared in scripts.TABLE.items() for key in declared.parameters.keys}
    assert not {(name, key) for name, key in keys if "channel" in key or "prefix" in key}


def test_a_number_that_is_not_known_is_sent_as_nothing():
    found = scripts.discard.parameters
    letter = {name: name for name in (*found.keys, *found.arguments) if name not in ("ttl", "failed_at")}
    assert scripts.discard(**letter, ttl=1, failed_at=None)[-1] == ""
    assert scripts.discard(**letter, ttl=1, failed_at=0)[-1] == 0


def test_a_declaration_in_another_order_is_refused(declare):
    def lists_first(*, fields: Values, source: Key) -> None: ...
    def two_tails(*, applied: KeyList, pairs: Rows[Pair]) -> None: ...

    for stub in (lists_first, two_tails):
        with pytest.raises(TypeError, match="keys come first"):
            _ = declare(stub).parameters


def test_a_row_in_another_order_is_refused(declare):
    def move(*, rows: Rows[Mixed]) -> None: ...

    with pytest.raises(TypeError, match="a row has keys"):
        _ = declare(move).parameters


class Mixed(NamedTuple):
    payload: str
    record: Key
