"""Each check of `emendo conformance` fails on a server with the defect it is for, and passes on one without."""

from __future__ import annotations

import json
import os
from functools import partial

import httpx2 as httpx
import pytest

from emendo_config.errors import ConfigurationError
from emendo_ops.cli.app import run
from emendo_ops.cli.conformance import conformance
from emendo_ops.conformance.checks import CHECKS
from emendo_ops.conformance.connection import Connection
from emendo_ops.conformance.mem0 import Mem0
from emendo_ops.conformance.run import Verdict, examine
from emendo_ops.console import progress
from emendo_ops.doctor.environment import unknown_variables
from tests.support.faulty_server import FaultyServer

# (defect, check that finds it, words of the finding)
BOTH = [
    ("lost updates", "lost update", "15 of them are lost"),
    ("an update brings back", "resurrection", ""),
    ("a late update is told as done", "resurrection", "is reported as done"),
    ("a deletion has no effect", "resurrection", ""),
    ("entry 1 is missing", "gapless history", "does not begin"),
    ("entry 4 is missing", "gapless history", "do not fit"),
    ("entry 9 is missing", "gapless history", "does not end"),
    ("an entry is there twice", "gapless history", "do not fit"),
    ("strangers see: read", "tenant crossing", "reads the memory"),
    ("strangers see: history", "tenant crossing", "memory's history"),
    ("strangers see: list", "tenant crossing", "lists the memory"),
    ("strangers see: write", "tenant crossing", "change by the other key"),
    ("the key is ignored", "idempotent retry", "made 5 memories"),
    ("another text with the key is stored", "idempotent retry", "is stored"),
    ("another text with the key is not refused", "idempotent retry", "is not refused"),
    ("done before it is", "truth in status", "cannot be read"),
    ("an update has no effect", "truth in status", "shows the old text"),
    ("an update of nothing is done", "truth in status", "never was"),
]
NATIVE = [
    ("versions with gaps", "gapless history", "has version"),
    ("strangers see: job", "tenant crossing", "reads the job"),
    ("a new job is unknown", "truth in status", "unknown right after"),
]


async def findings(server: FaultyServer, dialect: str, other_key: str = "second") -> dict[str, tuple[Verdict, str]]:
    outcomes = await examine("http://server", dialect, "first", other_key, patience=5, transport=server.transport)
    return {outcome.check: (outcome.verdict, outcome.why) for outcome in outcomes}


@pytest.mark.parametrize("dialect", ["emendo", "mem0"])
async def test_a_server_without_defects_passes_and_is_left_clean(dialect):
    server = FaultyServer()
    found = await findings(server, dialect)
    assert {check: verdict for check, (verdict, _) in found.items()} == dict.fromkeys(CHECKS, Verdict.PASS), found
    assert [memory.text for memory in server.memories.values() if not memory.is_deleted] == []


async def test_a_server_that_refuses_updates_beside_others_passes():
    server = FaultyServer()
    server.refuses_beside = True
    found = await findings(server, "emendo")
    assert {verdict for verdict, _ in found.values()} == {Verdict.PASS}, found


@pytest.mark.parametrize(
    ("dialect", "defect", "check", "words"),
    [*(("emendo", *case) for case in [*BOTH, *NATIVE]), *(("mem0", *case) for case in BOTH)],
)
async def test_a_check_finds_its_defect(dialect, defect, check, words):
    verdict, why = (await findings(FaultyServer(defect), dialect))[check]
    assert (verdict, words in why) == (Verdict.FAIL, True), why


def test_every_check_has_a_defect():
    assert {check for _, check, _ in [*BOTH, *NATIVE]} == set(CHECKS)


async def test_tenant_crossing_is_skipped_without_a_second_key():
    verdict, why = (await findings(FaultyServer(), "emendo", other_key=""))["tenant crossing"]
    assert (verdict, "--other-key" in why) == (Verdict.SKIP, True)


async def test_two_keys_of_one_project_are_a_failed_check():
    found = (await findings(FaultyServer(), "emendo", other_key="first"))["tenant crossing"]
    assert found == (Verdict.FAIL, "the other key reads the memory")


@pytest.mark.parametrize("words", [(), ("--json",)])
def test_it_says_how_far_it_is_except_to_programs(words, monkeypatch, capsys):
    monkeypatch.setattr(progress, "LINE_INTERVAL", 0.0)
    monkeypatch.setattr("emendo_ops.conformance.run.examine", partial(examine, transport=FaultyServer().transport))
    assert run(["conformance", "--url", "http://server", "--key", "first", *words]) == 0
    told = [line.partition(", ")[0] for line in capsys.readouterr().err.splitlines()]
    assert told == ([] if words else [f"checks: {done} of {len(CHECKS)}" for done in range(len(CHECKS) + 1)])


async def test_a_key_that_is_refused_stops_everything():
    requests = []

    def refuse(request: httpx.Request) -> httpx.Response:
        requests.append(request.method)
        return httpx.Response(401, json={"detail": "no such key"})

    with pytest.raises(ConfigurationError, match="answered 401: no such key"):
        await examine("http://server", "mem0", "first", transport=httpx.MockTransport(refuse))
    assert requests == ["GET"]


async def test_a_busy_server_is_asked_again():
    server, busy = FaultyServer(), [429, 503]

    async def sometimes(request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and busy:
            return httpx.Response(busy.pop(), headers={"Retry-After": "0"})
        return await server.transport.handle_async_request(request)

    outcomes = await examine("http://server", "emendo", "first", transport=httpx.MockTransport(sometimes))
    assert (busy, {outcome.verdict for outcome in outcomes}) == ([], {Verdict.PASS, Verdict.SKIP})


async def test_a_server_that_stays_busy_has_no_defect():
    """A rate that the checks themselves used up would look like updates that never succeed."""

    async def busy(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(200, json={"results": []})
        return httpx.Response(429, headers={"Retry-After": "60"}, json={"detail": "later"})

    for dialect in ("emendo", "mem0"):
        outcomes = await examine("http://server", dialect, "first", "second", transport=httpx.MockTransport(busy))
        assert {outcome.verdict for outcome in outcomes} == {Verdict.ERROR}


async def test_a_write_that_was_accepted_is_not_sent_again():
    """Its answer of 503 tells that its job failed. Sent again, it would be another write."""
    server, sent, failed = FaultyServer(), [], []

    async def answers(request: httpx.Request) -> httpx.Response:
        if request.url.path in failed:
            return httpx.Response(200, json={"status": "FAILED", "results": []})
        if request.method == "PUT":
            sent.append((request.url.path, request.content))
            if len(sent) == 1:
                failed.append("/v1/event/lost/")
                return httpx.Response(503, headers={"Retry-After": "0"}, json={"detail": "x", "event_id": "lost"})
        return await server.transport.handle_async_request(request)

    connection = Connection("http://server", "Token first", 5, httpx.MockTransport(answers))
    mem0 = Mem0(connection)
    memory_id = await mem0.add("A memory.", "ana")
    write = await mem0.end(await mem0.begin_update(memory_id, text="changed"))
    assert (len(sent), write.succeeded, write.is_over) == (1, False, True)
    await connection.close()


async def test_an_error_of_the_server_is_no_finding():
    async def broken(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"results": []}) if request.method == "GET" else httpx.Response(500)

    outcomes = await examine("http://server", "emendo", "first", "second", transport=httpx.MockTransport(broken))
    assert {(outcome.verdict, outcome.why) for outcome in outcomes} == {
        (Verdict.ERROR, "POST /api/v1/memories answered 500")
    }


def test_a_server_that_is_not_there(capsys, unused_tcp_port):
    command = ["conformance", "--url", f"http://127.0.0.1:{unused_tcp_port}", "--key", "em_not_shown", "--json"]
    assert run(command) == 1
    error = json.loads(capsys.readouterr().err)
    assert (error["code"], "em_not_shown" in str(error)) == ("CONFIGURATION", False)
    assert "ConnectError" in error["message"]


def test_doctor_knows_the_variables_of_its_keys(monkeypatch):
    for option in conformance.params:
        if option.envvar:
            monkeypatch.setenv(str(option.envvar), "em_key")
    assert "EMENDO_CONFORMANCE_OTHER_KEY" in os.environ
    assert [finding.found for finding in unknown_variables() if "CONFORMANCE" in finding.found] == []


def test_an_address_without_scheme_is_wrong_usage(capsys):
    assert run(["conformance", "--url", "localhost:8080"]) == 2
    assert "does not begin with http://" in capsys.readouterr().err
