"""Lua scripts in a real Redis: each one compiles, a forgotten one is loaded, and Lua builds the formats of Python."""

from __future__ import annotations

from pathlib import Path

import pytest

from emendo_config.store import formats, scripts
from emendo_config.store.connections import connect, connect_async
from emendo_config.store.scripts import execution

SHARED = Path(formats.__file__).parent / "lua" / "shared"


@pytest.fixture
def connection(emendo_settings):
    with connect(emendo_settings.control_url, emendo_settings) as connection:
        yield connection


@pytest.fixture
def forgotten(connection, emendo_settings):
    """A command whose script Redis does not have: no other test declares it."""
    connection.script_flush()
    return scripts.take(lease=f"{emendo_settings.key_prefix}lease", token="token", ttl_ms=60_000)


@pytest.mark.parametrize("name", sorted(scripts.TABLE))
def test_every_script_compiles_under_the_digest_it_is_called_by(connection, name):
    declared = scripts.TABLE[name]
    assert connection.script_load(declared.text) == declared.digest


def test_a_forgotten_script_is_loaded_and_no_other_one(redis_alone, emendo_settings):
    """A shared Redis would have the scripts of workers that other tests left running."""
    with connect(redis_alone.url, emendo_settings) as connection:
        lease = scripts.take(lease="lease", token="token", ttl_ms=60_000)
        assert scripts.run(connection, [("PING",), lease]) == [True, 1]
        known = {name for name, each in scripts.TABLE.items() if connection.script_exists(each.digest) == [True]}
    assert known == {"take"}


async def test_a_forgotten_script_is_loaded_by_the_asyncio_twin(emendo_settings, forgotten):
    async with connect_async(emendo_settings.control_url, emendo_settings) as connection:
        assert await scripts.run_async(connection, [forgotten]) == [1]
        assert await scripts.run_async(connection, []) == []


def test_nothing_to_send_takes_no_round_trip(connection, monkeypatch):
    monkeypatch.setattr(execution, "round_trip", None)
    assert scripts.run(connection, []) == []


def evaluate(connection, name, expression, *arguments):
    """The value of a Lua expression, where the functions of a shared file are known."""
    functions = (SHARED / f"{name}.lua").read_text(encoding="utf-8")
    return connection.eval(f"{functions}\nreturn {expression}", 0, *arguments).decode()


@pytest.mark.parametrize("record_id", ["job", "job:12"])
def test_a_delayed_member_is_the_same_in_lua_and_python(connection, record_id):
    found = evaluate(connection, "delayed_member", "delayed_member(ARGV[1], ARGV[2])", "bulk-3", record_id)
    assert found == formats.delayed_member("bulk-3", record_id)


@pytest.mark.parametrize("listed", ["", "a", "a,c", "a,b,c"])
def test_the_list_of_spaces_is_the_same_in_lua_and_python(connection, listed):
    left = "spaces_value((listed_without(ARGV[1], 'b')))"
    assert evaluate(connection, "listed_spaces", left, listed) == formats.spaces_value(
        formats.listed_spaces(listed) - {"b"}
    )
