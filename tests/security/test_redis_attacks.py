"""Redis refuses each role every attack of the list, with the committed rules and real data."""

from __future__ import annotations

import re

import pytest
from redis.exceptions import RedisError

from emendo_config.redis_users import ROLES as ALL_ROLES
from emendo_config.redis_users import Names, acl_file
from emendo_config.store.refusals import is_refused
from tests.security import redis_attacks
from tests.security.redis_attacks import ALLOWED, ATTACKS, EMPTY, FOREIGN, HIDDEN, HISTORY, KEYS, MEMORY, OPEN, ROLES
from tests.support.redis_users import users_redis


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    """A Redis with a memory, an index and the scripts that a worker has loaded."""
    with users_redis(tmp_path_factory.mktemp("attacked")) as made:
        schema = ("ON", "HASH", "PREFIX", 1, KEYS.memory_prefix, "SCHEMA", "user_id", "TAG")
        made.admin.execute_command("FT.CREATE", KEYS.index("space"), *schema)
        made.admin.execute_command("FT.ALIASADD", KEYS.index_alias, KEYS.index("space"))
        made.admin.hset(MEMORY, mapping={"memory": "secret", "user_id": "ana"})
        made.admin.xadd(HISTORY, {"event": "ADD"})
        made.admin.set("other:key", "secret")
        made.admin.execute_command("FT.CREATE", "other:memories", "PREFIX", 1, "other:", "SCHEMA", "user_id", "TAG")
        for script in (HIDDEN, OPEN, EMPTY, FOREIGN):
            made.admin.script_load(script)
        yield made


def contents(made) -> dict[bytes, bytes]:
    return {key: made.admin.dump(key) for key in made.admin.scan_iter(count=1_000)}


def may(made, role: str, command: tuple[object, ...]) -> bool:
    """True unless Redis refuses the role the command."""
    with made.connection(role) as connection:
        try:
            connection.execute_command(*command)
        except RedisError as error:
            # Some commands are off for everybody, by other settings of Redis. A guessed password is wrong.
            return not (is_refused(error) or re.search("command not allowed|invalid username-password", str(error)))
    return True


@pytest.mark.parametrize("role", ROLES)
def test_every_attack_is_refused(attacked, role):
    users, before, indexes = attacked.admin.acl_users(), contents(attacked), attacked.admin.execute_command("FT._LIST")
    allowed = {name for group in ATTACKS.values() for name, command in group.items() if may(attacked, role, command)}
    assert allowed == {name for name, roles in ALLOWED.items() if role in roles}
    after = contents(attacked)
    for own in (KEYS.migration, KEYS.gateway_key("eve"), "emendo:interactive"):  # some roles write these
        after.pop(own.encode(), None)
        before.pop(own.encode(), None)
    assert after == before
    assert attacked.admin.acl_users() == users
    assert sorted(attacked.admin.execute_command("FT._LIST")) == sorted(indexes)


def test_a_role_without_rules_is_the_only_thing_between_an_attack_and_its_effect(attacked):
    """Otherwise the attacks would prove nothing: an administrator may do those that change data."""
    attacked.admin.execute_command("ACL", "SETUSER", "free", "on", ">pw", "~*", "&*", "+@all", "-@dangerous")
    attacked.passwords["free"] = "pw"
    changing = ("write a memory", "write a memory by a script that hides the key", "write a history", "read a memory")
    assert all(may(attacked, "free", ATTACKS["Memories"][name]) for name in changing)
    attacked.admin.hset(MEMORY, "memory", "secret")


def test_there_are_more_than_a_hundred_attacks_for_each_role():
    count = sum(map(len, ATTACKS.values()))
    assert all(count - sum(role in roles for roles in ALLOWED.values()) > 100 for role in ROLES)
    assert set(ROLES) == set(ALL_ROLES) - {"worker"}


def test_the_worker_reaches_nothing_beyond_its_prefix(attacked):
    """But for one way: it makes indexes, and an older search module lets them be of any prefix."""
    beyond = {**ATTACKS["Other keys"], **ATTACKS["The server"]}
    needed = {"scan the keys", "read all its figures", "read its figures by sections", "run a script of one's own"}
    needed |= {"load a script of one's own", "rewrite its append-only file", "make an index of another prefix"}
    allowed = {name for name, command in beyond.items() if may(attacked, "worker", command)}
    attacked.admin.execute_command("FT.DROPINDEX", "emendo:eve")
    assert allowed == needed
    assert attacked.admin.get("other:key") == b"secret"


def test_nobody_gets_in_without_a_password(attacked):
    attacked.load(acl_file(Names.of("emendo:")))
    try:
        for role in (*ALL_ROLES, "default"):
            for password in ("", attacked.passwords.get(role, "x"), role):
                with attacked.connection("app") as connection:
                    pool = connection.connection_pool
                    pool.connection_kwargs.update(username=role, password=password)
                    with pytest.raises(RedisError, match=r"WRONGPASS|invalid username-password|Authentication|NOAUTH"):
                        connection.execute_command("ACL", "WHOAMI")
    finally:
        attacked.load(acl_file(Names.of("emendo:"), passwords={r: attacked.passwords[r] for r in ALL_ROLES}))


def test_the_attacks_name_keys_that_there_are():
    assert Names.of("emendo:").pidbox == redis_attacks.PIDBOX
    assert redis_attacks.EVENT.startswith(Names.of("emendo:").events.removesuffix("*"))
