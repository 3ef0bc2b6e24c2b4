"""Vectors as bytes: only numbers get in; the process keeps as many as it may."""

from __future__ import annotations

import array
import base64
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emendo_client.errors import EmbeddingError
from emendo_client.providers.embeddings.lru import OVERHEAD, VectorLRU
from emendo_client.providers.embeddings.vectors import are_finite, converted, has_zero, little_endian

floats = st.floats(width=32)


@given(st.lists(floats, min_size=1, max_size=40))
def test_a_vector_is_finite_when_each_element_is(elements):
    assert are_finite([array.array("f", [1.0]).tobytes(), array.array("f", elements).tobytes()]) is all(
        map(math.isfinite, elements)
    )


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 700, 1535])
def test_one_element_that_is_no_number_is_found_wherever_it_stands(bad, place):
    elements = array.array("f", [3.4e38, -3.4e38] * 768)
    assert are_finite([elements.tobytes()])
    elements[place] = bad
    assert not are_finite([elements.tobytes()])


def test_half_an_element_is_no_vector():
    with pytest.raises(ValueError, match="whole number"):
        are_finite([bytes(4), bytes(6)])


def test_base64_and_lists_give_the_same_bytes():
    numbers = array.array("f", [0.5, -1.25, 3.0])
    assert (
        little_endian(base64.b64encode(numbers.tobytes()).decode())
        == numbers.tobytes()
        == little_endian([0.5, -1.25, 3.0])
    )


@pytest.mark.parametrize("broken", ["AAA", "!!!!", ["x"], None])
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


@pytest.mark.parametrize("numbers", [[0.0, -0.0], [1e-25, -1e-30], [-0.0]])
def test_a_vector_without_a_direction_is_found(numbers):
    assert has_zero([array.array("f", [1.0, 0.0]).tobytes(), array.array("f", numbers).tobytes()])


def test_one_element_gives_a_direction_wherever_it_stands():
    for place in (0, 15, 16, 99):
        elements = array.array("f", [0.0] * 100)
        elements[place] = -0.25
        assert not has_zero([elements.tobytes()])


@given(st.lists(floats.filter(lambda each: not math.isnan(each)), min_size=1, max_size=40))
def test_a_vector_with_a_direction_is_none(elements):
    largest = max(map(abs, elements))
    if largest >= 1e-18 or largest < 1e-20:
        assert has_zero([array.array("f", elements).tobytes()]) is (largest < 1e-20)


def test_a_vector_that_float16_would_make_zeros_is_refused():
    with pytest.raises(EmbeddingError, match="too small for float16"):
        converted(array.array("f", [1e-9, 0.0]).tobytes(), "float32", "float16")
    assert len(converted(array.array("f", [1e-9, 0.5]).tobytes(), "float32", "float16")) == 4
