"""A head of the largest size passes, and one byte more is refused; behind some refusals the connection ends."""

from __future__ import annotations

import pytest

from emendo_client.errors import EmendoError
from emendo_config import GatewaySettings
from emendo_gateway.admission.asgi import CLOSE
from emendo_gateway.admission.heads import Heads
from emendo_gateway.callers import begin, state_of

HOST = (b"host", b"localhost")
MOST = 1_024  # bytes
SMALL = b"host" + b"localhost" + b"/x"


def request(*fields, path="/x", query=b"", version="1.1"):
    scope = {
        "type": "http",
        "http_version": version,
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query,
        "headers": [HOST, *fields],
    }
    begin(scope, "id")
    return scope


async def refusal(scope, **own) -> tuple[str, bool] | None:
    """The code of the refusal, and whether the connection ends behind it; None for a request that passes."""
    passed = []

    async def app(*given):
        passed.append(given)

    try:
        await Heads(app, GatewaySettings(max_header_bytes=MOST, **own))(scope, None, None)
    except EmendoError as error:
        assert not passed
        return error.error_code, CLOSE in state_of(scope).headers
    assert (passed, state_of(scope).headers) == ([(scope, None, None)], [])
    return None


@pytest.mark.parametrize(
    "sized",
    [
        lambda size: request(path="/x" + "p" * size),
        lambda size: request(query=b"q" * size),
        lambda size: request((b"n" * size, b"")),
        lambda size: request((b"", b"v" * size)),
    ],
    ids=["path", "query", "name", "value"],
)
async def test_each_part_of_a_head_counts(sized):
    left = MOST - len(SMALL)
    assert await refusal(sized(left)) is None
    assert await refusal(sized(left + 1)) == ("HEAD_TOO_LARGE", True)


@pytest.mark.parametrize(("more", "told"), [(99, None), (100, ("HEAD_TOO_LARGE", True))])
async def test_fields_are_counted(more, told):
    assert await refusal(request(*[(b"x", b"")] * more)) == told


CHUNKED, LENGTH = (b"transfer-encoding", b"chunked"), (b"content-length", b"0")


@pytest.mark.parametrize(
    ("fields", "version", "told"),
    [
        ([CHUNKED], "1.1", None),
        ([LENGTH], "1.1", None),
        ([LENGTH], "1.0", None),
        ([CHUNKED], "1.0", ("VALIDATION", True)),
        ([CHUNKED, LENGTH], "1.1", ("VALIDATION", True)),
    ],
)
async def test_a_body_has_one_length(fields, version, told):
    assert await refusal(request(*fields, version=version)) == told


@pytest.mark.parametrize(
    ("host", "told"),
    [
        (b" localhost ", None),
        (b"Mine.example", None),
        (b"here", None),
        (b"HERE:80", None),
        (b"a.wild.example.", None),
        (b".wild.example", None),
        (b"wildxexample", ("HOST_REFUSED", False)),
        (b"awild.example", ("HOST_REFUSED", False)),
        (b"mine.example.evil", ("HOST_REFUSED", False)),
        (b"xmine.example", ("HOST_REFUSED", False)),
        (b"[fe80::1%eth0]", None),
        (b"[fe80::1]", None),
        (b"[evil]", ("HOST_REFUSED", False)),
        (b"127.0.0.1:80:80", ("VALIDATION", False)),
        (b"localhost:800000", ("VALIDATION", False)),
        (b"localhost/x", ("VALIDATION", False)),
        (b"a" * 254, ("VALIDATION", False)),
        (b"a" * 253, ("HOST_REFUSED", False)),
    ],
)
async def test_a_host_is_read_as_a_whole(host, told):
    scope = request()
    scope["headers"] = [(b"host", host)]
    assert await refusal(scope, host="Here", hosts="mine.example, *.wild.example") == told


@pytest.mark.parametrize(
    ("hosts", "version", "told"),
    [([], "1.0", None), ([], "1.1", ("VALIDATION", False)), ([HOST, HOST], "1.0", ("VALIDATION", False))],
)
async def test_only_old_http_needs_no_host(hosts, version, told):
    scope = request(version=version)
    scope["headers"] = hosts
    assert await refusal(scope) == told
    assert await refusal(scope, hosts="*") is None


@pytest.mark.parametrize(
    ("origins", "told"),
    [
        ([b"http://LOCALHOST:3000"], None),
        ([b"https://127.8.8.8"], None),
        ([b"https://[::1]:1"], None),
        ([b"https://Mine.example"], None),
        ([b"https://10.0.0.1"], ("HOST_REFUSED", False)),
        ([b"null"], ("HOST_REFUSED", False)),
        ([b""], ("HOST_REFUSED", False)),
        ([b"https://localhost.evil"], ("HOST_REFUSED", False)),
        ([b"https://localhost/@evil"], ("HOST_REFUSED", False)),
        ([b"https://localhost", b"https://evil"], ("HOST_REFUSED", False)),
    ],
)
async def test_a_gateway_without_keys_takes_nothing_from_other_pages(origins, told):
    fields = [(b"origin", origin) for origin in origins]
    assert await refusal(request(*fields), auth="off", hosts="mine.example") == told
    assert await refusal(request(*fields)) is None


@pytest.mark.parametrize("where", ["raw_path", "query_string"])
@pytest.mark.parametrize(("given", "told"), [(b"%C3%A9", None), (b"%C3", ("VALIDATION", False)), (b"%zz", None)])
async def test_an_address_is_utf_8(where, given, told):
    scope = request()
    scope[where] = given
    assert await refusal(scope) == told
