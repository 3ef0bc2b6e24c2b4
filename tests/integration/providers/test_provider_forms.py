"""Embedding servers as people have them: whatever form each wants, memories are added and found."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from emendo_client import Job, MemoryClient
from emendo_client.testing import OpenAIServer
from emendo_client.testing.fixtures import settings_for
from emendo_client.testing.worker import WorkerProcess
from tests.support.inferring import started
from tests.support.migrating import work_until
from tests.support.patience import PATIENCE
from tests.support.provider_forms import BATCH, DIMENSIONS, FORMS, ProviderForm
from tests.support.spaces import assert_right, own_space

# Two forms that have all the differences between them.
REAL = ("Azure OpenAI", "LM Studio")


@pytest.fixture
def server():
    with OpenAIServer() as made:
        yield made


@pytest.fixture
def settings(form: ProviderForm, server: OpenAIServer, emendo_redis, monkeypatch):
    """Settings as a user of this server has them."""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    server.form = form.server
    return settings_for(
        emendo_redis.url,
        f"{server.base_url}{form.query}",
        embedding_dimensions=DIMENSIONS,
        embedding_api_key="test" if form.has_key else "",
        **form.settings,
    )


def add(client: MemoryClient, work: Callable[[Job], None], texts: list[str]) -> list[str]:
    """Ids of new memories, added as one batch."""
    job = client.batch_add([{"messages": text, "user_id": "ana"} for text in texts], infer=False)
    work(job)
    result = job.wait(PATIENCE)
    assert (result.status, len(result.results)) == ("succeeded", len(texts)), result
    return [item.memory_id for item in result.results]


def find(client: MemoryClient, texts: list[str]) -> None:
    for wanted in (texts[0], texts[-1]):
        assert client.search(wanted, user_id="ana", limit=1)[0].memory == wanted


@pytest.mark.parametrize("form", FORMS, ids=[each.name for each in FORMS])
def test_memories_are_added_and_found_and_the_form_is_remembered(form, settings, server):
    services = started(settings)

    def work(job: Job) -> None:
        work_until(services, lambda: job.status().is_final)

    first, second = ([f"fact {number} of {part} about rowing" for number in range(BATCH)] for part in "ab")
    with MemoryClient(settings) as client:
        ids = add(client, work, first)
        statuses = [request.status for request in server.requests]
        assert len([status for status in statuses if status != 200]) <= form.most_refused, statuses
        find(client, first)
        server.clear_requests()
        ids += add(client, work, second)
        find(client, second)
    for memory_id in ids:
        assert_right(services, memory_id, own_space(services))
    services.stop()
    assert {request.status for request in server.requests} == {200}, "the form is remembered"
    for request in server.requests:
        assert request.body.keys() & {"dimensions", "encoding_format"} == form.sends


@pytest.mark.parametrize("form", [each for each in FORMS if each.name == "LM Studio"], ids=["LM Studio"])
@pytest.mark.parametrize("is_told", [False, True], ids=["found out", "set"])
def test_each_process_finds_the_form_out_once_unless_the_settings_say_it(form, settings, server, is_told):
    """The most refused requests that any server of the table costs a process."""
    if is_told:
        settings = settings.model_copy(update={"embedding_send_encoding_format": "never", "embedding_max_inputs": 10})
    refused = []
    for process in range(3):  # each has services of its own, as a worker process has
        server.clear_requests()
        services = started(settings)
        with MemoryClient(settings) as client:
            for half in range(2):
                texts = [f"fact {number} of {process} and {half} about rowing" for number in range(BATCH)]
                add(client, lambda job, own=services: work_until(own, lambda: job.status().is_final), texts)
        services.stop()
        refused.append(len([request for request in server.requests if request.status != 200]))
    assert all(count <= form.most_refused for count in refused)
    assert (max(refused) == 0) == is_told


@pytest.mark.slow  # the forms themselves are tried without a worker process
@pytest.mark.parametrize("form", [each for each in FORMS if each.name in REAL], ids=REAL)
def test_a_real_worker_gets_along_with_it(form, settings, server, tmp_path):
    texts = [f"fact {number} about rowing" for number in range(BATCH)]
    with WorkerProcess(settings, tmp_path / "worker.log"), MemoryClient(settings) as client:
        add(client, lambda job: job.wait(PATIENCE), texts)
        find(client, texts)
        server.clear_requests()
        add(client, lambda job: job.wait(PATIENCE), [f"{text}, and more" for text in texts])
    assert {request.status for request in server.requests} == {200}
    assert "secret" not in (tmp_path / "worker.log").read_text(encoding="utf-8")
