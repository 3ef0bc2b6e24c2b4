"""`emendo doctor` on the user of Redis: without a password on another host, or without rights of its role."""

from __future__ import annotations

import pytest
import redis

from emendo_config.redis_users import Names, rights_of, rules_of
from emendo_config.store.connections import connect
from emendo_ops.doctor.redis_user import check_user
from tests.support.logins import with_login


@pytest.fixture
def found(emendo_settings):
    """The state and the text of the finding for a user with these rules."""
    admin = connect(emendo_settings.redis_url, emendo_settings)
    name = f"someone-{emendo_settings.key_prefix.rstrip(':')}"

    def look(*rules: str) -> tuple[str, str]:
        admin.execute_command("ACL", "SETUSER", name, "reset", "on", ">pw", *rules)
        url = with_login(emendo_settings.redis_url, f"{name}:pw")
        with connect(url, emendo_settings) as connection:
            (finding,) = check_user(connection, emendo_settings)
        return finding.state, finding.found

    yield look
    admin.execute_command("ACL", "DELUSER", name)
    admin.close()


def test_a_user_with_its_roles_rights_is_fine(emendo_settings, found):
    rules = rules_of(rights_of("operator", Names.of(emendo_settings.key_prefix))).split()
    assert found(*rules)[0] == "ok"


def test_missing_rights_are_named(emendo_settings, found):
    rules = rules_of(rights_of("operator", Names.of(emendo_settings.key_prefix))).split()
    state, text = found(*rules, "-scan", "-config|get")
    assert (state, text.rpartition(": ")[2]) == ("warn", "+config|get, +scan")


def check_nobody(settings, url):
    """The findings for a user without a password whose Redis has this URL."""
    elsewhere = settings.model_copy(update={"redis_url": url, "control_url": url})
    with connect(with_login(settings.redis_url, ""), settings) as connection:
        return list(check_user(connection, elsewhere))


@pytest.mark.parametrize(
    "url", ["redis://db.example:1/0", "redis://10.0.0.1:1/0", "redis+sentinel://10.0.0.1:1/main/0"]
)
def test_a_redis_without_a_password_on_another_host_is_warned_of(emendo_settings, url):
    (finding,) = check_nobody(emendo_settings, url)
    assert (finding.state, "no password" in finding.found) == ("warn", True)


@pytest.mark.parametrize(
    "url", ["redis://localhost:1/0", "redis://127.0.0.1:1/0", "redis://[::1]:1/0", "unix:///run/redis.sock"]
)
def test_a_redis_without_a_password_on_this_machine_is_asked_for_rights(emendo_settings, url):
    with pytest.raises(redis.AuthenticationError):
        check_nobody(emendo_settings, url)
