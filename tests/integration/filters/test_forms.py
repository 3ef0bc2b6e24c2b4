"""Each form of a filter finds what it says: by search and get_all, of both clients."""

from __future__ import annotations

import pytest

from emendo_client import AsyncMemoryClient
from emendo_client.errors import ValidationError
from emendo_client.requests.filtering.conditions import OPERATORS
from emendo_client.requests.filtering.grammar import LOGICAL
from emendo_client.requests.filters import scoped
from emendo_client.times import iso, microseconds_of
from tests.support.filter_forms import CREATED, FORMS, MEMORIES
from tests.support.intake import drain_all

USER = "ana"


@pytest.fixture
def names(services, client):
    """The memories' names by their ids."""
    found = {}
    for name, more in MEMORIES.items():
        client.add(name, user_id=USER, infer=False, **more)
        drain_all(services)
    for memory in client.get_all(USER).results:
        found[memory.id] = memory.memory
        created = iso(microseconds_of(CREATED[list(MEMORIES).index(memory.memory)]))
        services.data.hset(services.keys.memory(memory.id), "created_at", created)
    return found


def test_each_form_finds_what_it_says(client, names):
    for form in FORMS:
        listed = client.get_all(USER, filters=form.example)
        assert {names[memory.id] for memory in listed.results} == form.finds, form
        assert listed.total == len(form.finds), form
        assert {names[hit.id] for hit in client.search("places", USER, filters=form.example)} == form.finds, form


async def test_the_asyncio_client_finds_the_same(settings, names):
    async with AsyncMemoryClient(settings) as client:
        for form in FORMS:
            listed = await client.get_all(USER, filters=form.example)
            assert {names[memory.id] for memory in listed.results} == form.finds, form
            hits = await client.search("places", USER, filters=form.example)
            assert {names[hit.id] for hit in hits} == form.finds, form


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.spelling}-{form.operator}")
def test_the_table_says_what_the_index_decides_alone(form):
    wanted = scoped("p", USER, None, None, form.example, all_users=False)
    assert (wanted.residual is None) is form.is_indexed


def test_the_table_has_every_operator():
    assert {form.operator for form in FORMS} == {*OPERATORS, *LOGICAL}


def test_a_delete_of_a_part_of_a_scope_takes_what_the_filter_finds(services, client, names):
    assert client.delete_all(USER, filters={"metadata": {"price": {"gt": 100}}}) is None
    client.delete_all(USER, filters={"metadata": {"price": {"gte": 6}}})
    drain_all(services)
    assert {memory.memory for memory in client.get_all(USER).results} == {"shop", "bare"}
    client.delete_all(filters={"AND": [{"user_id": USER}, {"metadata": {"price": 5}}]})
    drain_all(services)
    assert {memory.memory for memory in client.get_all(USER).results} == {"bare"}


@pytest.mark.parametrize("filters", [{}, {"metadata": {}}])
def test_a_filter_without_a_condition_deletes_nothing(filters, client):
    with pytest.raises(ValidationError, match="no condition"):
        client.delete_all(USER, filters=filters)
