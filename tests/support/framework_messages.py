"""Messages as Cohere's, pydantic-ai's and AutoGen's libraries write them down, and their readings.

The fields are those of cohere 7.3, pydantic-ai 2.68 and autogen-agentchat 0.7. Fields that say nothing are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.support.message_form import SAID, USER, Form


@dataclass
class UserPromptPart:
    """pydantic-ai's."""

    content: Any = "I moved to Lisbon."
    part_kind: str = "user-prompt"


@dataclass
class BinaryContent:
    """pydantic-ai's."""

    data: bytes = b""
    media_type: str = "image/png"
    kind: str = "binary"


@dataclass
class ModelRequest:
    """pydantic-ai's."""

    parts: list[UserPromptPart] = field(default_factory=lambda: [UserPromptPart()])
    instructions: str | None = None
    kind: str = "request"


def _request(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"parts": list(parts), "instructions": "Be brief.", "kind": "request", "run_id": None, "metadata": None}


def _response(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"parts": list(parts), "usage": {"details": {}}, "model_name": "m", "kind": "response", "metadata": None}


def _part(kind: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"content": content, **more, "metadata": None, "provider_details": None, "part_kind": kind}


def _call(kind: str) -> dict[str, Any]:
    return {"tool_name": "weather", "args": {"city": "Lisbon"}, "tool_call_id": "c1", "part_kind": kind}


def _autogen(kind: str, source: str, content: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": "m1",
        "source": source,
        "models_usage": None,
        "metadata": {},
        "content": content,
        "type": kind,
        **more,
    }


_FUNCTION = {"id": "c1", "arguments": "{}", "name": "weather"}
_SUNNY = {"content": "Sunny.", "name": "weather", "call_id": "c1", "is_error": False}
_COHERE_CALL = {"name": "weather", "parameters": {"city": "Lisbon"}}
_TEAM = [
    _autogen("TextMessage", "user", "I moved to Lisbon."),
    _autogen("ThoughtEvent", "helper", "Hm."),
    _autogen("ToolCallRequestEvent", "helper", [_FUNCTION, _FUNCTION]),
    _autogen("ToolCallExecutionEvent", "helper", [_SUNNY, _SUNNY]),
    _autogen("ModelClientStreamingChunkEvent", "helper", "Ni", full_message_id=None),
    _autogen("SelectSpeakerEvent", "manager", ["helper"]),
    _autogen("TextMessage", "helper", "Nice."),
    _autogen("HandoffMessage", "user_proxy", "I sing.", target="helper", context=[]),
]
_TEAM_KEPT = [*USER, ("tool", "Sunny.\nSunny."), ("assistant", "Nice."), ("user", "I sing.")]
_TEAM_LEFT_OUT = {"thinking": 1, "tool_call": 2, "other": 2, "empty": 4}

FORMS: dict[str, Form] = {
    "Cohere: chat_history": Form(
        [
            {"role": "SYSTEM", "message": "Be kind."},
            {"role": "USER", "message": "I moved to Lisbon.", "tool_calls": None},
            {"role": "CHATBOT", "message": "", "tool_calls": [_COHERE_CALL]},
            {"role": "TOOL", "tool_results": [{"call": _COHERE_CALL, "outputs": [{"sky": "sunny"}]}]},
            {"role": "CHATBOT", "message": "Nice."},
        ],
        [("system", "Be kind."), *USER, ("assistant", "Nice.")],
        {"tool_call": 1, "tool_result": 1, "empty": 2},
    ),
    "Cohere: a tool is used": Form(
        [
            SAID,
            {
                "role": "assistant",
                "tool_plan": "Let me see.",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}],
            },
            {
                "role": "tool",
                "tool_call_id": "c1",
                "content": [{"type": "text", "text": "Sunny."}, {"type": "document", "document": {"data": {}}}],
            },
            {
                "role": "assistant",
                "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Nice."}],
            },
        ],
        [*USER, ("tool", "Sunny."), ("assistant", "Nice.")],
        {"tool_call": 1, "thinking": 2, "file": 1, "empty": 1},
    ),
    "pydantic-ai: objects": Form([ModelRequest()], USER),
    "pydantic-ai: objects with an image": Form(
        [ModelRequest([UserPromptPart(["I moved to Lisbon.", BinaryContent()])])], USER, {"image": 1}
    ),
    "pydantic-ai: dump_python() and JSON": Form(
        [
            _request(_part("system-prompt", "Be kind."), _part("user-prompt", "I moved to Lisbon.")),
            _response(_part("thinking", "Hm."), _part("text", "Let me see."), _call("tool-call")),
            _request(_part("tool-return", "Sunny."), _part("tool-return", {"sky": "sunny"})),
            _request(_part("retry-prompt", "Call a tool.", tool_name=None)),
            _response(_part("text", "Nice."), _call("builtin-tool-call"), _part("builtin-tool-return", [{"url": "u"}])),
        ],
        [
            ("system", "Be kind."),
            *USER,
            ("assistant", "Let me see."),
            ("tool", "Sunny."),
            ("tool", "Call a tool."),
            ("assistant", "Nice."),
        ],
        {"thinking": 1, "tool_call": 2, "tool_result": 2},
    ),
    "pydantic-ai: images, files, speech": Form(
        [
            _request(
                _part(
                    "user-prompt",
                    [
                        "I moved to Lisbon.",
                        {"content": "I sing.", "kind": "text-content", "metadata": None},
                        {"url": "https://example.org/a", "kind": "image-url", "media_type": "image/png"},
                        {"data": "AAAA", "kind": "binary", "media_type": "audio/mpeg"},
                        {"url": "https://example.org/b", "kind": "document-url", "media_type": "application/pdf"},
                        {"kind": "cache-point", "ttl": "5m"},
                    ],
                )
            ),
            _response(_part("file", {"data": "AAAA", "media_type": "image/png", "kind": "binary"})),
            _response({"speaker": "assistant", "transcript": "Nice.", "part_kind": "speech"}),
            _response(_part("compaction", "They moved."), {"speaker": "assistant", "part_kind": "speech"}),
            _response(),
        ],
        [("user", "I moved to Lisbon.\nI sing."), ("assistant", "Nice.")],
        {"image": 2, "audio": 2, "file": 1, "other": 2, "empty": 3},
    ),
    "AutoGen: the messages of a team": Form(_TEAM, _TEAM_KEPT, _TEAM_LEFT_OUT),
    "AutoGen: the result of a team": Form({"messages": _TEAM, "stop_reason": None}, _TEAM_KEPT, _TEAM_LEFT_OUT),
    "AutoGen: an image, and a tool's answer as the last word": Form(
        [
            _autogen("MultiModalMessage", "user", ["I moved to Lisbon.", {"data": "AAAA"}]),
            _autogen("ToolCallSummaryMessage", "helper", "Sunny.", tool_calls=[_FUNCTION], results=[_SUNNY]),
        ],
        [*USER, ("tool", "Sunny.")],
        {"image": 1},
    ),
    "AutoGen: the context of a model": Form(
        [
            {"content": "Be kind.", "type": "SystemMessage"},
            {"content": ["I moved to Lisbon.", {"data": "AAAA"}], "source": "user", "type": "UserMessage"},
            {"content": [_FUNCTION], "thought": "Hm.", "source": "helper", "type": "AssistantMessage"},
            {"content": [_SUNNY], "type": "FunctionExecutionResultMessage"},
            {"content": "Nice.", "thought": None, "source": "helper", "type": "AssistantMessage"},
        ],
        [("system", "Be kind."), *USER, ("tool", "Sunny."), ("assistant", "Nice.")],
        {"image": 1, "tool_call": 1, "thinking": 1, "empty": 1},
    ),
    "LangGraph: a state": Form({"messages": [{"type": "human", "content": "I moved to Lisbon."}], "step": 1}, USER),
    "Haystack: content with a field for each kind": Form(
        [
            {"role": "user", "meta": {}, "name": None, "content": [{"text": "I moved to Lisbon."}]},
            {"role": "assistant", "content": [{"tool_call": {"tool_name": "weather", "arguments": {}}}]},
            {"role": "tool", "content": [{"tool_call_result": {"result": "Sunny.", "error": False}}]},
        ],
        USER,
        {"tool_call": 1, "tool_result": 1, "empty": 2},
    ),
    "A2A: parts with a kind": Form(
        [
            {"kind": "message", "role": "user", "parts": [{"kind": "text", "text": "I moved to Lisbon."}]},
            {
                "kind": "message",
                "role": "agent",
                "parts": [
                    {"kind": "file", "file": {"mimeType": "image/png", "bytes": "AAAA"}},
                    {"kind": "text", "text": "Nice."},
                ],
            },
        ],
        [*USER, ("assistant", "Nice.")],
        {"image": 1},
    ),
}
