"""Reads the body of a provider's error: its code, type and parameter, and whether an input is too long.

The message may repeat the input. So it is only compared with known wordings here, and never handed on.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

# A code, a type or the path of a parameter. A sentence, an address or a whole text is none.
_TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\[\]-]{0,63}")
# Keys begin like this: a proxy was seen to repeat one.
_KEY = re.compile(r"(?:sk|pk|hf|gsk|key)[-_]", re.IGNORECASE)
# The detail's name and the fields that servers write it in, the first one that is there.
_FIELDS = (
    ("provider_code", ("code", "error_code")),
    ("provider_type", ("type", "error_type", "status")),
    ("provider_param", ("param",)),
)
# Codes and types of an input with too many tokens: OpenAI and Azure, llama.cpp, GitHub Models, LiteLLM.
_TOO_LONG_TOKENS = frozenset(
    {
        "context_length_exceeded",
        "exceed_context_size_error",
        "context_window_exceeded",
        "ContextWindowExceededError",
        "model_max_prompt_tokens_exceeded",
        "string_above_max_length",
        "tokens_limit_reached",
    }
)
# The wordings of servers that have no code for it. Each names a length and a limit, so that no other error has them.
_TOO_LONG_WORDS = (
    r"maximum context length",  # OpenAI, Azure, vLLM, DeepSeek
    r"context length is only \d+ tokens",  # vLLM
    r"maximum input length is \d+ tokens",  # OpenAI, embeddings
    r"must have less than \d+ tokens",  # Text Embeddings Inference
    r"input length exceeds",  # Ollama
    r"exceeds? the (?:available |maximum )?context (?:size|length|window)",  # Ollama, llama.cpp, LM Studio
    r"larger than the (?:max(?:imum)? )?context (?:size|length|window)",  # llama.cpp
    r"input is too large to process",  # llama.cpp
    r"ContextWindowExceeded",  # LiteLLM
    r"input token count\b.{0,40}\bexceeds the maximum",  # Gemini
    r"\btoo many tokens\b(?!.{0,20}\b(?:per|overall|in batch)\b)",  # Cohere, Voyage
    r"(?:prompt|input|text) is too long",  # Anthropic, Bedrock
    r"request too large\b.{0,80}\btokens per minute",  # Groq: no later minute has room for it
    r"exceeds? (?:the )?max(?:imum)? (?:sequence |input )?length of \d+ tokens",  # Jina, sentence-transformers
)
_TOO_LONG = re.compile("|".join(_TOO_LONG_WORDS), re.IGNORECASE)
_MOST_READ = 4_000
# An account without money or budget: OpenAI, Azure, LiteLLM; DeepSeek and OpenRouter say it with a status of its own.
_NO_MONEY_TOKENS = frozenset(
    {
        "insufficient_quota",
        "billing_hard_limit_reached",
        "billing_not_active",
        "budget_exceeded",
        "ExceededBudget",
        "insufficient_balance",
        "Arrearage",  # DashScope
        "exceeded_current_quota_error",  # Moonshot
    }
)
_PAYMENT_REQUIRED = 402
# A key that a provider refuses with another status than 401: Gemini says it with 400.
_WRONG_KEY = re.compile(r"api.?key not valid|invalid api.?key|incorrect api.?key", re.IGNORECASE)
_WRONG_KEY_STATUSES = (400, 403)


def provider_details(body: object) -> dict[str, str]:
    """The provider's code, type and parameter, as far as they are short names: {provider_code, …_type, …_param}."""
    found = {}
    error = _error_of(body)
    for name, fields in _FIELDS:
        token = next((token for field in fields if (token := _token(error.get(field)))), None)
        if token is not None:
            found[name] = token
    return found


def in_words(details: Mapping[str, Any]) -> str:
    """The same for the end of a message, such as ` (code invalid_api_key)`; empty without details."""
    said = [f"{name.removeprefix('provider_')} {details[name]}" for name, _ in _FIELDS if name in details]
    return f" ({', '.join(said)})" if said else ""


def says_too_long(body: object) -> bool:
    """True if the error is that one input has more tokens than the model takes."""
    error = _error_of(body)
    return bool(_named(error) & _TOO_LONG_TOKENS) or _TOO_LONG.search(_message(body, error)) is not None


def says_no_money(status: int, body: object) -> bool:
    """True if the account's quota or budget is used up, which waiting a minute does not change."""
    return status == _PAYMENT_REQUIRED or bool(_named(_error_of(body)) & _NO_MONEY_TOKENS)


def says_wrong_key(status: int, body: object) -> bool:
    """True if the key is refused, by a status that means another thing elsewhere."""
    return status in _WRONG_KEY_STATUSES and _WRONG_KEY.search(_message(body, _error_of(body))) is not None


def retry_delay(body: object) -> str:
    """The time to wait before another request, or nothing. Gemini says it in the error's details, in no header."""
    details = _error_of(body).get("details")
    for each in details if isinstance(details, list) else ():
        delay = each.get("retryDelay") if isinstance(each, Mapping) else None
        if isinstance(delay, str):
            return delay
    return ""


def _named(error: Mapping[str, Any]) -> set[str]:
    """The error's codes and types."""
    return {error[field] for _, fields in _FIELDS for field in fields if isinstance(error.get(field), str)}


def _error_of(body: object) -> Mapping[str, Any]:
    """The object with the error's fields; empty if there is none."""
    if isinstance(body, list) and body:  # Gemini
        body = body[0]
    if not isinstance(body, Mapping):
        return {}
    inner = body.get("error")
    if isinstance(inner, Mapping):
        return inner
    nested = body.get("message")
    problems = nested.get("detail") if isinstance(nested, Mapping) else body.get("detail")  # Mistral nests it
    if isinstance(problems, list) and problems and isinstance(problems[0], Mapping):  # FastAPI
        place = problems[0].get("loc")
        names = [str(name) for name in place[1:]] if isinstance(place, list) else []
        return {"type": problems[0].get("type"), "param": ".".join(names), "message": problems[0].get("msg")}
    return body


def _message(body: object, error: Mapping[str, Any]) -> str:
    found = error.get("message") or error.get("error") or error.get("detail") or body
    return found[:_MOST_READ] if isinstance(found, str) else ""


def _token(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or value == "None" or not _TOKEN.fullmatch(value) or _KEY.match(value):  # LiteLLM
        return None
    return value
