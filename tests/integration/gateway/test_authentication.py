"""Many keys and many requests at one moment: each is checked, few questions are asked, and little is remembered."""

from __future__ import annotations

import asyncio
from functools import partial

import pytest

from emendo_client.errors import AuthenticationError, RateLimitError, TransientError
from emendo_config import Keys
from emendo_config.store.connections import connect_async
from emendo_config.store.scripts import run_async
from emendo_gateway.callers import Caller
from emendo_gateway.keys import authentication
from emendo_gateway.rates import Rates
from tests.support.gateway import make_key
from tests.support.patience import PATIENCE


async def test_requests_of_one_moment_ask_for_their_key_once(emendo_settings):
    """Each question takes a connection: a thousand waits that begin together would use up the pool."""
    asked = []
    keys, (key, _) = Keys(emendo_settings.key_prefix), make_key(emendo_settings)
    async with connect_async(emendo_settings.control_url, emendo_settings) as connection:

        async def control(commands):
            asked.append(commands)
            return await run_async(connection, commands)

        authenticator = authentication.Authenticator(control, keys, Rates(connection, keys), 30)
        calls = [authenticator.caller([f"Bearer {key}".encode()], "127.0.0.1") for _ in range(100)]
        callers = await asyncio.gather(*calls)
        assert {caller.project for caller in callers} == {"acme"}
        assert len(asked) == 2  # for the key, and to note its use
        other = authentication.Authenticator(control, keys, Rates(connection, keys), 30)
        await other.caller([f"Bearer {key}".encode()], "127.0.0.1")
        assert len(asked) == 3, "its use was just noted"


async def test_what_is_remembered_of_keys_is_bounded(emendo_settings, monkeypatch):
    monkeypatch.setattr(authentication, "_MOST_REMEMBERED", 2)
    keys = Keys(emendo_settings.key_prefix)
    async with connect_async(emendo_settings.control_url, emendo_settings) as connection:
        control = partial(run_async, connection)
        authenticator = authentication.Authenticator(control, keys, Rates(connection, keys), 30)
        for _ in range(4):
            await authenticator.caller([f"Bearer {make_key(emendo_settings)[0]}".encode()], "127.0.0.1")
    assert (len(authenticator._known), len(authenticator._noted)) == (2, 2)


async def test_who_waits_long_for_others_of_its_address_is_told_so(emendo_settings, monkeypatch):
    monkeypatch.setattr(authentication, "_LONGEST_TURN", 0.01)
    keys = Keys(emendo_settings.key_prefix)
    first, second = ([f"Bearer {make_key(emendo_settings)[0]}".encode()] for _ in range(2))
    asked, answers = asyncio.Event(), asyncio.Event()
    async with connect_async(emendo_settings.control_url, emendo_settings) as connection:

        async def control(commands):
            asked.set()
            await answers.wait()
            return await run_async(connection, commands)

        authenticator = authentication.Authenticator(control, keys, Rates(connection, keys), 2)  # so one at once
        waiting = asyncio.ensure_future(authenticator.caller(first, "192.0.2.7"))
        await asked.wait()
        with pytest.raises(TransientError) as refused:
            await authenticator.caller(second, "192.0.2.7")
        assert refused.value.error_code == "OVERLOADED"
        answers.set()
        monkeypatch.setattr(authentication, "_LONGEST_TURN", PATIENCE)
        assert {(await waiting).project, (await authenticator.caller(second, "192.0.2.7")).project} == {"acme"}


async def test_wrong_keys_of_one_moment_do_not_pass_the_limit_together(emendo_settings):
    keys = Keys(emendo_settings.key_prefix)
    right = [make_key(emendo_settings)[0] for _ in range(20)]
    async with connect_async(emendo_settings.control_url, emendo_settings) as connection:

        async def control(commands):
            return await run_async(connection, commands)

        authenticator = authentication.Authenticator(control, keys, Rates(connection, keys), 10)

        async def ask(texts):
            fields = [[f"Bearer {text}".encode()] for text in texts]
            calls = (authenticator.caller(each, "192.0.2.7") for each in fields)
            return [type(each) for each in await asyncio.gather(*calls, return_exceptions=True)]

        assert set(await ask(right)) == {Caller}, "right keys are refused for one another's sake"
        wrong = [f"em_{number:016x}_{'x' * 43}" for number in range(60)]
        found = await ask(wrong)
        assert (found.count(AuthenticationError), found.count(RateLimitError)) == (10, 50)
