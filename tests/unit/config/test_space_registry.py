"""The registry's records: written and read back, refused when they cannot be, found and ordered."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from emendo_config import ConfigurationError, Keys, Settings
from emendo_config.embedding_space import EmbeddingSpace, InputForm
from emendo_config.spaces.index import find_active, index_schema
from emendo_config.spaces.registry import (
    SpaceRecord,
    SpaceState,
    find_space,
    newest_listed,
    next_generation,
    parse_registry,
    registered_spaces,
)

OLD = SpaceRecord(EmbeddingSpace("openai", "text-embedding-3-small", 1536))
NEW = SpaceRecord(
    EmbeddingSpace("openai", "text-embedding-3-large", 256, 2), "hnsw", "ip", "float16", SpaceState.FILLING
)
COPY = replace(OLD, space=replace(OLD.space, generation=3), datatype="float16", copy_of=OLD.name)


@pytest.mark.parametrize("record", [OLD, NEW, COPY])
def test_a_record_is_read_back_as_it_was_written(record):
    assert SpaceRecord.from_json(record.to_json()) == record


def test_a_record_is_a_document_with_the_names_of_the_contract():
    assert json.loads(NEW.to_json()) == {
        "provider": "openai",
        "model": "text-embedding-3-large",
        "dimensions": 256,
        "generation": 2,
        "algorithm": "hnsw",
        "metric": "ip",
        "datatype": "float16",
        "state": "filling",
    }


def test_a_space_with_forms_of_texts_states_a_format_that_older_readers_refuse():
    formed = replace(NEW, space=replace(NEW.space, query=InputForm("query: ")))
    assert "format" not in json.loads(NEW.to_json()), "as the first release wrote it"
    assert json.loads(formed.to_json())["format"] == 2
    assert SpaceRecord.from_json(formed.to_json()) == formed


def test_unknown_fields_are_kept_in_forms_of_texts_too():
    later = {**json.loads(NEW.to_json()), "later": [1], "query": {"prefix": "q: ", "suffix": "?"}, "format": 2}
    record = replace(SpaceRecord.from_json(json.dumps(later)), state=SpaceState.LIVE)
    assert record.space.query == InputForm("q: ")
    written = json.loads(record.to_json())
    assert (written["later"], written["query"]["suffix"], written["format"]) == ([1], "?", 2)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'"text"',
        OLD.to_json().replace("live", "sleeping"),
        OLD.to_json().replace("float32", "float12"),
        OLD.to_json().replace('"provider"', '"author"'),
    ],
)
def test_what_cannot_be_read_is_refused_and_not_shown(text):
    with pytest.raises(ConfigurationError, match=r"cannot be read.*repair it"):
        SpaceRecord.from_json(text)


def test_a_vector_is_as_long_as_its_datatype_makes_it():
    assert (OLD.vector_bytes, NEW.vector_bytes) == (4 * 1536, 2 * 256)


def test_a_copy_is_embedded_as_what_it_is_a_copy_of():
    assert (OLD.embedded_as, COPY.embedded_as) == (OLD.name, OLD.name)
    assert COPY.field != OLD.field


def test_records_come_oldest_first():
    fields = {record.name.encode(): record.to_json().encode() for record in (COPY, NEW, OLD)}
    assert parse_registry(fields) == (OLD, NEW, COPY)


def test_without_a_registry_there_is_the_settings_space():
    settings = Settings(embedding_provider="local", index_algorithm="hnsw")
    assert registered_spaces({}, settings) == (SpaceRecord(settings.space, "hnsw"),)
    assert registered_spaces({b"x": OLD.to_json().encode()}, settings) == (OLD,)


def test_settings_find_their_space_whatever_its_generation_but_not_one_that_is_dropped():
    assert find_space([OLD, NEW, COPY], OLD.space) == COPY
    assert find_space([OLD, NEW], OLD.space) == OLD
    assert find_space([NEW], OLD.space) is None
    assert find_space([replace(OLD, state=SpaceState.DROPPING)], OLD.space) is None


def test_the_next_generation_is_above_all():
    assert next_generation([]) == 1
    assert next_generation([COPY, OLD]) == 4


def test_the_newest_of_the_listed():
    assert newest_listed([OLD, NEW, COPY], {OLD.name, NEW.name}) == NEW
    assert newest_listed([OLD], {"gone"}) is None


def test_the_active_space_is_the_one_the_alias_stands_for():
    assert find_active((NEW.field, 256), [OLD, NEW]) == NEW
    for indexed in ((NEW.field, 255), ("vector_other", 256), None):
        with pytest.raises(ConfigurationError, match="none of the registered embedding spaces"):
            find_active(indexed, [OLD, NEW])


def test_the_schema_says_how_the_space_is_indexed():
    schema = index_schema(Keys("p:"), NEW)
    assert schema["index"]["name"] == f"p:index:{NEW.name}:2"
    (vector,) = [field for field in schema["fields"] if field["type"] == "vector"]
    assert vector == {
        "name": NEW.field,
        "type": "vector",
        "attrs": {"algorithm": "hnsw", "dims": 256, "distance_metric": "ip", "datatype": "float16"},
    }
