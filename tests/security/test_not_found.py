"""Not found is one answer: of another project's id nobody learns more than of an id that never was."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from emendo_client import Job, MemoryClient
from emendo_client.errors import EmendoError
from tests.support.gateway import browser, make_key
from tests.support.intake import added, drain, drain_all

SECRET = "the other project's secret"


@pytest.fixture
def other(services, settings):
    """Another project with one of everything that has an id."""
    with MemoryClient(settings, project="other") as client:
        made = SimpleNamespace(client=client, memories={}, jobs={})
        for name in ("current", "changed", "deleted", "erased"):
            made.memories[name] = added(services, client, f"{SECRET} {name}", user_id="ana")
        drain(services, client.update(made.memories["changed"], f"{SECRET}, changed"))
        drain(services, client.delete(made.memories["deleted"]))
        drain(services, client.delete(made.memories["erased"], hard=True))
        made.jobs["ended"] = client.update(made.memories["current"], f"{SECRET}, again")
        drain_all(services)
        disputed = client.update(made.memories["changed"], f"{SECRET}, mine", expected_version=1, on_conflict="manual")
        drain_all(services)
        made.conflict = disputed.wait(1).results[0].conflict_id
        dead = client.update(made.memories["current"], f"{SECRET}, dead")
        services.control.hset(services.keys.job(dead.id), "payload", "no JSON")
        drain_all(services)
        made.jobs["dead"] = dead
        assert dead.status() == "failed"
        before = _state(services, made)
        yield made
        assert _state(services, made) == before, "something of the other project changed"


def _state(services, made: SimpleNamespace) -> dict[bytes, Any]:
    """Everything of the other project that Redis holds."""
    own = [
        b"other",
        *(each.encode() for each in made.memories.values()),
        *(job.id.encode() for job in made.jobs.values()),
    ]
    names = services.data.scan_iter(match=f"{services.settings.key_prefix}*", count=1_000)
    return {name: services.data.dump(name) for name in names if any(each in name for each in own)}


READS: dict[str, Callable[[MemoryClient, str], Any]] = {
    "get": lambda client, an_id: client.get(an_id),
    "get(include_deleted)": lambda client, an_id: client.get(an_id, include_deleted=True),
    "history": lambda client, an_id: client.history(an_id),
    "diagnose": lambda client, an_id: client.diagnose(an_id),
    "count": lambda client, an_id: client.count(filters={"user_id": an_id}),
    "dead_letters": lambda client, an_id: client.dead_letters(memory_id=an_id),
    "replay_all": lambda client, an_id: client.replay_all(memory_id=an_id),
    "discard_all": lambda client, an_id: client.discard_all(memory_id=an_id),
}
WRITES: dict[str, Callable[[MemoryClient, str], Any]] = {
    "update": lambda client, an_id: client.update(an_id, "taken over"),
    "update(version)": lambda client, an_id: client.update(an_id, "taken over", expected_version=1),
    "update(metadata)": lambda client, an_id: client.update(an_id, metadata={"a": 1}),
    "update(merge)": lambda client, an_id: client.update(an_id, "taken over", on_conflict="merge"),
    "delete": lambda client, an_id: client.delete(an_id),
    "erase": lambda client, an_id: client.delete(an_id, hard=True),
    "restore": lambda client, an_id: client.restore(an_id),
    "restore(version)": lambda client, an_id: client.restore(an_id, version=1),
    "batch_update": lambda client, an_id: client.batch_update([{"memory_id": an_id, "text": "taken over"}]),
    "batch_delete": lambda client, an_id: client.batch_delete([{"memory_id": an_id}]),
    "batch_delete(hard)": lambda client, an_id: client.batch_delete([{"memory_id": an_id}], hard=True),
}
OF_JOBS: dict[str, Callable[[MemoryClient, str], Any]] = {
    "job": lambda client, an_id: client.job(an_id),
    "job.status": lambda client, an_id: client.job(an_id).status(),
    "job.info": lambda client, an_id: client.job(an_id).info(),
    "job.wait": lambda client, an_id: client.job(an_id).wait(1),
    "job.results": lambda client, an_id: list(client.job(an_id).results()),
    "job.progress": lambda client, an_id: client.job(an_id).progress(),
    "job.cancel": lambda client, an_id: client.job(an_id).cancel(),
    "dead_letter": lambda client, an_id: client.dead_letter(an_id),
    "discard": lambda client, an_id: client.discard(an_id),
    "replay": lambda client, an_id: client.replay(an_id),
}
OF_CONFLICTS: dict[str, Callable[[MemoryClient, str], Any]] = {
    "conflict": lambda client, an_id: client.conflict(an_id),
    "resolve": lambda client, an_id: client.resolve_conflict(an_id, "ours"),
}


def said(services, client: MemoryClient, call: Callable[[MemoryClient, str], Any], an_id: str) -> str:
    """All that a caller learns, without what differs from call to call: the id, the job and the times."""
    try:
        answer = call(client, an_id)
        if isinstance(answer, Job):
            drain_all(services)
            result = answer.wait(5)
            answer = result.model_dump(exclude={"job_id", "submitted_at", "started_at", "finished_at"})
    except EmendoError as error:
        answer = [type(error).__name__, error.to_dict(), error.debug_info, repr(error.__cause__), str(error)]
    shown = str(answer)
    assert SECRET not in shown
    return shown.replace(an_id, "ID")


@pytest.mark.parametrize("name", [*READS, *WRITES])
def test_another_projects_memory_is_like_none(services, client, other, name):
    call = {**READS, **WRITES}[name]
    never = said(services, client, call, str(uuid.uuid4()))
    for kind, memory_id in other.memories.items():
        assert said(services, client, call, memory_id) == never, kind
    if name in WRITES:
        assert "MEMORY_NOT_FOUND" in never


@pytest.mark.parametrize("name", OF_JOBS)
def test_another_projects_job_is_like_none(services, client, other, name):
    never = said(services, client, OF_JOBS[name], str(uuid.uuid4()))
    for kind, job in other.jobs.items():
        assert said(services, client, OF_JOBS[name], job.id) == never, kind
    assert name == "job" or "JOB_NOT_FOUND" in never or "NO_SUCH_DEAD_LETTER" in never, never


@pytest.mark.parametrize("name", OF_CONFLICTS)
def test_another_projects_conflict_is_like_none(services, client, other, name):
    memory_id, _, applied = other.conflict.partition(":")
    nobody = str(uuid.uuid4())
    never = said(services, client, OF_CONFLICTS[name], f"{nobody}:{applied}").replace(nobody, "MEMORY")
    assert "NO_SUCH_CONFLICT" in never or "MEMORY_NOT_FOUND" in never
    assert said(services, client, OF_CONFLICTS[name], other.conflict).replace(memory_id, "MEMORY") == never


@pytest.mark.parametrize("path", ["/api/v1/memories/{}", "/api/v1/jobs/{}"])
@pytest.mark.parametrize("method", ["GET", "PATCH", "PUT", "DELETE"])
def test_a_key_of_one_user_learns_nothing_of_another_users_ids(services, client, other, path, method):
    """In one project, over HTTP: the ids of another user, of another project, and of nobody."""
    theirs = added(services, client, SECRET, user_id="bob")
    job = client.update(theirs, f"{SECRET}, changed")
    drain(services, job)
    key, _ = make_key(services.settings, "default", "admin", user_id="ana")
    ids = {"jobs": [job.id, other.jobs["ended"].id], "memories": [theirs, *other.memories.values()]}
    with browser(services.settings) as http:

        def told(an_id: str) -> str:
            body = {"json": {"text": "taken over"}} if method in {"PATCH", "PUT"} else {}
            answer = http.request(method, path.format(an_id), headers={"Authorization": f"Bearer {key}"}, **body)
            assert answer.status_code in {404, 405}
            names = sorted(set(answer.headers) - {"x-request-id"})
            request_id = answer.headers.get("x-request-id", "none")
            return f"{answer.status_code} {names} {answer.text}".replace(request_id, "REQUEST").replace(an_id, "ID")

        never = told(str(uuid.uuid4()))
        for each in ids[path.split("/")[3]]:
            assert told(each) == never
    assert client.history(theirs)[-1].version == 2
