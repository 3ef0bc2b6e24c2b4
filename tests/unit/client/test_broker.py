"""A broker that cannot be used: a ring is lost and logged, the doctor says so, and neither shows the URL."""

from __future__ import annotations

import pytest

from emendo_client.transport.wakeup import ShardNotifier
from emendo_config import Settings
from emendo_ops.doctor.broker import check_broker

UNUSABLE = [
    ("foo://secret", "KeyError"),
    ("redis://:secr/et@127.0.0.1:6379/1", "ValueError"),
    ("redis://127.0.0.1:6379/secret", "ValueError"),
    ("rediss://127.0.0.1:6379/1?ssl_cert_reqs=secret", "RedisError"),
    ("redis://127.0.0.1:6379/1?secret=1", "TypeError"),
    ("sqs://secret", "ModuleNotFoundError"),
    ("sentinel://127.0.0.1:26379", "ValueError"),  # kombu asks for the name of the master as well
]


def settings_for(broker_url: str) -> Settings:
    """Past what settings refuse: whatever they overlook, a job that Redis has accepted must not suffer from it."""
    return Settings().model_copy(update={"broker_url": broker_url, "broker_timeout": 1.0})


@pytest.mark.parametrize(("url", "kind"), UNUSABLE)
def test_a_wakeup_that_fails_for_any_reason_is_logged_and_false(url, kind, caplog):
    bell = ShardNotifier(settings_for(url))
    assert bell.notify("3") is False
    bell.close()
    (record,) = caplog.records
    assert record.getMessage() == "the broker cannot be used; the sweeper will send the wake-up"
    assert (record.levelname, record.shard, record.error) == ("WARNING", "3", kind)
    assert "secr" not in str(vars(record))


@pytest.mark.parametrize(("url", "kind"), UNUSABLE)
def test_the_doctor_finds_a_broker_that_cannot_be_used(url, kind):
    finding = check_broker(settings_for(url))
    assert (finding.check, finding.state, finding.mend) == ("broker", "fail", "set EMENDO_BROKER_URL")
    assert finding.found.endswith(f": {kind}")
