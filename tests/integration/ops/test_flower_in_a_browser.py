"""Flower as an operator sees it: a real browser, a real worker, jobs in each state, behind a proxy's URL prefix.

With EMENDO_PICTURES=docs/img the test also renews the pictures of the documentation.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emendo_client.exchanges import jobs
from emendo_config import Keys
from tests.support.dashboards import LOGIN, flower_process
from tests.support.patience import until

playwright = pytest.importorskip("playwright.sync_api", reason="make test-slow installs it")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on PATH")]

# Root needs no sandbox; the others keep Chromium from calling its maker.
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
SECRET = "a very private sentence"


@pytest.fixture
def chromium() -> Iterator[Any]:
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


def test_an_operator_looks_at_workers_and_at_jobs_in_each_state(chromium, emendo_client, emendo_worker, tmp_path):
    with flower_process(emendo_worker, tmp_path, FLOWER_URL_PREFIX="/flower") as flower:
        address = f"http://127.0.0.1:{flower.port}{flower.prefix}"
        stranger = chromium.new_page()
        with pytest.raises(playwright.Error, match="AUTH"):  # it would ask a person for the login
            stranger.goto(f"{address}/tasks")
        user, _, password = LOGIN.partition(":")
        visitor = chromium.new_context(
            http_credentials={"username": user, "password": password}, viewport={"width": 1200, "height": 640}
        )
        page = visitor.new_page()
        page.set_default_timeout(60_000)
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("response", lambda answer: problems.append(answer.url) if answer.status >= 400 else None)

        page.goto(f"{address}/workers")
        until(lambda: "Online" in _reloaded(page), "the worker is not shown")
        states = _jobs_in_each_state(emendo_client, emendo_worker)
        for job_id, state in states.items():
            page.goto(f"{address}/task/{job_id}")
            until(lambda state=state: state in _reloaded(page), f"{job_id} is not shown as {state}")
        page.goto(f"{address}/tasks")
        page.get_by_role("searchbox").fill("emendo.update")
        rows = {job_id: page.locator("tr", has_text=job_id) for job_id in states}
        for job_id, state in states.items():
            rows[job_id].get_by_text(state).wait_for()
        _picture(page, "flower-tasks")
        assert SECRET not in page.content()

        done = next(iter(states))
        rows[done].locator(f"a[href$='/task/{done}']").click()
        page.wait_for_url(f"{address}/task/{done}")
        shown = page.inner_text("body")
        assert all(words in shown for words in ("emendo.update", done, "'update ", " v2 in ", " ms'"))
        assert SECRET not in page.content()
        assert not any(page.get_by_role("button", name=name).count() for name in ("Terminate", "Revoke"))
        _picture(page, "flower-task")

        page.goto(f"{address}/workers")
        _picture(page, "flower-workers")
        page.get_by_role("link", name="Broker").click()
        page.wait_for_url(f"{address}/broker")
        assert all(queue in page.inner_text("body") for queue in ("interactive", "bulk", "inference", "maintenance"))
        assert problems == []
        forbidden = page.request.post(f"{address}/api/worker/shutdown/any")
        assert forbidden.status == 403


def _jobs_in_each_state(client: Any, settings: Any) -> dict[str, str]:
    """Jobs that end, fail, wait for another attempt and are cancelled: the state that Flower shows for each."""
    memory_id = client.add(SECRET, user_id="ana", infer=False).wait(60).results[0].memory_id
    done = client.update(memory_id, f"{SECRET}, changed")
    done.wait(60, raise_on_failure=True)
    failed = client.update("no-such-memory", SECRET)
    failed.wait(60)
    # Another worker has these memories, so their jobs come back later.
    keys = Keys(settings.key_prefix)
    for held in ("held", "given-up"):
        client._connections.data.set(keys.lock(held), "another worker", px=600_000)
    retried, revoked = client.update("held", SECRET), client.update("given-up", SECRET)
    for job in (retried, revoked):
        until(lambda job=job: job.status() == "retrying", "the job does not wait for the lock")
    # Job.cancel() would wait for the memory that is held here.
    assert client._run(jobs.cancel(settings, keys, client.project, revoked.id))
    client._connections.data.delete(keys.lock("given-up"))
    revoked.wait(120)
    return {done.id: "SUCCESS", failed.id: "FAILURE", retried.id: "RETRY", revoked.id: "REVOKED"}


def _reloaded(page: Any) -> str:
    page.reload()
    page.wait_for_load_state("networkidle")
    return str(page.inner_text("body"))


def _picture(page: Any, name: str) -> None:
    folder = os.environ.get("EMENDO_PICTURES")
    if folder:
        page.screenshot(path=Path(folder) / f"{name}.png")
