"""The search index was lost, and Redis fills it again: no erasure takes what it finds meanwhile for all there is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from emendo_client.errors import VectorStoreError
from emendo_config.spaces.bootstrap import restore_indexes
from emendo_config.spaces.indexes import drop_index
from tests.integration.erasure.test_users import finished
from tests.support.erasing import OWNER, SECRET, assert_nothing_is_left
from tests.support.inferring import is_filling
from tests.support.intake import added, drain
from tests.support.patience import until

# Memories of somebody else, which Redis takes a second to look through.
_OTHERS = 2_000
_COPY = """
for number = 1, tonumber(ARGV[2]) do
  local key = ARGV[1] .. number .. '}'
  redis.call('COPY', KEYS[1], key)
  redis.call('HSET', key, 'id', number)
end
"""


@pytest.fixture
def _filling(services, client):
    """Redis has begun to fill the index of some memories of the owner, and of many others."""
    keys = services.keys
    for number in range(5):
        added(services, client, f"{SECRET} {number}", user_id=OWNER)
    other = keys.memory(added(services, client, "of somebody else"))
    drop_index(services.data, keys.index(services.settings.space.name))
    services.data.eval(_COPY, 1, other, other.partition("{")[0] + "{", _OTHERS)
    restore_indexes(services.data, services.settings)
    assert is_filling(services)


@pytest.mark.usefixtures("_filling")
def test_the_erasure_of_a_user_ends_when_the_index_has_all_memories(services, client):
    job = client.erase_user(OWNER)
    drain(services, job)
    assert (job.status(), job.info().attempts) == ("retrying", 0)
    until(lambda: not is_filling(services))
    assert finished(services, job).results[0].erased["failed"] == 0
    assert_nothing_is_left(services, OWNER)


@pytest.mark.usefixtures("_filling")
def test_what_deletes_all_that_it_finds_is_refused_meanwhile(services, client):
    for call in (
        lambda: client.delete_all(OWNER),
        lambda: client.delete_all(OWNER, hard=True),
        lambda: client.purge(deleted_before=datetime.now(UTC) + timedelta(minutes=1)),
    ):
        with pytest.raises(VectorStoreError, match="is being rebuilt") as refused:
            call()
        assert refused.value.error_code == "NO_INDEX"
    until(lambda: not is_filling(services))
    assert client.delete_all(OWNER).info().items == 5
