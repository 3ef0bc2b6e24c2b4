"""A worker whose Redis user lacks a right: the worker waits and says why, and no job is to blame."""

from __future__ import annotations

import pytest

from emendo_client.errors import VectorStoreError
from emendo_client.exchanges.redis_errors import translate
from emendo_config import Keys
from emendo_config.celery_app import create_app
from emendo_config.error_codes import ErrorCode
from emendo_config.queues import INTERACTIVE
from emendo_config.redis_users import ROLES, Names, missing_rights, rights_of, rules_of
from emendo_config.redis_users.own_rights import _AT_ONCE, _OF_CHANNELS
from emendo_config.store import scripts
from emendo_config.store.connections import connect
from emendo_ops.doctor.control_redis import check_jobs
from emendo_workers.services import Services
from tests.support.inferring import started
from tests.support.intake import drain_all, let_time_pass
from tests.support.logins import with_login


@pytest.fixture
def user(emendo_redis, settings):
    """Gives the worker's user rules, or takes them away."""
    name = f"worker-{settings.key_prefix.rstrip(':')}"
    admin = connect(settings.redis_url, settings)

    def give(*rules: str) -> None:
        admin.execute_command("ACL", "SETUSER", name, *rules)

    give("on", ">pw", *rules_of(rights_of("worker", Names.of(settings.key_prefix))).split())
    give.name = name
    yield give
    admin.execute_command("ACL", "DELUSER", name)
    admin.close()


@pytest.fixture
def own_settings(settings, user):
    url = with_login(settings.redis_url, f"{user.name}:pw")
    return settings.model_copy(update={"redis_url": url, "control_url": url})


@pytest.fixture
def services(own_settings, openai_server):
    made = started(own_settings)
    yield made
    made.stop()


def without_memories(settings) -> tuple[str, ...]:
    return ("resetkeys", f"~{settings.key_prefix}[^m]*")


TAKEN = {
    "-evalsha": "EVALSHA",
    "-xreadgroup": "XREADGROUP",
    "-hmget": "HMGET",
    "-hincrby": None,
    "-hset": "HSET",
    "-xadd": "XADD",
    "-publish": "PUBLISH",
    "-ft.search": None,
    "memories": "a key",
}


def check_that_the_fault_is_known(services, client, taken, caplog):
    assert services.faults.blocks(INTERACTIVE)
    assert TAKEN[taken] in caplog.text
    assert "it lacks" in caplog.text
    assert f"+{taken[1:]}" in caplog.text or taken in ("memories", "-publish")
    services.faults.look()
    assert services.faults.blocks(INTERACTIVE), "nothing has changed"
    if taken in ("-evalsha", "-hset"):  # without these it cannot tell others
        return
    services.leases.renew()
    (fault,) = client.health().worker_faults.values()
    assert fault.code == ErrorCode.REDIS_NO_PERMISSION
    (finding,) = [each for each in check_jobs(client.settings) if each.check == "worker"]
    assert (finding.state, "REDIS_NO_PERMISSION" in finding.found) == ("fail", True)


@pytest.mark.parametrize("taken", TAKEN)
def test_jobs_wait_for_the_right_and_spend_no_attempts(services, client, user, taken, caplog):
    settings = client.settings
    first = client.add("one", user_id="ana", infer=False)
    drain_all(services)
    memory_id = first.wait(5).results[0].memory_id
    user(*(without_memories(settings) if taken == "memories" else (taken,)))
    jobs = [client.update(memory_id, f"text {number}") for number in range(2)]
    batch = client.batch_add([{"messages": f"item {number}", "user_id": "ana"} for number in range(3)])
    drain_all(services)
    if TAKEN[taken] is not None:
        check_that_the_fault_is_known(services, client, taken, caplog)
    for _ in range(services.settings.max_attempts + services.settings.poison_deliveries):
        services.faults._faults.clear()  # as if every probe let it try again
        let_time_pass(services)
        drain_all(services)
    assert client.dead_letters() == []
    if taken not in ("-hincrby", "-publish"):  # a refusal in the midst of `finish` cannot be recorded
        assert all(job.info().attempts <= 1 for job in (*jobs, batch))
    user(*rules_of(rights_of("worker", Names.of(settings.key_prefix))).split())
    services.faults.look()
    assert not services.faults.blocks(INTERACTIVE)
    for _ in range(3):
        let_time_pass(services)
        drain_all(services)
    assert {job.wait(5).status for job in (*jobs, batch)} == {"succeeded"}
    assert client.get(memory_id).version == 3
    assert client.dead_letters() == []


def test_a_worker_that_starts_without_rights_waits_for_them(settings, own_settings, user, client, openai_server):
    user("-ft.create")
    made = Services(own_settings, create_app(own_settings))
    made.start()
    try:
        assert made.faults.blocks(INTERACTIVE)
        made.leases.renew()
        (fault,) = client.health().worker_faults.values()
        assert (fault.code, "+ft.create" in fault.message) == ("REDIS_NO_PERMISSION", True)
        user("+ft.create")
        made.faults.look()
        assert not made.faults.blocks(INTERACTIVE)
        job = client.add("one", user_id="ana", infer=False)
        drain_all(made)
        assert job.wait(5).status == "succeeded"
    finally:
        made.stop()


def test_a_damaged_record_is_told_from_one_that_may_not_be_read(services, user):
    """Scripts read a record that may be damaged; a refusal there would else look like damage."""
    keys: Keys = services.keys
    services.control.hset(keys.job("a"), mapping={"status": "queued", "project": "p"})
    services.control.expire(keys.job("a"), 60)
    cancel = scripts.cancel(
        job=keys.job("a"),
        delayed=keys.delayed,
        cancelling=keys.cancelling,
        channel=keys.job_channel("a"),
        job_id="a",
        project="p",
        ttl=60,
    )
    user("-hmget")
    with pytest.raises(Exception, match="hmget") as refused:
        scripts.run(services.control, [cancel])
    error = translate(refused.value)
    assert isinstance(error, VectorStoreError)
    assert error.error_code == ErrorCode.REDIS_NO_PERMISSION
    assert error.message == f"Redis does not let its user '{user.name}' run the command HMGET in the script cancel"


@pytest.mark.parametrize("role", ROLES)
def test_the_lack_of_each_command_is_found(services, settings, user, role):
    """Also of commands that take a fixed number of arguments, which Redis counts first."""
    rights = rights_of(role, Names.of(settings.key_prefix))
    user("-@all", "+multi", "+discard", "+hmget", "+hset")
    found = {rule[1:] for rule in missing_rights(services.control, rights) or [] if rule.startswith("+")}
    assert found == rights.commands - _AT_ONCE - _OF_CHANNELS - {"multi", "discard", "hmget", "hset"}


def test_missing_rights_are_found_without_doing_anything(services, settings, user, client):
    rights = rights_of("worker", Names.of(settings.key_prefix))

    def keys():
        with connect(settings.redis_url, settings) as connection:
            return set(connection.scan_iter(f"{settings.key_prefix}*"))

    before = keys()
    assert missing_rights(services.control, rights) == []
    user("-hset", "-ft.dropindex", "-xgroup|create", "-brpop")
    assert missing_rights(services.control, rights) == ["+brpop", "+ft.dropindex", "+hset", "+xgroup|create"]
    user("+@all", *without_memories(settings), "resetchannels")
    assert missing_rights(services.control, rights)[0].startswith("&")
    user("-multi")
    assert missing_rights(services.control, rights) is None
    assert keys() == before
    assert services.control.ping()
