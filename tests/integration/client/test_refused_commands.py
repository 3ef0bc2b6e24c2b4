"""Redis answers and refuses: the caller reads what was wrong and what to do, and no text of anybody."""

from __future__ import annotations

import pytest
from redis.exceptions import ReadOnlyError, ResponseError

from emendo_client import MemoryClient
from emendo_client.errors import ValidationError, VectorStoreError
from emendo_client.exchanges.redis_errors import translate
from tests.support.intake import added
from tests.support.logins import with_login

SECRET = "the text of somebody's memory"


@pytest.mark.parametrize(
    ("command", "says", "advice"),
    [
        (("FT.NOSUCH", SECRET), "does not know a command", "redis:8"),
        (("GET", SECRET, SECRET), "refused a command, in words", "emendo doctor"),
        (("FT.SEARCH", SECRET, "*"), "the search index does not exist", "start a worker"),
        (("FT.SEARCH", "{index}", "*", "LIMIT", "1000001", "10"), "beyond what a search", "earlier page"),
        (("FT.SEARCH", "{index}", "*", "LIMIT", "0", "1000001"), "larger than what a search", "smaller pages"),
        (("HGET", "{jobs}", SECRET), "(WRONGTYPE)", "emendo doctor"),
        (("EVAL", "return redis.call('HGET', KEYS[1], 'x')", "1", "{jobs}"), "(WRONGTYPE)", "emendo doctor"),
        (("EVAL", f"error('{SECRET[:8]}')", "0"), "refused a command, in words", "emendo doctor"),
        (("FT.SEARCH", "{index}", "@memory:{"), "refused a command, in words", "emendo doctor"),
    ],
)
def test_what_redis_refuses_is_said_in_whole_words(services, client, command, says, advice):
    added(services, client)
    names = {
        "{index}": services.keys.index(services.settings.space.name),
        "{jobs}": services.keys.jobs(client.project),
    }
    with pytest.raises(ResponseError) as refused:
        services.data.execute_command(*(names.get(word, word) for word in command))
    error = translate(refused.value)
    assert isinstance(error, ValidationError if says == "beyond what a search" else VectorStoreError)
    assert says in error.message
    assert advice in error.suggestion
    assert SECRET[:8] not in str(error)


def test_a_user_without_the_right_is_told_so(services, client):
    name = f"reader-{services.settings.key_prefix.rstrip(':')}"
    services.data.execute_command("ACL", "SETUSER", name, "on", ">pw", "~*", "&*", "+@all", "-@write", "-@scripting")
    try:
        url = with_login(services.settings.redis_url, f"{name}:pw")
        lesser = services.settings.model_copy(update={"redis_url": url, "control_url": url})
        with (
            MemoryClient(lesser) as reader,
            pytest.raises(VectorStoreError, match="run the command EVALSHA") as refused,
        ):
            reader.add("x", user_id="ana", infer=False)
        assert refused.value.error_code == "REDIS_NO_PERMISSION"
        assert refused.value.details == {"user": name, "command": "evalsha"}
        assert name in refused.value.message
        assert "emendo redis-users" in refused.value.suggestion
    finally:
        services.data.execute_command("ACL", "DELUSER", name)


def test_a_replica_is_told_from_its_master():
    error = translate(ReadOnlyError("You can't write against a read only replica."))
    assert "is a replica" in error.message
    assert "redis+sentinel://" in error.suggestion
