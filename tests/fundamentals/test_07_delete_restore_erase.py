"""A deleted memory is hidden and can be restored; an erased one leaves nothing of its content."""

from __future__ import annotations

import pytest

from emendo_client.errors import MemoryNotFoundError


def test_a_deleted_memory_is_hidden_until_it_is_restored(emendo_client):
    memory_id = emendo_client.add("I like tea.", user_id="ana", infer=False).wait().results[0].memory_id
    emendo_client.delete(memory_id).wait()
    with pytest.raises(MemoryNotFoundError):
        emendo_client.get(memory_id)
    assert emendo_client.search("tea", user_id="ana") == []
    emendo_client.restore(memory_id).wait()
    assert emendo_client.get(memory_id).memory == "I like tea."


def test_any_version_can_be_restored(emendo_client):
    memory_id = emendo_client.add("I like tea.", user_id="ana", infer=False).wait().results[0].memory_id
    emendo_client.update(memory_id, "I like coffee.").wait()
    emendo_client.restore(memory_id, version=1).wait()
    memory = emendo_client.get(memory_id)
    assert (memory.memory, memory.version) == ("I like tea.", 3)


def test_nothing_of_an_erased_memory_can_be_read(emendo_client):
    memory_id = emendo_client.add("My number is 1234.", user_id="ana", infer=False).wait().results[0].memory_id
    emendo_client.delete(memory_id, hard=True).wait()
    with pytest.raises(MemoryNotFoundError):
        emendo_client.get(memory_id, include_deleted=True)
    assert [entry.new_memory for entry in emendo_client.history(memory_id)] == [None, None]
    assert emendo_client.restore(memory_id).wait().error["code"] == "MEMORY_ERASED"
