"""`--filter` of the commands that read memories: conditions as they are typed, and the library's filter in JSON."""

from __future__ import annotations

import json

import pytest

from emendo_client import MemoryClient
from tests.support.patience import PATIENCE

MEALS = {
    "a cheap lunch": {"topic": "food", "price": 7, "zip": "10115", "tags": ["red", "hot"], "a=b": True},
    "a dear dinner": {"topic": "food", "price": 80.5, "zip": 10115, "done": True},
    "a painting": {"topic": "art", "price": 1_000, "name": "*"},
}


@pytest.fixture(scope="module")
def meals(emendo_worker):
    """Three memories of a user called 7, which no test changes, and one of somebody else."""
    with MemoryClient(emendo_worker) as client:
        jobs = [client.add(text, "7", "filtering", metadata=each, infer=False) for text, each in MEALS.items()]
        jobs.append(client.add("a walk", "other", "filtering", infer=False))
        for job in jobs:
            job.wait(PATIENCE, raise_on_failure=True)
    return emendo_worker


@pytest.fixture
def found(cli, meals):
    """The texts that a command finds."""

    def call(*words: str) -> list[str]:
        code, out, err = cli(meals, *words, "--json")
        assert code == 0, err
        document = json.loads(out)
        return sorted(each["memory"] for each in (document if isinstance(document, list) else document["results"]))

    return call


CHEAP, DEAR, PAINTING = MEALS
CASES = [
    (["metadata.topic=food"], [CHEAP, DEAR]),
    (["metadata.topic!=food"], [PAINTING]),
    (["metadata.price<=80.5"], [CHEAP, DEAR]),
    (["metadata.price<80.5"], [CHEAP]),
    (["metadata.price>=80.5"], [DEAR, PAINTING]),
    (["metadata.price > 80.5"], [PAINTING]),
    (["metadata.topic=food", "metadata.price>=8"], [DEAR]),
    (["metadata.price>=7", "metadata.price<1000", "metadata.topic=food"], [CHEAP, DEAR]),
    (["metadata.tags=red", "metadata.tags=hot"], [CHEAP]),
    (["metadata.tags=red", "metadata.tags=cold"], []),
    (['metadata.topic=["food", "art"]', "metadata.price>50"], [DEAR, PAINTING]),
    (['metadata.topic!=["art"]'], [CHEAP, DEAR]),
    (["metadata.zip=10115"], [DEAR]),
    (['metadata.zip="10115"'], [CHEAP]),
    (["metadata.done=true"], [DEAR]),
    (["metadata.done=null"], [CHEAP, PAINTING]),
    (["metadata.name=*"], [PAINTING]),
    (["metadata.name=*", "metadata.price>0"], [PAINTING]),
    (["metadata.name=NaN"], []),
    (["metadata.name==*"], []),
    (["created_at>=2020-01-01"], list(MEALS)),
    (["created_at<2020-01-01"], []),
    (["agent_id=filtering", "metadata.topic=art"], [PAINTING]),
    (['{"OR": [{"metadata": {"price": {"gt": 100}}}, {"metadata": {"a=b": true}}]}'], [CHEAP, PAINTING]),
    (['  {"NOT": {"metadata": {"topic": "food"}}}'], [PAINTING]),
]


@pytest.mark.parametrize(("conditions", "expected"), CASES, ids=[" & ".join(each) for each, _ in CASES])
def test_what_a_filter_finds(found, conditions, expected):
    given = [word for each in conditions for word in ("--filter", each)]
    assert found("list", "--user", "7", *given) == sorted(expected)
    assert found("search", "-5 meals", "--user", "7", *given) == sorted(expected)


def test_a_filter_counts_and_may_be_the_scope(cli, meals, found):
    assert found("list", "--filter", "user_id=7", "--filter", "metadata.topic=art") == [PAINTING]
    assert len(found("search", "anything", "--filter", 'user_id=["7", "other"]', "--filter", "agent_id=filtering")) == 4
    code, out, err = cli(meals, "count", "--filter", '{"user_id": "7", "metadata": {"topic": "food"}}')
    assert (code, out) == (0, "2\n"), err


@pytest.mark.parametrize(
    ("conditions", "says"),
    [
        (["topic=food"], "for a key of the metadata: metadata.topic"),
        (["nonsense"], "'nonsense' is no condition such as 'metadata.price<=12'"),
        (["=food"], "is no condition"),
        ([""], "is no condition"),
        (["{nonsense"], "is not JSON"),
        (["metadata.a=1", '{"role": "user"}'], "stands alone"),
        (["metadata.a={}"], "--filter['metadata']"),
        (["user_id>[1]"], "--filter['user_id']"),
        (["created_at>=soon"], "--filter['created_at']"),
        (["metadata.price>=1"], "whose memories? Give --user"),
        (['{"topic": "food"}'], "--filter has an unknown field"),
    ],
)
@pytest.mark.parametrize("command", [("list",), ("search", "x"), ("count",)], ids=lambda words: words[0])
def test_a_filter_that_cannot_be_read_says_what_is_wrong(cli, emendo_worker, command, conditions, says):
    code, out, err = cli(emendo_worker, *command, *(word for each in conditions for word in ("--filter", each)))
    assert (code in (1, 2), out) == (True, "")
    assert says in err, err
    assert "Traceback" not in err
