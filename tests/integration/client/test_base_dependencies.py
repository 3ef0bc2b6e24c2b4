"""A web app with only the base dependencies enqueues, waits, reads and searches."""

from __future__ import annotations

import json
import os

from emendo_client.testing.worker import environment
from emendo_ops import extras
from tests.support.absent_modules import run_without

APP = """
import json

from emendo_client import MemoryClient

with MemoryClient(project="base") as client:
    memory_id = client.add("I live in Porto", user_id="ana", infer=False).wait(100).results[0].memory_id
    job = client.update(memory_id, "I live in Lisbon")
    done = {
        "status": job.wait(100).status,
        "memory": client.get(memory_id).memory,
        "history": [entry.event for entry in client.history(memory_id)],
        "found": [hit.id for hit in client.search("who lives in Lisbon", user_id="ana")] == [memory_id],
        "jobs": len(client.jobs()),
    }
print(json.dumps(done))
"""


def test_an_app_needs_no_extra(emendo_worker, openai_server):
    # Celery itself needs click, so click is always there.
    absent = {module for modules in extras.MODULES.values() for module in modules} - {"click"}
    ended = run_without(absent, APP, env={**os.environ, **environment(emendo_worker)})
    assert (ended.returncode, ended.stderr) == (0, ""), ended.stderr
    assert json.loads(ended.stdout) == {
        "status": "succeeded",
        "memory": "I live in Lisbon",
        "history": ["ADD", "UPDATE"],
        "found": True,
        "jobs": 2,
    }
