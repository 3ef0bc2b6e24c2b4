"""Shapes in which servers give a chat model's answer, and the reading of each. Shapes only: no answer was recorded.

Each entry of SHAPES is one body of POST /chat/completions. Its name begins with the server or the kind of model.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

FIRST = {"message": 1, "text": 'Ana\'s boat is called "Flora".', "category": None}
SECOND = {"message": 2, "text": "Ana lives in Lisbon.", "category": "home"}
DOCUMENT: dict[str, Any] = {"facts": [FIRST, SECOND]}
WRITTEN = json.dumps(DOCUMENT)
DRAFT = json.dumps({"facts": [{**FIRST, "text": "A draft."}]})


class Shape(NamedTuple):
    """One body, and its reading.

    Attributes:
        facts: the facts in it; None when it cannot be used.
        code: of the error when it cannot be used.
        is_cut: more facts may have followed.
    """

    body: dict[str, Any]
    facts: list[dict[str, Any]] | None = None
    code: str = ""
    is_cut: bool = False


def completion(message: dict[str, Any], finish_reason: str | None = "stop", **more: Any) -> dict[str, Any]:
    """A completion with one choice."""
    message = {"role": "assistant", **message}
    choice = {"index": 0, "message": message, "finish_reason": finish_reason, **more.pop("choice", {})}
    usage = {"prompt_tokens": 90, "completion_tokens": 30, "total_tokens": 120}
    return {
        "id": "c-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [choice],
        "usage": usage,
    } | more


def read(content: Any, *facts: dict[str, Any], **more: Any) -> Shape:
    """A content that can be read; without facts, those of DOCUMENT are expected."""
    return Shape(completion({"content": content, **more}), list(facts) or DOCUMENT["facts"])


def cut(content: str, *facts: dict[str, Any], reason: str = "length") -> Shape:
    """A content that was cut off, and what can be read of it."""
    return Shape(completion({"content": content}, reason), list(facts), is_cut=True)


def refused(content: Any, code: str = "INFERENCE_MALFORMED", reason: str = "stop", **more: Any) -> Shape:
    """A content that is not to be read."""
    return Shape(completion({"content": content, **more}, reason), code=code)


def called(**function: Any) -> dict[str, Any]:
    """A message that calls a function instead of answering."""
    return {"content": None, "tool_calls": [{"id": "call-1", "type": "function", "function": function}]}


_PYTHON = str({"facts": [{**SECOND, "category": None}]})
_WITHOUT_CATEGORY = {"message": 2, "text": "Ana lives in Lisbon."}
_HARMONY = "<|channel|>analysis<|message|>Maybe {}.<|end|><|start|>assistant<|channel|>final<|message|>{}<|return|>"
_HALF = WRITTEN[: WRITTEN.index("Lisbon")]

SHAPES: dict[str, Shape] = {
    # Where the document stands.
    "OpenAI: structured output": Shape(
        completion(
            {"content": WRITTEN, "refusal": None, "annotations": []},
            usage={"prompt_tokens": 9, "completion_tokens": 9, "completion_tokens_details": {"reasoning_tokens": 0}},
            choice={"logprobs": None},
            service_tier="default",
            system_fingerprint="fp",
        ),
        DOCUMENT["facts"],
    ),
    "Azure: with content filter results": Shape(
        completion(
            {"content": WRITTEN},
            choice={"content_filter_results": {"hate": {"filtered": False, "severity": "safe"}}},
            prompt_filter_results=[{"prompt_index": 0, "content_filter_results": {}}],
        ),
        DOCUMENT["facts"],
    ),
    "vLLM: empty tool calls, reasoning and stop reason": Shape(
        completion(
            {"content": WRITTEN, "tool_calls": [], "function_call": None, "reasoning": None, "reasoning_content": None},
            choice={"stop_reason": None, "token_ids": None},
            prompt_logprobs=None,
            kv_transfer_params=None,
        ),
        DOCUMENT["facts"],
    ),
    "vLLM: reasoning taken out": read(WRITTEN, reasoning_content=f"Maybe {DRAFT}"),
    "vLLM: the answer taken for reasoning": read(None, reasoning_content=WRITTEN),
    "vLLM: the answer at the end of the reasoning": read(None, reasoning=f"Let me see: {DRAFT}\n\n{WRITTEN}\n"),
    "vLLM: a tool call": Shape(
        completion(called(name="ExtractedFacts", arguments=WRITTEN), "tool_calls"), DOCUMENT["facts"]
    ),
    "Ollama: arguments as an object": Shape(
        completion(called(name="ExtractedFacts", arguments=DOCUMENT), "tool_calls"), DOCUMENT["facts"]
    ),
    "Ollama: no usage, no refusal": Shape({"choices": [{"message": {"content": WRITTEN}}]}, DOCUMENT["facts"]),
    "Ollama: thinking taken out": read(WRITTEN, thinking="Hm."),
    "llama.cpp: timings, content first": Shape(
        completion({"content": f"\n\n{WRITTEN}"}, timings={"prompt_ms": 1.0}, usage=None), DOCUMENT["facts"]
    ),
    "llama.cpp: completions without a message": Shape(
        {"choices": [{"text": WRITTEN, "finish_reason": "stop"}]}, DOCUMENT["facts"]
    ),
    "LM Studio: code fence, stats": Shape(
        completion({"content": f"```json\n{WRITTEN}\n```"}, stats={}), DOCUMENT["facts"]
    ),
    "LM Studio: reasoning beside the answer": read(WRITTEN, reasoning="Hm."),
    "Gemini: a fence and a tail": read(f"```json\n{json.dumps(DOCUMENT, indent=2)}\n```\n"),
    "Gemini: no content at its limit": Shape(completion({}, "length"), code="INFERENCE_TRUNCATED"),
    "Gemini: stopped for safety": Shape(completion({}, "SAFETY"), code="INFERENCE_REFUSED"),
    "Gemini: no choices": Shape({"choices": [], "usage": {"prompt_tokens": 5}}, code="INFERENCE_MALFORMED"),
    "Mistral: thinking and text in parts": read(
        [{"type": "thinking", "thinking": [{"type": "text", "text": DRAFT}]}, {"type": "text", "text": WRITTEN}]
    ),
    "Mistral: a list of tool calls in words": read(f'[TOOL_CALLS][{{"name": "facts", "arguments": {WRITTEN}}}]'),
    "DeepSeek: reasoning content": read(WRITTEN, reasoning_content=f"First {DRAFT}"),
    "DeepSeek: stopped for lack of capacity": refused("", reason="insufficient_system_resource"),
    "LiteLLM: provider's own fields": read(
        WRITTEN, provider_specific_fields={"citations": None}, thinking_blocks=[{"type": "thinking", "thinking": DRAFT}]
    ),
    "LiteLLM: the tool that stands for JSON mode": Shape(
        completion(called(name="json_tool_call", arguments=json.dumps({"values": DOCUMENT})), "stop"),
        DOCUMENT["facts"],
    ),
    "LiteLLM: an old function call": Shape(
        completion({"content": None, "function_call": {"name": "facts", "arguments": WRITTEN}}, "function_call"),
        DOCUMENT["facts"],
    ),
    "any: text in several parts": read(
        [{"type": "text", "text": WRITTEN[:30]}, {"type": "text", "text": WRITTEN[30:]}]
    ),
    "any: output text, as of the responses API": read([{"type": "output_text", "text": WRITTEN, "annotations": []}]),
    "any: strings as parts": read([WRITTEN]),
    "any: an object as content": read(DOCUMENT),
    # Around the document.
    "small model: prose around it": read(f"Sure! Here are the facts: {WRITTEN} Anything {{else}}?"),
    "small model: a fence without a language": read(f"Here:\n```\n{WRITTEN}\n```"),
    "small model: an example of the schema first": read(f'The schema is {{"facts": "list"}}. {WRITTEN}'),
    "small model: two answers, the last one counts": read(f"{DRAFT}\n\nWait, better: {WRITTEN}"),
    "small model: two answers, one of them valid": read(f'{WRITTEN} {{"facts": "none"}}'),
    "small model: JSON within JSON": read(json.dumps(WRITTEN)),
    "small model: end-of-text marks": read(f"{WRITTEN}<|im_end|></s>"),
    # Thoughts.
    "Qwen: <think>": read(f"<think>\nMaybe {DRAFT}\n</think>\n\n{WRITTEN}"),
    "DeepSeek R1: no opening tag": read(f"Maybe {DRAFT}\n</think>\n{WRITTEN}"),
    "Claude: <thinking>": read(f"<thinking>Maybe {DRAFT}</thinking>\n<answer>{WRITTEN}</answer>"),
    "Reflection: <reflection>": read(f"<reflection>{DRAFT}</reflection>{WRITTEN}"),
    "Cohere: <|START_THINKING|>": read(f"<|START_THINKING|>{DRAFT}<|END_THINKING|>{WRITTEN}"),
    "Magistral: [THINK]": read(f"[THINK]Maybe {DRAFT}[/THINK]{WRITTEN}"),
    "Kimi: ◁think▷": read(f"◁think▷Maybe {DRAFT}◁/think▷{WRITTEN}"),
    "gpt-oss: its own format": read(_HARMONY.replace("{}", DRAFT, 1).replace("{}", WRITTEN)),
    "gpt-oss: a call": read(
        f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>commentary to=functions.facts "
        f"<|constrain|>json<|message|>{WRITTEN}<|call|>"
    ),
    "Phi: <|end|> after the answer": read(f"{WRITTEN}<|end|>"),
    "any: a thought without an end": refused(f"<think>Maybe {WRITTEN}", code="INFERENCE_MALFORMED"),
    "any: a draft in reasoning, and no answer": refused(None, reasoning_content=f"Maybe {DRAFT}, or not."),
    "any: a tag in a fact": read(
        json.dumps({"facts": [{**FIRST, "text": "Ana writes </think> tags."}]}),
        {**FIRST, "text": "Ana writes </think> tags."},
    ),
    # The notation.
    "small model: trailing commas": read('{"facts": [%s, %s,],}' % (json.dumps(FIRST), json.dumps(SECOND))),  # noqa: UP031
    "small model: Python's literals": read(_PYTHON, {**SECOND, "category": None}),
    "small model: single quotes": read(
        "{'facts': [{'message': 2, 'text': 'Ana lives in Lisbon.'}]}", _WITHOUT_CATEGORY
    ),
    "small model: bare keys": read('{facts: [{message: 2, text: "Ana lives in Lisbon."}]}', _WITHOUT_CATEGORY),
    "small model: comments": read(f"{{\n// the facts\n{WRITTEN[1:]}"),
    "small model: a line break in a string": read(
        '{"facts": [{"message": 2, "text": "Ana lives\nin Lisbon."}]}', {"message": 2, "text": "Ana lives\nin Lisbon."}
    ),
    "small model: numbers as strings": read(
        '{"facts": [{"message": "2", "text": "Ana lives in Lisbon."}]}', _WITHOUT_CATEGORY
    ),
    "small model: an apostrophe that ends a string": refused("{'facts': [{'message': 1, 'text': 'Ana's boat.'}]}"),
    "small model: a missing comma": refused('{"facts": [{"message": 1 "text": "Ana sings."}]}'),
    "small model: a missing quote": refused('{"facts": [{"message": 1, "text": Ana sings.}]}'),
    "small model: an ellipsis": refused('{"facts": [{"message": 1, "text": "Ana sings."}, ...]}'),
    # Another structure.
    "small model: a bare list": read(json.dumps(DOCUMENT["facts"])),
    "small model: a bare list in a fence": read(f"```json\n{json.dumps(DOCUMENT['facts'])}\n```"),
    "small model: an object in each line": read(f"{json.dumps(FIRST)}\n{json.dumps(SECOND)}\n"),
    "small model: the document in a list": read(f"[{WRITTEN}]"),
    **{
        f"small model: within {name!r}": read(json.dumps({name: DOCUMENT}))
        for name in ("result", "data", "output", "response", "answer", "properties", "ExtractedFacts", "arguments")
    },
    "small model: a list within 'result'": read(json.dumps({"result": DOCUMENT["facts"]})),
    "Llama: a call in words": read(json.dumps({"name": "ExtractedFacts", "parameters": DOCUMENT})),
    "Hermes: `<tool_call>`": read(f'<tool_call>\n{{"name": "facts", "arguments": {WRITTEN}}}\n</tool_call>'),
    "small model: arguments as a string": read(json.dumps({"name": "facts", "arguments": WRITTEN})),
    "small model: an empty list": Shape(completion({"content": "[]"}), []),
    "small model: no facts": Shape(completion({"content": '{"facts": []}'}), []),
    "small model: an empty list in prose": refused("There is nothing in [] to remember."),
    "small model: a list of other things": refused('["Ana lives in Lisbon."]'),
    "small model: items of another kind": refused('[{"message": 1, "text": "Ana sings.", "sure": true}]'),
    "small model: the wrong type": refused('{"facts": [{"message": 1, "text": 7}]}'),
    "small model: within an unknown key": refused(json.dumps({"example": DOCUMENT})),
    # Cut off.
    "any: cut off within a fact": cut(_HALF, FIRST),
    "any: cut off within a fence": cut(f"```json\n{_HALF}", FIRST),
    "any: cut off between facts": cut('{"facts": [%s,' % json.dumps(FIRST), FIRST),  # noqa: UP031
    "any: cut off within a bare list": cut(_HALF.removeprefix('{"facts": '), FIRST),
    "any: cut off within a wrapper": cut(f'{{"result": {_HALF}', FIRST),
    "any: cut off before the first fact is whole": cut('{"facts": [{"message": 1, "te'),
    "any: the last brackets are missing": cut(WRITTEN[:-2], FIRST, SECOND, reason="stop"),
    "Mistral: cut off, in its words": cut(_HALF, FIRST, reason="model_length"),
    "Gemini: cut off, in its words": cut(_HALF, FIRST, reason="MAX_TOKENS"),
    "any: cut off after the document": Shape(completion({"content": f"{WRITTEN}\n\n\n"}, "length"), DOCUMENT["facts"]),
    "any: cut off in prose": Shape(completion({"content": "Let me see"}, "length"), code="INFERENCE_TRUNCATED"),
    # No answer.
    "OpenAI: a refusal": refused(None, "INFERENCE_REFUSED", refusal="I cannot help with that."),
    "OpenAI: a refusal as a part": refused([{"type": "refusal", "refusal": "No."}], "INFERENCE_REFUSED"),
    "Azure: filtered": refused(None, "INFERENCE_REFUSED", reason="content_filter"),
    "any: null": refused(None),
    "any: nothing": refused(""),
    "any: white space": refused(" \n" * 50),
    "any: no message": Shape({"choices": [{"index": 0}]}, code="INFERENCE_MALFORMED"),
    "OpenRouter: an error with 200": Shape({"error": {"code": 502, "message": "x"}}, code="PROVIDER_FAILING"),
    "OpenRouter: a limit with 200": Shape(
        {"error": {"code": 429, "message": "x", "metadata": {}}, "user_id": "u"}, code="RATE_LIMIT"
    ),
    "OpenRouter: an error in the choice": Shape(
        {"choices": [{"error": {"code": 503}, "finish_reason": "error", "message": {"content": WRITTEN[:30]}}]},
        code="PROVIDER_FAILING",
    ),
    "any: an error in words, with 200": Shape({"error": "the model is loading"}, code="PROVIDER_FAILING"),
    "9router: choices that are null": Shape({"id": None, "choices": None}, code="INFERENCE_MALFORMED"),
}
