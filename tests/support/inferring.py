"""Shared by the tests of inference: a chat model that is told what to say, and services that have one."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from emendo_client import JobResult, MemoryClient
from emendo_client.testing import OpenAIServer, Request
from emendo_config import Settings
from emendo_config.celery_app import create_app
from emendo_config.spaces.bootstrap import ensure_index
from emendo_config.spaces.indexes import described
from emendo_workers.intake.sweeper import Sweeper
from emendo_workers.services import Services
from tests.support.intake import drain_all
from tests.support.patience import until

EXTRACT, DECIDE = "ExtractedFacts", "FactDecisions"
# Asked by a worker whose key was refused, until it is accepted again.
PROBE = "ProbeAnswer"
Said = dict[str, Any]


def chat_at(server: OpenAIServer) -> dict[str, str]:
    """The settings of a process that asks this server's chat model."""
    return {"chat_model": "any", "chat_base_url": server.base_url, "chat_api_key": "test"}


class Model:
    """A scripted chat model behind the server: every sentence of a message is a fact, and rules say what facts do.

    Attributes:
        rules: functions from a fact's text, and the memories by their shown number, to decisions. The first one that
            has an answer counts. Without any the fact is an ADD.
        before: called before each answer, with the stage.
    """

    def __init__(self, server: OpenAIServer) -> None:
        self._server = server
        self.rules: list[Callable[[str, dict[int, str]], list[Said] | None]] = []
        self.before: Callable[[str], None] = lambda stage: None
        server.answer_chat_with(self._answer)

    def updates(self, fact: str, old: str, new: str = "", **more: Any) -> None:
        """The fact changes the memory that says `old`, to `new` or to the fact itself."""
        self._about(fact, old, event="UPDATE", text=new or fact, **more)

    def deletes(self, fact: str, *olds: str) -> None:
        """The fact deletes the memories that say `olds`."""

        def rule(text: str, memories: dict[int, str]) -> list[Said] | None:
            found = [_about(number, said, "DELETE") for number, said in memories.items() if said in olds]
            return found if text == fact and found else None

        self.rules.append(rule)

    def repeats(self, fact: str, old: str) -> None:
        """The memory that says `old` says the fact already."""
        self._about(fact, old, event="NONE")

    def _about(self, fact: str, old: str, **said: Any) -> None:
        def rule(text: str, memories: dict[int, str]) -> list[Said] | None:
            numbers = [number for number, memory in memories.items() if memory == old]
            return [_about(numbers[0], old, **said)] if text == fact and numbers else None

        self.rules.append(rule)

    def _answer(self, request: dict[str, Any]) -> str:
        stage = stage_of(request)
        if stage == PROBE:
            return json.dumps({"ok": True})
        self.before(stage)
        asked = json.loads(request["messages"][-1]["content"])
        if stage == EXTRACT:
            return json.dumps({"facts": list(_sentences(asked["messages"]))})
        memories = {each["memory"]: each["text"] for each in asked["memories"]}
        decisions = []
        for each in asked["facts"]:
            said = next((found for rule in self.rules if (found := rule(each["text"], memories))), [_add()])
            decisions += [{"fact": each["fact"], **one} for one in said]
        return json.dumps({"decisions": decisions})

    @property
    def asked(self) -> list[str]:
        """The stages the model was asked about, in order."""
        return [stage_of(request.body) for request in self.requests]

    @property
    def requests(self) -> list[Request]:
        """The chat requests in the server's log, without a worker's probes."""
        chat = [request for request in self._server.requests if request.endpoint == "chat"]
        return [request for request in chat if stage_of(request.body) != PROBE]


def _sentences(messages: list[Said]) -> Iterator[Said]:
    for message in messages:
        for sentence in message["content"].split(". "):
            text = sentence.strip()
            yield {"message": message["number"], "text": text if text.endswith(".") else f"{text}.", "category": None}


def _about(number: int, old: str, event: str, text: str | None = None, reason: str = "because") -> Said:
    return {"memory": number, "old_text": old, "event": event, "text": text, "reason": reason}


def _add() -> Said:
    return {"memory": None, "old_text": None, "event": "ADD", "text": None, "reason": "new"}


def stage_of(request: dict[str, Any]) -> str:
    """The stage that a chat request asks for."""
    return str(request["response_format"]["json_schema"]["name"])


def with_chat(settings: Settings, server: OpenAIServer, **more: Any) -> Settings:
    """The settings with a chat model."""
    return settings.model_copy(
        update={"chat_model": "m", "chat_base_url": server.base_url, "chat_timeout": 5.0, **more}
    )


def started(settings: Settings) -> Services:
    """A worker's services, without a worker; Redis has looked for what belongs to the index."""
    made = Services(settings, create_app(settings))
    ensure_index(made.data, settings)
    until(lambda: not is_filling(made))
    return made


def is_filling(services: Services) -> bool:
    """True while Redis fills the index that searches use."""
    index = described(services.data, services.keys.index_alias)
    return index is not None and index.is_filling


def told(services: Services, client: MemoryClient, messages: Any, **more: Any) -> JobResult:
    """The result of an inferred add, worked in this process."""
    job = client.add(messages, **{"user_id": "ana", **more})
    drain_all(services)
    return job.wait(1)


def memories(client: MemoryClient, **scope: str) -> list[str]:
    """The texts known in a scope, in the order of the alphabet."""
    return sorted(memory.memory for memory in client.get_all(**(scope or {"user_id": "ana"})).results)


def embeddings(server: OpenAIServer) -> list[list[str]]:
    """The texts of each embedding request."""
    return [request.inputs for request in server.requests if request.endpoint == "embeddings"]


def leases_run_out(services: Services) -> None:
    """The time has come at which what a dead worker held is free."""
    prefix = services.settings.key_prefix
    for pattern in ("bell:*", "lock:*", "scope-lock:*"):
        names = list(services.control.scan_iter(match=f"{prefix}{pattern}"))
        if names:
            services.control.delete(*names)
    Sweeper(services).sweep()
