"""A project has at most half of what all share, as long as another project is there."""

from __future__ import annotations

import pytest

from emendo_client.errors import TransientError
from emendo_gateway.admission.shares import Neighbours, Shares


def has_room(shares: Shares, project: str, now: float) -> bool:
    try:
        shares.require_room(project, now)
    except TransientError:
        return False
    return True


@pytest.mark.parametrize(
    ("came", "expected"),
    [
        ([("a", 100)], True),
        ([("b", 41)], False),
        ([("b", 40)], True),  # a minute ago
        ([("b", 90), ("a", 95), ("a", 100)], False),
        ([("b", 10), ("a", 95), ("a", 100)], True),
        ([("b", 10), ("a", 20), ("c", 50), ("a", 100)], False),
        ([], True),
    ],
)
def test_a_neighbour_counts_for_a_minute(came, expected):
    neighbours = Neighbours()
    shares = Shares(neighbours, "places", 2)
    for project, at in came:
        neighbours.note(project, at)
    shares.take("a", 2)
    assert has_room(shares, "a", 100)
    shares.take("a", 1)
    assert has_room(shares, "a", 100) is expected
    assert has_room(shares, "b", 100)


def test_what_is_given_back_may_be_taken_again_and_leaves_no_trace():
    neighbours = Neighbours()
    shares = Shares(neighbours, "places", 1)
    neighbours.note("b", 1)
    for _ in range(3):
        with shares.one("a", 1):
            with pytest.raises(TransientError), shares.one("a", 1):
                pass
            with shares.one("b", 1):
                pass
    assert not shares._held
