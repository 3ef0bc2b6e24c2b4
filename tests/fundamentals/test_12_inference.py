"""With a chat model the workers find the facts of a conversation, and decide what each does to the memories."""

from __future__ import annotations

import json

from emendo_client import MemoryClient
from emendo_client.testing.worker import WorkerProcess


def test_a_later_statement_updates_the_memory_of_the_earlier_one(emendo_settings, openai_server, tmp_path):
    chat = {"chat_model": "any-model", "chat_base_url": openai_server.base_url}
    settings = emendo_settings.model_copy(update=chat)
    with WorkerProcess(settings, tmp_path / "worker.log"), MemoryClient(settings) as client:
        openai_server.script(found("I dislike seafood."))
        (added,) = client.add("Please note: I dislike seafood.", user_id="ana").wait().results
        assert (added.event, added.memory) == ("ADD", "I dislike seafood.")

        openai_server.script(
            found("I enjoy seafood."), decided("UPDATE", old="I dislike seafood.", new="I enjoy seafood.")
        )
        (updated,) = client.add("By now I enjoy seafood.", user_id="ana").wait().results
        assert (updated.memory_id, updated.event, updated.version) == (added.memory_id, "UPDATE", 2)


def found(text: str) -> str:
    """The chat model's answer to the question for facts."""
    return json.dumps({"facts": [{"message": 1, "text": text, "category": None}]})


def decided(event: str, *, old: str, new: str) -> str:
    """The chat model's answer to the question what the only fact does to the only memory."""
    decision = {"fact": 1, "memory": 1, "old_text": old, "event": event, "text": new, "reason": "newer"}
    return json.dumps({"decisions": [decision]})
