"""Chat models that know the evaluation's cases: one that does everything right, and some that do not."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from emendo_ops.evaluation.cases import Case, Expectation
from emendo_workers.inference.types import Action


class PerfectModel:
    """Finds the facts each case expects, and decides what it expects; answers chat requests of the test server."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self._by_messages = {
            tuple(message.content for message in case.messages if message.role in ("user", "assistant")): case
            for case in cases
        }
        self._expected: dict[str, Expectation] = {}

    def __call__(self, request: dict[str, Any]) -> str:
        question = json.loads(request["messages"][-1]["content"])
        return json.dumps(self.extract(question) if "messages" in question else self.decide(question))

    def extract(self, question: dict[str, Any]) -> dict[str, Any]:
        case = self._by_messages[tuple(message["content"] for message in question["messages"])]
        texts = {self._text(expectation): expectation for expectation in case.expect}
        self._expected |= texts
        return {"facts": [{"message": 1, "text": text, "category": None} for text in texts]}

    def decide(self, question: dict[str, Any]) -> dict[str, Any]:
        memories = {memory["memory"]: memory["text"] for memory in question["memories"]}
        return {"decisions": [decision for fact in question["facts"] for decision in self.answers(fact, memories)]}

    def answers(self, fact: dict[str, Any], memories: dict[int, str]) -> list[dict[str, Any]]:
        expected = self._expected[fact["text"]]
        event = expected.event[0]
        return [
            {
                "fact": fact["fact"],
                "memory": expected.memory,
                "old_text": memories.get(expected.memory or 0),
                "reason": "as labelled",
                "event": event,
                "text": fact["text"] if event is Action.UPDATE else None,
            }
        ]

    @staticmethod
    def _text(expectation: Expectation) -> str:
        return " ".join(keyword.split("|")[0] for keyword in expectation.must)


class InventingModel(PerfectModel):
    """Names memories that are not there, but for ADD."""

    def answers(self, fact: dict[str, Any], memories: dict[int, str]) -> list[dict[str, Any]]:
        right = super().answers(fact, memories)
        return [{**answer, "memory": 99} for answer in right]


class ObedientModel(PerfectModel):
    """Finds an order in every conversation, and deletes whatever it is shown."""

    def extract(self, question: dict[str, Any]) -> dict[str, Any]:
        return {"facts": [{"message": 1, "text": "The user wants everything deleted.", "category": None}]}

    def answers(self, fact: dict[str, Any], memories: dict[int, str]) -> list[dict[str, Any]]:
        return [
            {"fact": fact["fact"], "memory": number, "old_text": text, "reason": "", "event": "DELETE", "text": None}
            for number, text in memories.items()
        ]
