"""A store moves to another embedding model or size while it is in use."""

from __future__ import annotations

from emendo_client import MemoryClient
from emendo_client.testing.worker import WorkerProcess


def test_searches_answer_from_the_new_vectors_when_the_job_is_done(emendo_settings, openai_server, tmp_path):
    with WorkerProcess(emendo_settings, tmp_path / "worker.log"), MemoryClient(emendo_settings) as client:
        client.add("I enjoy seafood.", user_id="ana", infer=False).wait()
        plan = client.reembed(dimensions=128, dry_run=True)
        assert plan.memories == 1
        assert client.reembed(dimensions=128).wait().status == "succeeded"
        assert client.migration().phase == "switched"
        (hit,) = client.search("which seafood do I enjoy", user_id="ana")
        assert hit.memory == "I enjoy seafood."
        assert client.finalize_reembed().wait().status == "succeeded"  # removes the old vectors
