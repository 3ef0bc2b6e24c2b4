"""Nested scopes never infer at once: where they are shared, a broader one knows the memories of a narrower one."""

from __future__ import annotations

import pytest

from emendo_client.requests.operations import scope_name
from emendo_workers.inference.scope import broader_scopes, locked
from tests.support.inferring import memories, with_chat
from tests.support.intake import drain, drain_all, let_time_pass, reconfigure

USER = scope_name("default", "ana", None, None)
AGENT = scope_name("default", None, "cook", None)
BOTH = scope_name("default", "ana", "cook", None)
OTHERS = scope_name("default", "bob", "cook", None)
ALL = scope_name("default", "ana", "cook", "run 1")


@pytest.fixture
def settings(emendo_settings, openai_server):
    return with_chat(emendo_settings, openai_server)


def keys_of(services) -> list[str]:
    return [raw.decode() for raw in services.data.scan_iter(match=f"{services.settings.key_prefix}scope-*")]


def test_the_broader_scopes_are_those_with_fewer_ids():
    assert broader_scopes(USER) == []
    assert set(broader_scopes(BOTH)) == {USER, AGENT}
    assert len(broader_scopes(ALL)) == 6


@pytest.mark.parametrize(
    ("first", "second", "both"),
    [
        (USER, USER, False),
        (USER, BOTH, False),
        (BOTH, USER, False),
        (AGENT, BOTH, False),
        (ALL, USER, False),
        (ALL, BOTH, False),
        (BOTH, OTHERS, True),
        (USER, AGENT, True),
        (USER, OTHERS, True),
    ],
)
def test_nested_scopes_exclude_each_other_and_no_others(services, first, second, both):
    with locked(services, [first]) as held:
        assert held == {first}
        with locked(services, [second]) as more:
            assert more == ({second} if both else set())
    with locked(services, [second]) as held:
        assert held == {second}


def test_one_batch_does_not_hold_nested_scopes_either(services):
    with locked(services, [BOTH, USER, OTHERS]) as held:
        assert held == {BOTH, OTHERS}


def test_a_broad_scope_has_its_turn_however_many_narrower_ones_come(services):
    with locked(services, [BOTH]), locked(services, [AGENT]) as held:
        assert held == set()
    with locked(services, [OTHERS]) as held:
        assert held == set(), "the broader scope waits"
    with locked(services, [AGENT]) as held:
        assert held == {AGENT}
    with locked(services, [OTHERS]) as held:
        assert held == {OTHERS}


def test_a_worker_that_died_blocks_nobody_and_nothing_stays(services):
    with locked(services, [BOTH]):
        lock = next(name for name in keys_of(services) if "scope-lock" in name)
        services.data.delete(lock)
    with locked(services, [USER]) as held:
        assert held == {USER}
    left = [name for name in keys_of(services) if services.data.ttl(name) == -1]
    assert left == []


def test_a_fact_that_is_told_to_nested_scopes_at_once_is_stored_once(services, client, model):
    reconfigure(services, inference_shared_scopes=True)
    narrow = client.add("I sing.", user_id="ana", agent_id="cook")
    broad = client.add("I sing.", user_id="ana")
    seen = []

    def meanwhile(_stage) -> None:
        with locked(services, [USER]) as held:
            seen.append(held)

    model.before = meanwhile
    drain(services, narrow)
    assert seen, "the model was asked"
    assert not any(seen), "the broad add cannot begin meanwhile"
    model.before = lambda _stage: None
    for _ in range(3):
        drain_all(services)
        let_time_pass(services)
    assert [broad.wait(1).status, narrow.wait(1).status] == ["succeeded", "succeeded"]
    assert memories(client) == ["I sing."]
