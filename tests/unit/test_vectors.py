"""Vectors as bytes: only numbers get in; the process keeps as many as it may."""

from __future__ import annotations

import array
import base64
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emendo_client.embeddings.lru import OVERHEAD, VectorLRU
from emendo_client.embeddings.vectors import is_finite, little_endian

floats = st.floats(width=32)


@given(st.lists(floats, min_size=1, max_size=40))
def test_a_vector_is_finite_when_each_element_is(elements):
    assert is_finite(array.array("f", elements).tobytes()) is all(map(math.isfinite, elements))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 700, 1535])
def test_one_element_that_is_no_number_is_found_wherever_it_stands(bad, place):
    elements = array.array("f", [3.4e38, -3.4e38] * 768)
    assert is_finite(elements.tobytes())
    elements[place] = bad
    assert not is_finite(elements.tobytes())


def test_base64_and_lists_give_the_same_bytes():
    numbers = array.array("f", [0.5, -1.25, 3.0])
    assert (
        little_endian(base64.b64encode(numbers.tobytes()).decode())
        == numbers.tobytes()
        == little_endian([0.5, -1.25, 3.0])
    )


@pytest.mark.parametrize("broken", ["AAA=", "!!!!", [1.0, math.nan], ["x"], None])
def test_what_is_no_vector_is_refused(broken):
    with pytest.raises((ValueError, TypeError)):
        little_endian(broken)


def test_the_least_recently_used_vectors_go_first():
    memory = VectorLRU(3 * (100 + OVERHEAD))
    memory.put({name: bytes(100) for name in "abc"})
    memory.get(["a"])
    memory.put({"d": bytes(100)})
    assert set(memory.get("abcd")) == {"a", "c", "d"}
    assert memory.size == 3 * (100 + OVERHEAD)
    memory.put({"a": bytes(50)})
    assert memory.size == 2 * (100 + OVERHEAD) + 50 + OVERHEAD
    memory.forget(["a", "nobody"])
    assert set(memory.get("abcd")) == {"c", "d"}


def test_a_memory_of_no_bytes_keeps_nothing():
    memory = VectorLRU(0)
    memory.put({"a": bytes(100)})
    assert memory.get("a") == {}
    assert memory.size == 0
