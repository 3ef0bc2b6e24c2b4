"""How a page of memories is cut into chunks."""

from __future__ import annotations

import pytest

from emendo_workers.reembedding.passes import _evenly


@pytest.mark.parametrize("count", [0, 1, 2, 7, 8, 9, 16, 17, 63, 64, 65])
@pytest.mark.parametrize("most", [1, 8, 64])
def test_chunks_are_as_few_as_can_be_and_nearly_alike(count, most):
    ids = [str(number) for number in range(count)]
    parts = _evenly(ids, most)
    assert [each for part in parts for each in part] == ids
    assert len(parts) == -(-count // most)
    assert all(parts), "none is empty"
    assert max(map(len, parts), default=0) <= most


def test_no_shard_gets_the_small_rests_of_all_pages():
    """Cut into full chunks, each page would end in one of 152 memories, which every other shard never gets."""
    assert [len(part) for part in _evenly([""] * 2_200, 256)] == [245] * 8 + [240]
