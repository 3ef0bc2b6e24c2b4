"""The doctor warns of passwords that others may hear, and of servers that nobody verifies."""

from __future__ import annotations

import pytest

from emendo_config import Settings
from emendo_ops.doctor.connections import check_connections

pytestmark = pytest.mark.usefixtures("nothing_set")

PLAIN, UNCHECKED, NAME = "not encrypted", "certificate is not checked", "name in the certificate is not checked"


def warnings(**settings: str) -> list[str]:
    found = list(check_connections(Settings(**settings)))
    assert found
    assert "secr" not in str(found)
    assert {each.check for each in found} == {"connections"}
    return [each.found for each in found if each.state == "warn"]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://u:secr@other/0", PLAIN),
        ("redis://:secr@10.0.0.7/0", PLAIN),
        ("redis://:secr@[fd00::1]/0", PLAIN),
        ("redis+sentinel://u:secr@localhost,other/m/0", PLAIN),
        ("redis+sentinel://other/m/0?sentinel_password=secr", PLAIN),
        ("rediss://:secr@other/0?ssl_cert_reqs=none", UNCHECKED),
        ("rediss://localhost/0?ssl_cert_reqs=none", UNCHECKED),
        ("rediss+sentinel://:secr@other/m/0?ssl_cert_reqs=none", UNCHECKED),
        ("rediss://:secr@other/0?ssl_check_hostname=false", NAME),
        ("rediss+sentinel://:secr@other/m/0?ssl_check_hostname=no", NAME),
        ("rediss://:secr@other/0", None),
        ("rediss://:secr@other/0?ssl_ca_certs=secr", None),
        ("rediss+sentinel://:secr@other/m/0", None),
        ("redis://other/0", None),
        ("redis://:secr@localhost/0", None),
        ("redis://:secr@127.0.0.9/0", None),
        ("redis://:secr@[::1]/0", None),
        ("unix://u:secr@/run/redis.sock", None),
    ],
)
@pytest.mark.parametrize("name", ["redis_url", "control_url", "broker_url"])
def test_each_address_of_a_redis(name, url, says):
    given = {"redis_url": "redis://localhost/0", "broker_url": "redis://localhost/1", name: url}
    found = warnings(**given)
    assert [says in each for each in found] == ([True] if says else [])
    assert all(each.startswith(f"EMENDO_{name.upper()}: ") for each in found)


def test_a_broker_beside_the_store_is_named_too():
    assert len(warnings(redis_url="redis://:secr@other/0")) == 2


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("amqp://u:secr@other//", PLAIN),
        ("pyamqp://u:secr@other//", PLAIN),
        ("AMQP://u:secr@localhost//;amqp://u:secr@other//", PLAIN),
        ("redis://:secr@localhost/1;redis://:secr@other/1", PLAIN),
        ("amqps://u:secr@other//?ssl_cert_reqs=none", UNCHECKED),
        ("REDISS://u:secr@other/1?ssl_cert_reqs=CERT_NONE", UNCHECKED),
        ("amqps://u:secr@other//?ssl_check_hostname=false", NAME),
        ("amqps://u:secr@other//", None),
        ("amqp://u:secr@localhost//", None),
        ("amqp://other//", None),
        ("redis+socket://:secr@/run/redis.sock?virtual_host=1", None),
    ],
)
def test_each_address_of_a_broker(url, says):
    found = warnings(redis_url="redis://localhost/0", broker_url=url)
    assert [says in each for each in found] == ([True] if says else [])


@pytest.mark.parametrize("kind", ["embedding", "chat"])
@pytest.mark.parametrize(
    ("given", "warned"),
    [
        ({"base_url": "http://other/v1", "api_key": "secr"}, True),
        ({"base_url": "HTTP://other/v1", "headers": '{"api-key": "secr"}'}, True),
        ({"base_url": "http://u:secr@other/v1"}, True),
        ({"base_url": "http://other/v1"}, False),
        ({"base_url": "https://other/v1", "api_key": "secr"}, False),
        ({"base_url": "http://localhost:9/v1", "api_key": "secr"}, False),
        ({"base_url": "http://127.0.0.1:9/v1", "api_key": "secr"}, False),
    ],
)
def test_each_provider(kind, given, warned):
    found = warnings(**{f"{kind}_{name}": value for name, value in given.items()})
    assert [each.startswith(f"EMENDO_{kind.upper()}_BASE_URL: ") for each in found] == ([True] if warned else [])
