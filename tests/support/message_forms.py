"""Messages as chat APIs have them, and what `add` makes of them: the forms of docs/reference/compatibility.md.

Each entry of FORMS is one argument of `add(messages=…)`. Its name begins with the API or the library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from openai.types.chat import ChatCompletionMessage
from openai.types.responses import ResponseOutputMessage
from pydantic import BaseModel

from tests.support import framework_messages
from tests.support.message_form import SAID, USER, Form


class Block(BaseModel):
    """A content block as a library's object."""

    type: str = "text"
    text: str = "I moved to Lisbon."
    citations: list[str] | None = None


class Said(BaseModel):
    """A message as a library's object."""

    role: str = "user"
    content: str | list[Block] | None = "I moved to Lisbon."
    refusal: str | None = None
    audio: dict[str, str] | None = None
    function_call: dict[str, str] | None = None
    tool_calls: list[dict[str, Any]] | None = None


class LangChainMessage(BaseModel):
    """A message as a LangChain object."""

    content: str | list[Any] = "I moved to Lisbon."
    additional_kwargs: dict[str, Any] = {}
    response_metadata: dict[str, Any] = {}
    type: str = "human"
    name: str | None = None
    id: str | None = None


@dataclass
class Turn:
    """A message as a dataclass."""

    role: str = "user"
    content: str = "I moved to Lisbon."


class OldModel:
    """A message as a model of pydantic 1."""

    def dict(self) -> dict[str, Any]:
        return {"type": "human", "content": "I moved to Lisbon."}


_TEXT = {"type": "text", "text": "I moved to Lisbon."}
_CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Lisbon"}'}}
_IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}

FORMS: dict[str, Form] = {
    "plain: a string": Form("I moved to Lisbon.", USER),
    "plain: one message": Form(SAID, USER),
    "plain: a tuple of messages": Form((SAID,), USER),
    "plain: keys of other tools": Form([{**SAID, "id": "m1", "created_at": 1, "metadata": {}, "status": "done"}], USER),
    "OpenAI: text parts": Form(
        [{"role": "user", "content": [_TEXT, {"type": "text", "text": "I like it."}]}],
        [("user", "I moved to Lisbon.\nI like it.")],
    ),
    "OpenAI: a text and images": Form([{"role": "user", "content": [_TEXT, _IMAGE, _IMAGE]}], USER, {"image": 2}),
    "OpenAI: a file and audio": Form(
        [
            {
                "role": "user",
                "content": [{"type": "file", "file": {}}, {"type": "input_audio", "input_audio": {}}, _TEXT],
            }
        ],
        USER,
        {"file": 1, "audio": 1},
    ),
    "OpenAI: only an image": Form([SAID, {"role": "user", "content": [_IMAGE]}], USER, {"image": 1, "empty": 1}),
    "OpenAI: a tool is called and answers": Form(
        [
            SAID,
            {"role": "assistant", "content": None, "tool_calls": [_CALL, _CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "Sunny."},
            {"role": "assistant", "content": "It is sunny.", "tool_calls": None},
        ],
        [*USER, ("tool", "Sunny."), ("assistant", "It is sunny.")],
        {"tool_call": 2, "empty": 1},
    ),
    "OpenAI: a function is called and answers": Form(
        [
            SAID,
            {"role": "assistant", "function_call": {"name": "f"}},
            {"role": "function", "name": "f", "content": "1"},
        ],
        [*USER, ("tool", "1")],
        {"tool_call": 1, "empty": 1},
    ),
    "OpenAI: a developer's message": Form(
        [{"role": "developer", "content": "Be kind."}, SAID], [("system", "Be kind."), *USER]
    ),
    "OpenAI: a refusal": Form(
        [SAID, {"role": "assistant", "content": None, "refusal": "I cannot."}], USER, {"refusal": 1, "empty": 1}
    ),
    "OpenAI: spoken": Form(
        [SAID, {"role": "assistant", "content": None, "audio": {"id": "a1"}}], USER, {"audio": 1, "empty": 1}
    ),
    "OpenAI: an object": Form(Said(), USER),
    "OpenAI: objects": Form([Said(), Said(role="assistant", content="Nice.")], [*USER, ("assistant", "Nice.")]),
    "OpenAI: model_dump() of objects": Form(
        [Said().model_dump(), Said(role="assistant", content=None, tool_calls=[_CALL]).model_dump()],
        USER,
        {"tool_call": 1, "empty": 1},
    ),
    "OpenAI: the library's own objects": Form(
        [
            ChatCompletionMessage.model_validate({"role": "assistant", "content": None, "tool_calls": [_CALL]}),
            ChatCompletionMessage(role="assistant", content="It is sunny."),
            ResponseOutputMessage.model_validate(
                {
                    "id": "m1",
                    "type": "message",
                    "role": "assistant",
                    "status": "completed",
                    "content": [{"type": "output_text", "text": "Nice.", "annotations": []}],
                }
            ),
        ],
        [("assistant", "It is sunny."), ("assistant", "Nice.")],
        {"tool_call": 1, "empty": 1},
    ),
    "OpenAI: items of the responses API": Form(
        [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "I moved to Lisbon."}]},
            {"type": "reasoning", "id": "r1", "summary": []},
            {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "Sunny."},
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "Nice.", "annotations": []}],
            },
        ],
        [*USER, ("tool", "Sunny."), ("assistant", "Nice.")],
        {"thinking": 1, "tool_call": 1, "empty": 2},
    ),
    "OpenAI: other items of the responses API": Form(
        [
            {"type": "mcp_list_tools", "id": "l1", "server_label": "s", "tools": []},
            {"type": "mcp_approval_request", "id": "r1", "name": "f", "arguments": "{}", "server_label": "s"},
            {"type": "mcp_approval_response", "approval_request_id": "r1", "approve": True},
            {"type": "compaction", "id": "k1", "encrypted_content": "x"},
            {"type": "additional_tools", "role": "developer", "tools": []},
            {"type": "a type of a later release", "id": "n1"},
            {"type": "message", "role": "user", "content": "I moved to Lisbon."},
        ],
        USER,
        {"other": 6, "empty": 6},
    ),
    "Anthropic: blocks": Form([{"role": "user", "content": [_TEXT]}], USER),
    "Anthropic: block objects of a response": Form(
        [{"role": "assistant", "content": [Block()]}], [("assistant", "I moved to Lisbon.")]
    ),
    "Anthropic: a tool is used": Form(
        [
            SAID,
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "s"},
                    {"type": "text", "text": "Let me see."},
                    {"type": "tool_use", "id": "t1", "name": "weather", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "Sunny."}]},
                    {"type": "text", "text": "And tomorrow?"},
                ],
            },
        ],
        [*USER, ("assistant", "Let me see."), ("tool", "Sunny."), ("user", "And tomorrow?")],
        {"thinking": 1, "tool_call": 1},
    ),
    "Anthropic: a result alone": Form(
        [SAID, {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "Sunny."}]}],
        [*USER, ("tool", "Sunny.")],
    ),
    "Anthropic: an image, a document, a redacted thought": Form(
        [
            {"role": "user", "content": [{"type": "image", "source": {}}, {"type": "document", "source": {}}, _TEXT]},
            {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]},
        ],
        USER,
        {"image": 1, "file": 1, "thinking": 1, "empty": 1},
    ),
    "Gemini: parts": Form(
        [
            {"role": "user", "parts": [{"text": "I moved to Lisbon."}]},
            {"role": "model", "parts": [{"text": "Nice."}, {"text": "Hm.", "thought": True}]},
        ],
        [*USER, ("assistant", "Nice.")],
        {"thinking": 1},
    ),
    "Gemini: an image and a file": Form(
        [
            {
                "role": "user",
                "parts": [
                    {"text": "I moved to Lisbon."},
                    {"inline_data": {"mime_type": "image/png", "data": "AAAA"}},
                    {"fileData": {"mimeType": "application/pdf", "fileUri": "gs://x"}},
                ],
            }
        ],
        USER,
        {"image": 1, "file": 1},
    ),
    "Gemini: a function is called": Form(
        [
            {"role": "user", "parts": [{"text": "I moved to Lisbon.", "function_call": None, "thought": None}]},
            {"role": "model", "parts": [{"functionCall": {"name": "f", "args": {}}}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {}}}]},
        ],
        USER,
        {"tool_call": 1, "tool_result": 1, "empty": 2},
    ),
    "Gemini: a single turn without a role": Form([{"role": None, "parts": [{"text": "I moved to Lisbon."}]}], USER),
    "Gemini: a function is called after a thought": Form(
        [SAID, {"role": "model", "parts": [{"thoughtSignature": "x", "functionCall": {"name": "f", "args": {}}}]}],
        USER,
        {"tool_call": 1, "empty": 1},
    ),
    "Ollama: images and a thought": Form(
        [{**SAID, "images": ["AAAA", "BBBB"]}, {"role": "assistant", "content": "", "thinking": "Hm."}],
        USER,
        {"image": 2, "thinking": 1, "empty": 1},
    ),
    "vLLM, DeepSeek, OpenRouter: reasoning": Form(
        [SAID, {"role": "assistant", "content": "Nice.", "reasoning": "Hm.", "reasoning_content": "Hm."}],
        [*USER, ("assistant", "Nice.")],
        {"thinking": 1},
    ),
    "LangChain: dumped messages": Form(
        [
            {"type": "system", "data": {"content": "Be kind.", "type": "system"}},
            {"type": "human", "data": {"content": "I moved to Lisbon.", "type": "human", "example": False}},
            {"type": "ai", "data": {"content": "Nice.", "type": "ai", "tool_calls": []}},
        ],
        [("system", "Be kind."), *USER, ("assistant", "Nice.")],
    ),
    "LangChain: messages with a type": Form(
        [{"type": "human", "content": "I moved to Lisbon."}, {"type": "ai", "content": "Nice."}],
        [*USER, ("assistant", "Nice.")],
    ),
    "LangChain: a chat message with a role": Form(
        [{"type": "chat", "data": {"role": "user", "content": "I moved to Lisbon.", "type": "chat"}}], USER
    ),
    "LangChain: serialized messages": Form(
        [
            {
                "lc": 1,
                "type": "constructor",
                "id": ["langchain", "HumanMessage"],
                "kwargs": {"content": "I moved to Lisbon."},
            }
        ],
        USER,
    ),
    "LangChain: objects": Form(
        [
            LangChainMessage(),
            LangChainMessage(type="AIMessageChunk", content="Nice."),
            LangChainMessage(type="tool", content="1"),
        ],
        [*USER, ("assistant", "Nice."), ("tool", "1")],
    ),
    "LangChain: a tool is called": Form(
        [
            LangChainMessage(),
            {
                "type": "ai",
                "content": [{"type": "tool_use", "id": "t1", "name": "f", "input": {}}],
                "tool_calls": [{"name": "f", "args": {}, "id": "t1", "type": "tool_call"}],
            },
        ],
        USER,
        {"tool_call": 1, "empty": 1},
    ),
    "LangChain: strings as parts": Form(
        [{"role": "human", "content": ["I moved to Lisbon.", _IMAGE]}], USER, {"image": 1}
    ),
    "LangChain: pairs": Form([("human", "I moved to Lisbon."), ("ai", "Nice.")], [*USER, ("assistant", "Nice.")]),
    "LangChain: objects of pydantic 1": Form([OldModel()], USER),
    "any: a dataclass": Form([Turn()], USER),
    "LlamaIndex: blocks": Form(
        [
            {
                "role": "user",
                "additional_kwargs": {},
                "blocks": [
                    {"block_type": "text", "text": "I moved to Lisbon."},
                    {"block_type": "image", "image": None, "url": "https://example.org/a.png"},
                ],
            }
        ],
        USER,
        {"image": 1},
    ),
    "Bedrock: a tool is used": Form(
        [
            {"role": "user", "content": [{"text": "I moved to Lisbon."}]},
            {"role": "assistant", "content": [{"toolUse": {"toolUseId": "t1", "name": "weather", "input": {}}}]},
            {
                "role": "user",
                "content": [{"toolResult": {"toolUseId": "t1", "content": [{"text": "Sunny."}], "status": "success"}}],
            },
        ],
        [*USER, ("tool", "Sunny.")],
        {"tool_call": 1, "empty": 1},
    ),
    "Bedrock: an image, a document, a thought": Form(
        [
            {
                "role": "user",
                "content": [
                    {"text": "I moved to Lisbon."},
                    {"image": {"format": "png", "source": {"bytes": b""}}},
                    {"document": {"format": "pdf", "name": "lease", "source": {"bytes": b""}}},
                    {"reasoningContent": {"reasoningText": {"text": "Hm.", "signature": "s"}}},
                ],
            }
        ],
        USER,
        {"image": 1, "file": 1, "thinking": 1},
    ),
    "AI SDK: parts with a media type": Form(
        [
            {
                "id": "m1",
                "role": "user",
                "content": "",
                "parts": [_TEXT, {"type": "file", "mediaType": "image/png", "url": "data:"}, {"type": "step-start"}],
            }
        ],
        USER,
        {"image": 1, "other": 1},
    ),
    **framework_messages.FORMS,
    "any: empty messages": Form(
        [
            SAID,
            {"role": "user", "content": ""},
            {"role": "assistant", "content": None},
            {"role": "system", "content": " \n"},
        ],
        USER,
        {"empty": 3},
    ),
    "any: empty parts": Form(
        [{"role": "user", "content": [{"type": "text", "text": ""}, _TEXT, {"type": "text", "text": None}]}], USER
    ),
    "any: roles in capitals": Form([{"role": "User", "content": "I moved to Lisbon."}], USER),
}

_ENDLESS: dict[str, Any] = {"type": "tool_result"}
_ENDLESS["content"] = [_ENDLESS]

# Messages that are refused, and the words of the error.
REFUSED: dict[str, tuple[Any, str]] = {
    "a number": ([SAID, 7], r"messages\[1\] is of type int"),
    "a pair": ([["user", "x"]], r"messages\[0\] is of type list"),
    "no role": ([SAID, {"content": "x"}], r"messages\[1\]\.role is missing"),
    "an unknown role": ([SAID, {"role": "wizard", "content": "x"}], r"messages\[1\]\.role is unknown"),
    "no content": ([SAID, {"role": "user", "text": "x"}], r"messages\[1\]\.content is missing"),
    "a part as a message": ([SAID, {"type": "text", "text": "x"}], r"messages\[1\]\.role is unknown"),
    "a type that is no role": ([{"type": "wizard", "content": "x"}], r"messages\[0\]\.role is unknown"),
    "a number as content": ([SAID, {"role": "user", "content": 7}], r"messages\[1\]\.content is of type int"),
    "a number as a part": ([{"role": "user", "content": [_TEXT, 7]}], r"messages\[0\]\.content\[1\] is of type int"),
    "a text that is no text": (
        [{"role": "user", "content": [{"type": "text", "text": 7}]}],
        r"messages\[0\]\.content\[0\]\.text is of type int",
    ),
    "a control character": (
        [SAID, {"role": "user", "content": [_TEXT, "a\x00"]}],
        r"messages\[1\]\.content has the character U\+0000",
    ),
    "nothing but images": ([{"role": "user", "content": [_IMAGE]}], "nothing to remember"),
    "nothing but calls": ([{"role": "assistant", "content": None, "tool_calls": [_CALL]}], "nothing to remember"),
    "nothing but context": ([{"role": "developer", "content": "Be kind."}], "nothing to remember"),
    "a result that holds itself": ([{"role": "user", "content": [_ENDLESS]}], r"messages\[0\]\..* nested deeper"),
    "an empty list": ([], "nothing to remember"),
}
