"""docs/how-to/upgrade.md, line by line: from the release before to this one and back, under load."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from emendo_client import Job, MemoryClient
from emendo_client.testing import Fault, OpenAIServer
from emendo_client.testing.fixtures import settings_for
from tests.chaos.mixed_releases import NoSuchReleaseError, OldRelease
from tests.chaos.traffic import Ask, Traffic
from tests.support.gateway import make_key
from tests.support.patience import PATIENCE, until
from tests.support.upgrade_page import numbered
from tests.support.upgrading import HTTP, PERSONS, PYTHON, HttpClient, Installation

ROOT = Path(__file__).resolve().parents[3]
# Items of one chunk of a batch, and chunks of a project that are worked at once.
CHUNK, WINDOW = 5, 2
# The provider is down for texts with these words, now and then.
HELD = "held words"


@dataclass
class Upgrade:
    """The installation, and notes of one step for another."""

    installation: Installation
    provider: OpenAIServer
    erasures: list[Job] = field(default_factory=list)


Step = Callable[[Upgrade], None]
STEPS: dict[str, dict[str, Step]] = {"The order": {}, "Go back": {}}


def step(title: str, line: str) -> Callable[[Step], Step]:
    """Registers what a line of the page asks for, under the line itself."""

    def register(function: Step) -> Step:
        STEPS[title][line] = function
        return function

    return register


@step("The order", 'Read "When you upgrade" in `CHANGELOG.md`.')
def _read_the_changelog(_: Upgrade) -> None:
    words = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^### When you upgrade\n\n- ", words, re.MULTILINE)


@step("The order", "Start one worker of the new release beside the others. Its log says `worker ready`.")
def _start_one_new_worker(upgrade: Upgrade) -> None:
    upgrade.installation.worker(old=False)


@step("The order", "Replace the other workers one by one. `SIGTERM` stops one, see [below](#stop-a-worker).")
def _replace_the_other_workers(upgrade: Upgrade) -> None:
    *others, _ = upgrade.installation.workers
    for each in others:
        upgrade.installation.replace_worker(each, old=False)
        upgrade.installation.meet_load()


@step("The order", "Replace beat and the gateways. `SIGTERM` stops them, too.")
def _replace_beat_and_the_gateway(upgrade: Upgrade) -> None:
    upgrade.installation.replace_beat_and_gateway(old=False)


@step("The order", "Replace the clients: web apps, and the machines of operators.")
def _replace_the_clients(upgrade: Upgrade) -> None:
    _use_new_clients(upgrade)


@step("The order", "Run `emendo doctor`. It shows no fault of a worker.")
def _run_the_doctor(upgrade: Upgrade) -> None:
    findings = {each["check"]: each for each in upgrade.installation.doctor()}
    assert "worker" not in findings
    assert (findings["workers"]["state"], findings["workers"]["found"]) == ("ok", "3 alive")
    assert findings["dead letters"]["found"] == "0"


@step("The order", "Use what is new only now: new kinds of calls, new settings, `emendo reembed`.")
def _use_what_is_new(upgrade: Upgrade) -> None:
    client = _erase_a_user(upgrade)
    (result,) = upgrade.erasures[-1].wait(PATIENCE, raise_on_failure=True).results
    assert (result.erased["memories"], result.erased["failed"]) == (1, 0)
    assert client.get_all("kim").results == []


@step("Go back", "Stop the use of what is new.")
def _stop_the_use_of_what_is_new(upgrade: Upgrade) -> None:
    _erase_a_user(upgrade)  # the last one


@step("Go back", "Replace the clients.")
def _replace_the_clients_again(upgrade: Upgrade) -> None:
    installation = upgrade.installation
    _leave_a_chunk_waiting(upgrade)
    for caller in list(installation.callers):
        installation.retire(caller)
    for _ in range(2):
        installation.call(PYTHON, installation.old_client())


@step(
    "Go back",
    "Wait until `waiting` is 0 in the gateway's `/health`, or in `client.health()` of this release. Then no chunk "
    "and no conversation waits for a place in its project's window.",
)
def _wait_for_the_windows(upgrade: Upgrade) -> None:
    waiting = lambda: upgrade.installation.health()["waiting"]  # noqa: E731
    assert waiting() > 0
    upgrade.provider.faults.clear()
    until(lambda: waiting() == 0)


@step("Go back", "Wait until the new release's jobs of `erase_user` and `delete(hard=True)` have ended.")
def _wait_for_the_erasures(upgrade: Upgrade) -> None:
    for job in upgrade.erasures:
        job.wait(PATIENCE, raise_on_failure=True)
    upgrade.installation.await_retired()


@step(
    "Go back",
    "Replace beat, the gateways and the workers. Inboxes, delayed jobs and what a killed worker left are worked by the "
    "older ones.",
)
def _replace_all_processes(upgrade: Upgrade) -> None:
    installation = upgrade.installation
    installation.replace_beat_and_gateway(old=True)
    for each in list(installation.workers):
        installation.replace_worker(each, old=True)
        installation.meet_load()


def _leave_a_chunk_waiting(upgrade: Upgrade) -> None:
    """A batch of more chunks than the window has places. The provider answers none of them until the fault ends."""
    installation = upgrade.installation
    traffic = Traffic(installation.clients[PYTHON], 0, first=0)
    ids = traffic.add((WINDOW + 1) * CHUNK)
    upgrade.provider.faults.add(Fault("unavailable", rate=1.0, match=HELD))
    texts = {each: f"{HELD} {each}" for each in ids}
    job = traffic.client.batch_update([{"memory_id": each, "text": text} for each, text in texts.items()])
    traffic.note(job, *(Ask("update", each, text) for each, text in texts.items()))
    installation.retired(PYTHON, traffic)


def _erase_a_user(upgrade: Upgrade) -> MemoryClient:
    client = upgrade.installation.clients[PERSONS]
    client.add("I live in Porto.", "kim", infer=False).wait(PATIENCE, raise_on_failure=True)
    upgrade.erasures.append(client.erase_user("kim"))
    return client


def _use_new_clients(upgrade: Upgrade) -> None:
    installation = upgrade.installation
    for caller in list(installation.callers):
        installation.retire(caller)
    for _ in range(2):
        installation.call(PYTHON, MemoryClient(installation.settings))
    key, _ = make_key(installation.settings, HTTP, rate=0)
    installation.call(HTTP, HttpClient(installation.url, key))
    installation.meet_load()


@pytest.mark.parametrize("title", STEPS)
def test_each_line_of_the_page_has_its_step(title):
    assert numbered(title) == list(STEPS[title])


@pytest.mark.slow
def test_the_order_and_the_way_back(emendo_redis, openai_server, tmp_path):
    try:
        older = OldRelease(tmp_path / "older")
    except NoSuchReleaseError as missing:
        pytest.skip(str(missing))
    settings = settings_for(
        emendo_redis.url,
        openai_server.base_url,
        chunk_items=CHUNK,
        project_window_chunks=WINDOW,
        drain_budget=2.0,  # an older worker goes on for so long after SIGTERM
        lease=8.0,
        max_attempts=100,  # the words that are held
        retry_max=1.0,
    )
    openai_server.latency_ms, openai_server.jitter_ms = 10, 30
    with Installation(settings, tmp_path, older) as installation:
        upgrade = Upgrade(installation, openai_server)
        for _ in range(2):
            installation.worker(old=True)
        installation.start_beat(old=True)
        installation.start_gateway(old=True)
        for _ in range(2):
            installation.call(PYTHON, installation.old_client())
        installation.meet_load()
        _follow("The order", upgrade)
        installation.check()
        _use_new_clients(upgrade)
        _follow("Go back", upgrade)
        installation.check()
        with installation.old_client() as client:
            assert client.call("dead_letters") == []


def _follow(title: str, upgrade: Upgrade) -> None:
    for line in numbered(title):
        began = time.monotonic()
        STEPS[title][line](upgrade)
        print(f"{title}, after {time.monotonic() - began:.1f} s: {line}")
