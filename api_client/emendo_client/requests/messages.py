"""Messages as chat APIs have them, as the messages of a conversation: role, text and name.

Forms: OpenAI's (chat and responses), Anthropic's, Gemini's, Bedrock's, Cohere's, LangChain's, LlamaIndex', AutoGen's
and pydantic-ai's, as mappings or as objects that can be one. Texts of one message are joined. All else is left out
and counted. Errors name the message by its index.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from emendo_client.errors import ValidationError
from emendo_client.requests.content import STORED_ROLES, is_blank, text
from emendo_client.requests.frameworks import mapping_of, with_roles
from emendo_client.requests.validation import ROLES, scope_id, wrong_type
from emendo_config import Settings

# Roles of all APIs; LangChain's types end in Message or MessageChunk where they are names of classes.
_ROLES = {
    **{role: role for role in ROLES},
    "human": "user",
    "ai": "assistant",
    "model": "assistant",
    "chatbot": "assistant",  # Cohere's
    "agent": "assistant",  # A2A's
    "developer": "system",
    "function": "tool",
}
_LANGCHAIN = re.compile(r"message(?:chunk)?$")
# Items of OpenAI's responses API. Each release adds types of them, so an unknown type without content is one, too.
_OUTPUT = re.compile(r"_output$")
_ITEM = re.compile(r"_output$|_call$|^reasoning$")
_TOOLS = "additional_tools"  # the only item that has a role
_TEXTS = ("text", "input_text", "output_text")
# Kinds of parts without a text, by a word in their type, in their MIME type or in the name of their field.
_KINDS = {
    "tool_result": re.compile(r"tool.?(?:call.?)?result|function.?response|execution.?result", re.IGNORECASE),
    "tool_call": re.compile(r"tool(?!s$)|function|call$|executable.?code|^arguments$", re.IGNORECASE),
    "thinking": re.compile(r"think|reasoning|thought", re.IGNORECASE),
    "image": re.compile(r"image", re.IGNORECASE),
    "audio": re.compile(r"audio", re.IGNORECASE),
    "video": re.compile(r"video", re.IGNORECASE),
    "file": re.compile(r"file|document|media|data|^application/|^text/", re.IGNORECASE),
    "refusal": re.compile(r"refusal", re.IGNORECASE),
}
# Fields of Ollama, DeepSeek, vLLM, OpenRouter, Cohere and AutoGen beside the content.
_THOUGHTS = ("thinking", "reasoning", "reasoning_content", "tool_plan", "thought")
# Fields with a message's parts; the last ones are LlamaIndex' and Cohere's.
_BODIES = ("content", "parts", "blocks", "message")
# Fields of a message that says nothing.
_SILENT = ("tool_calls", "function_call", "tool_results", "refusal", "audio")
EMPTY, OTHER = "empty", "other"
_MAX_DEPTH = 8  # a result within a result is rare enough


@dataclass(slots=True)
class Conversation:
    """The messages of a conversation, and what was left out.

    Attributes:
        messages: {role, content[, name]}, oldest first.
        left_out: how many parts of each kind (`image`, `audio`, `video`, `file`, `tool_call`, `tool_result`,
            `thinking`, `refusal`, `other`), and how many messages had no text (`empty`).
    """

    messages: list[dict[str, str]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)

    @property
    def stored(self) -> list[dict[str, str]]:
        """The messages that can be memories. Those of the system and of tools are context only."""
        return [message for message in self.messages if message["role"] in STORED_ROLES]


def conversation(value: Any, settings: Settings) -> Conversation:
    """A conversation: a string is one user message, a mapping or an object a list of one, or it has `messages`.

    Raises:
        ValidationError: a message is malformed, or there is no user or assistant message with a text.
    """
    if isinstance(value, str):
        value = [{"role": "user", "content": value}]
    elif (single := mapping_of(value)) is not None:  # LangGraph's state and AutoGen's result have a list within
        value = single["messages"] if isinstance(single.get("messages"), list) else [single]
    if not isinstance(value, Sequence) or isinstance(value, bytes):
        raise wrong_type("messages", value, "a string, a message or a list of messages")
    found = Conversation()
    for index, item in enumerate(value):
        name = f"messages[{index}]"
        for message in with_roles(_message(item, name)):
            _add(found, message, name, settings)
    if len(found.messages) > settings.max_messages:
        raise ValidationError(
            f"messages holds {len(found.messages)} messages; the limit is {settings.max_messages}",
            suggestion="send several adds, or raise EMENDO_MAX_MESSAGES",
        )
    characters = sum(len(message["content"]) for message in found.messages)
    if characters > settings.max_conversation_chars:
        raise ValidationError(
            f"messages hold {characters} characters; the limit is {settings.max_conversation_chars}",
            suggestion="send several adds, or raise EMENDO_MAX_CONVERSATION_CHARS",
        )
    if not found.stored:
        raise ValidationError(
            "messages holds nothing to remember: no user or assistant message has content that is text",
            suggestion="give at least one user or assistant message with a text; images, files and calls are left out",
        )
    return found


def _add(found: Conversation, message: Mapping[str, Any], name: str, settings: Settings) -> None:
    """Adds the message: its text, and before it the results of tools that stand in it."""
    role = _role(message, name)
    parts = _Parts(found.left_out)
    parts.read(_body(message, name), f"{name}.content")
    for kind, count in _beside(message, parts.calls).items():
        if count:
            found.left_out[kind] += count
    kept = [
        (part_role, "\n".join(texts)) for part_role, texts in (("tool", parts.results), (role, parts.texts)) if texts
    ]
    if not kept:
        found.left_out[EMPTY] += 1
    actor = scope_id(message.get("name"), f"{name}.name")
    for part_role, said in kept:
        document = {"role": part_role, "content": text(said, f"{name}.content", settings)}
        if actor and part_role == role:
            document["name"] = actor
        found.messages.append(document)


def _beside(message: Mapping[str, Any], calls: int) -> dict[str, int]:
    """How much of each kind the message has beside its texts. Some messages name each of their `calls` twice."""
    return {
        "tool_call": calls or _length(message.get("tool_calls")) + bool(message.get("function_call")),
        "audio": bool(message.get("audio")),
        "refusal": bool(message.get("refusal")),
        "thinking": any(message.get(each) for each in _THOUGHTS),
        "image": _length(message.get("images")),
        "tool_result": _length(message.get("tool_results")),
    }


def _length(listed: Any) -> int:
    return len(listed) if isinstance(listed, list | tuple) else 0


def _message(item: Any, name: str) -> Mapping[str, Any]:
    """The message's fields, also of one that LangChain has written down."""
    if isinstance(item, tuple) and len(item) == len(("role", "text")) and _known_role(item[0]) is not None:
        item = {"role": item[0], "content": item[1]}  # LangChain takes pairs
    message = mapping_of(item)
    if message is None:
        raise wrong_type(name, item, "a mapping with role and content, or an object with model_dump()")
    data, kind = message.get("data"), message.get("type")
    if isinstance(data, Mapping) and isinstance(kind, str) and "content" not in message:
        return {**data, "type": kind}
    kwargs, path = message.get("kwargs"), message.get("id")
    if isinstance(kwargs, Mapping) and kind == "constructor" and isinstance(path, list) and path:
        return {"type": path[-1], **kwargs}
    return message


def _role(message: Mapping[str, Any], name: str) -> str:
    item = _item_type(message)
    if item is not None:
        return "tool" if _OUTPUT.search(item) else "assistant"
    given, kind = message.get("role"), message.get("type")
    if given is None:  # Gemini's may be left out
        given = "user" if kind is None and message.get("parts") else kind
    known = "user, assistant, system, developer, tool or function; human, ai and model are read, too"
    if given is None:
        raise ValidationError(f"{name}.role is missing", suggestion=f"use {known}")
    role = _known_role(given)
    if role is None:
        raise ValidationError(f"{name}.role is unknown", suggestion=f"use {known}")
    return role


def _known_role(given: Any) -> str | None:
    return _ROLES.get(_LANGCHAIN.sub("", given.lower())) if isinstance(given, str) else None


def _item_type(message: Mapping[str, Any]) -> str | None:
    """The type of an item of the responses API; None for a message."""
    kind = message.get("type")
    if not isinstance(kind, str) or (message.get("role") is not None and kind != _TOOLS):
        return None
    has_text = isinstance(message.get("text"), str) or not message.keys().isdisjoint(("content", "parts"))
    return kind if _ITEM.search(kind) or not (has_text or _known_role(kind)) else None


def _body(message: Mapping[str, Any], name: str) -> Any:
    """The field with the message's parts."""
    item = _item_type(message)
    if item is not None:
        return message.get("output") if _OUTPUT.search(item) else [message]
    for field_name in _BODIES:
        if message.get(field_name):
            return message[field_name]
    if not message.keys() & {*_BODIES, *_SILENT}:
        raise ValidationError(
            f"{name}.content is missing", suggestion="a message has role and content: a text, or a list of parts"
        )
    return message.get("content")


class _Parts:
    """The parts of one message.

    Attributes:
        texts: the message's.
        results: texts of tools' results.
        calls: how many calls of tools there are.
    """

    def __init__(self, left_out: Counter[str]) -> None:
        self.texts: list[str] = []
        self.results: list[str] = []
        self.calls = 0
        self._left_out = left_out

    def read(self, body: Any, name: str) -> None:
        """Reads a text, a part or a list of parts."""
        self._read(body, name, self.texts, 0)

    def _read(self, body: Any, name: str, texts: list[str], depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise ValidationError(f"{name} is nested deeper than {_MAX_DEPTH} levels")
        if body is None or isinstance(body, str):
            self._keep(body, texts)
            return
        part = mapping_of(body)
        if part is not None:
            self._read_part(part, name, texts, depth)
        elif isinstance(body, Sequence) and not isinstance(body, bytes):
            for index, each in enumerate(body):
                if isinstance(each, list | tuple) or each is None:
                    raise wrong_type(f"{name}[{index}]", each, "a text or a content part")
                self._read(each, f"{name}[{index}]", texts, depth + 1)
        else:
            raise wrong_type(name, body, "a text, a content part, a list of them, or None")

    def _read_part(self, part: Mapping[str, Any], name: str, texts: list[str], depth: int) -> None:
        kind = _kind(part)
        said = part.get("text")
        if isinstance(said, Mapping):
            said = said.get("value")
        if kind == "text" or (kind == OTHER and isinstance(said, str)):
            if said is not None and not isinstance(said, str):
                raise wrong_type(f"{name}.text", said, "a text")
            self._keep(said, texts)
        elif kind == "tool_result" and (result := _result_of(part)) is not None:
            self._read(result, f"{name}.content", self.results, depth + 1)
        elif kind == "tool_call":
            self.calls += 1
        else:
            self._left_out[kind] += 1

    @staticmethod
    def _keep(said: str | None, texts: list[str]) -> None:
        if said is not None and not is_blank(said):
            texts.append(said)


def _result_of(part: Mapping[str, Any]) -> Any:
    """The answer of a tool; Bedrock has it within a field for the kind."""
    inner = part.get("toolResult")
    return (inner if isinstance(inner, Mapping) else part).get("content")


def _kind(part: Mapping[str, Any]) -> str:
    given = part.get("type") or part.get("block_type")
    if part.get("thought") is True:
        return "thinking"
    if given in _TEXTS or (given is None and part.get("text") is not None):
        return "text"
    if isinstance(given, str):
        mime = next((part[key] for key in ("mediaType", "media_type", "mime_type", "mimeType") if part.get(key)), "")
        said = [str(mime), given] if "file" in given or "media" in given else [given]
    elif part.keys() == {"data"}:  # AutoGen's
        return "image"
    else:  # Gemini's: a field for each kind
        said = [word for key, value in part.items() if value is not None for word in (*_mime_types(value), str(key))]
        said = [word for word in said if not word.lower().endswith("signature")]  # of the thought before a call
    for words in said:
        for kind, known in _KINDS.items():
            if known.search(words):
                return kind
    return OTHER


def _mime_types(value: Any) -> list[str]:
    if not isinstance(value, Mapping):
        return []
    return [given for key in ("mime_type", "mimeType") if isinstance(given := value.get(key), str)]
