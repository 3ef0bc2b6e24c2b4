"""Certificates of sentinels and of the master that they name: an unverified one hears no byte, so no password."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import redis

from emendo_client.testing.ports import LOOPBACK, free_port
from emendo_client.testing.redis_servers import find_server
from tests.security.test_tls import CLIENTS, PASSWORD, SERVERS, USER
from tests.security.test_tls import certificates as certificates  # noqa: PLC0414  # a fixture
from tests.security.test_tls import servers as servers  # noqa: PLC0414  # a fixture
from tests.support.patience import PATIENCE, until
from tests.support.tls import Certificates, TLSProxy

pytestmark = pytest.mark.slow  # sentinels that fail cost a client its pauses

WATCH = "watch-hush"
# The certificates of the sentinel and of the master, options, and which of both hear their password.
CASES = [
    ("right", "right", "ssl_ca_certs={ca}", (True, True)),
    ("right", "right", "", (False, False)),
    ("foreign", "right", "ssl_ca_certs={ca}", (False, False)),
    ("wrong_name", "right", "ssl_ca_certs={ca}", (False, False)),
    ("expired", "right", "ssl_ca_certs={ca}", (False, False)),
    ("right", "foreign", "ssl_ca_certs={ca}", (True, False)),
    ("right", "wrong_name", "ssl_ca_certs={ca}", (True, False)),
    ("right", "expired", "ssl_ca_certs={ca}", (True, False)),
    ("wrong_name", "wrong_name", "ssl_ca_certs={ca}&ssl_check_hostname=false", (True, True)),
    ("foreign", "expired", "ssl_cert_reqs=none", (True, True)),
]


@pytest.fixture(scope="module")
def sentinels(servers, certificates: Certificates, tmp_path_factory) -> Iterator[SimpleNamespace]:
    """A sentinel behind a proxy with each certificate. It knows the proxies of `servers` as masters of their names."""
    folder, port = tmp_path_factory.mktemp("sentinel"), free_port()
    conf = folder / "sentinel.conf"
    # It takes a master for dead whose answer is that it wants a password, or that is slow.
    masters = "".join(
        f"sentinel monitor {name} {LOOPBACK} {getattr(servers, name).port} 1\n"
        f"sentinel auth-user {name} {USER}\nsentinel auth-pass {name} {PASSWORD}\n"
        f"sentinel down-after-milliseconds {name} 600000\n"
        for name in SERVERS
    )
    conf.write_text(f"port {port}\nbind {LOOPBACK}\ndir {folder}\nrequirepass {WATCH}\n{masters}")
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([find_server().argv[0], str(conf), "--sentinel"], stdout=log, stderr=log)
    try:
        with ExitStack() as stack, redis.Redis(port=port, password=WATCH) as admin:
            until(lambda: _knows(admin), "the sentinel knows no master")
            yield SimpleNamespace(
                **{name: stack.enter_context(TLSProxy(port, getattr(certificates, name))) for name in SERVERS}
            )
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _knows(admin: redis.Redis) -> bool:
    try:
        return all(admin.sentinel_master(name)["flags"] == "master" for name in SERVERS)
    except redis.RedisError:
        return False


@pytest.mark.parametrize("client", sorted(set(CLIENTS) - {"second broker"}))
@pytest.mark.parametrize(("asked", "master", "options", "hear"), CASES)
def test_only_verified_servers_hear_their_passwords(  # noqa: PLR0917
    servers, sentinels, certificates, client, asked, master, options, hear
):
    sentinel, named = getattr(sentinels, asked), getattr(servers, master)
    sentinel.heard.clear()
    named.heard.clear()
    before = sentinel.encrypted, named.encrypted
    url = f"rediss+sentinel://{USER}:{PASSWORD}@{LOOPBACK}:{sentinel.port}/{master}/0?sentinel_password={WATCH}"
    url = f"{url}&{options.format(ca=certificates.ca)}".rstrip("&")
    if all(hear):
        CLIENTS[client](url)
    else:
        with pytest.raises(Exception, match=r"(?i)certificate verify failed|no master found"):
            CLIENTS[client](url)
    assert (WATCH.encode() in sentinel.heard, PASSWORD.encode() in named.heard) == hear
    assert (sentinel.heard == b"", named.heard == b"") == tuple(not each for each in hear)
    assert (sentinel.encrypted > before[0], named.encrypted > before[1]) == (True, hear[0])
    assert sentinel.plain == 0
