"""A project's rules for inference: set and read by both clients and the command line, read by workers."""

from __future__ import annotations

import json

import pytest

from emendo_client import AsyncMemoryClient, MemoryClient, ProjectRules
from emendo_client.errors import ValidationError
from emendo_client.requests.content import MAX_CATEGORIES, MAX_CATEGORY_CHARS, MAX_INSTRUCTIONS_CHARS
from emendo_workers.inference.rules import rules_of
from emendo_workers.inference.types import Rules

PETS = "Remember pets; leave out prices.\n„Zitate“ und 🐈 gehören dazu."


def test_a_project_without_rules_asks_for_nothing(services, client):
    assert client.project_rules() == ProjectRules(instructions="", categories=[])
    assert rules_of(services.store, client.project) == Rules()


def test_what_is_set_reads_back_and_reaches_the_workers(services, client):
    rules = client.set_project_rules(instructions=PETS, categories=("food", "Süßes & mehr"))
    assert rules == client.project_rules() == ProjectRules(instructions=PETS, categories=["food", "Süßes & mehr"])
    assert rules_of(services.store, client.project) == Rules(PETS, ("food", "Süßes & mehr"))


def test_none_leaves_as_it_is_and_empty_removes(services, client):
    client.set_project_rules(instructions=PETS, categories=["food"])
    assert client.set_project_rules(categories=["pets"]) == ProjectRules(instructions=PETS, categories=["pets"])
    assert client.set_project_rules(instructions="") == ProjectRules(categories=["pets"])
    assert client.set_project_rules(categories=[]) == ProjectRules()
    assert rules_of(services.store, client.project) == Rules()


def test_projects_keep_their_rules_apart(services, client):
    """Any character may be in a project's name."""
    client.set_project_rules(instructions="ours")
    for name in (f"{client.project}:instructions", "*", "a b"):
        with MemoryClient(services.settings, project=name) as stranger:
            assert stranger.project_rules() == ProjectRules()
            stranger.set_project_rules(categories=["theirs"])
            assert rules_of(services.store, name) == Rules(categories=("theirs",))
    assert rules_of(services.store, client.project) == Rules("ours")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, "nothing to set"),
        ({"instructions": " \n"}, "instructions is empty"),
        ({"instructions": 7}, "instructions is of type int"),
        ({"instructions": "x" * (MAX_INSTRUCTIONS_CHARS + 1)}, "4001 characters; the limit is 4000"),
        ({"instructions": "a\x00b"}, r"U\+0000 at position 1"),
        ({"categories": "food"}, "categories is of type str"),
        ({"categories": {"food": 1}}, "categories is of type dict"),
        ({"categories": [f"c{n}" for n in range(MAX_CATEGORIES + 1)]}, "51 names; the limit is 50"),
        ({"categories": ["food", 7]}, r"categories\[1\] is of type int"),
        ({"categories": [None]}, r"categories\[0\] is of type NoneType"),
        ({"categories": [""]}, r"categories\[0\] is empty"),
        ({"categories": [" food"]}, "white space at an end"),
        ({"categories": ["a\nb"]}, r"U\+000A"),
        ({"categories": ["x" * (MAX_CATEGORY_CHARS + 1)]}, "65 characters; the limit is 64"),
        ({"categories": ["food", "FOOD"]}, "a name twice"),
    ],
)
def test_bad_rules_are_refused_and_leave_the_old_ones(client, wrong, says):
    client.set_project_rules(instructions="old", categories=["old"])
    with pytest.raises(ValidationError, match=says):
        client.set_project_rules(**{"instructions": "new", **wrong} if "categories" in wrong else wrong)
    assert client.project_rules() == ProjectRules(instructions="old", categories=["old"])


def test_rules_at_the_limits_are_taken(client):
    categories = [f"{n:02}".ljust(MAX_CATEGORY_CHARS, "x") for n in range(MAX_CATEGORIES)]
    rules = client.set_project_rules(instructions="x" * MAX_INSTRUCTIONS_CHARS, categories=categories)
    assert (len(rules.instructions), rules.categories) == (MAX_INSTRUCTIONS_CHARS, categories)


async def test_the_async_client_reads_and_sets_the_same(client, emendo_settings):
    async with AsyncMemoryClient(emendo_settings) as twin:
        assert await twin.set_project_rules(instructions="both") == client.project_rules()
        client.set_project_rules(categories=["food"])
        assert await twin.project_rules() == ProjectRules(instructions="both", categories=["food"])
        with pytest.raises(ValidationError):
            await twin.set_project_rules()


def test_the_command_line_shows_and_sets_them(cli, emendo_settings):
    rules = ["project", "rules"]
    code, out, _ = cli(emendo_settings, *rules)
    assert (code, out.splitlines()[1:]) == (0, ["instructions: none", "categories: none"])
    code, out, _ = cli(
        emendo_settings, *rules, "set", "--instructions", PETS, "--category", "food", "--category", "a b"
    )
    assert code == 0
    assert f"instructions: {PETS}\ncategories: food, a b\n" in out
    code, out, _ = cli(emendo_settings, *rules, "set", "--no-categories", "--json")
    assert (code, json.loads(out)) == (0, {"instructions": PETS, "categories": []})
    code, out, _ = cli(emendo_settings, *rules, "set", "--instructions", "", "--category", "food", "--json")
    assert json.loads(out) == {"instructions": "", "categories": ["food"]}
    assert json.loads(cli(emendo_settings, *rules, "--json")[1]) == {"instructions": "", "categories": ["food"]}


@pytest.mark.parametrize(
    "words", [["set"], ["set", "--category", "a", "--no-categories"], ["set", "--nonsense"], ["nonsense"]]
)
def test_wrong_usage_is_2(cli, emendo_settings, words):
    code, _, err = cli(emendo_settings, "project", "rules", *words)
    assert (code, bool(err)) == (2, True)


def test_a_refused_rule_is_1_and_says_so_as_json(cli, emendo_settings):
    code, out, err = cli(emendo_settings, "project", "rules", "set", "--category", "a", "--category", "A", "--json")
    assert (code, out, json.loads(err)["code"]) == (1, "", "VALIDATION")
