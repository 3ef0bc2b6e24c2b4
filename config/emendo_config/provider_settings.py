"""The settings of a provider's server: its address, key and headers, and further fields of its requests.

No message holds a value, since URLs and headers carry keys.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from emendo_config.json_codec import compact_json, read_json
from emendo_config.urls import http_problem

# The embedder, and the chat model, set these fields themselves.
_OF_EMBEDDING = ("model", "input", "dimensions", "encoding_format")
_OF_CHAT = ("model", "messages", "n", "response_format", "max_tokens", "max_completion_tokens")
_ENDPOINTS = ("/embeddings", "/chat/completions")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, section 5.1
_NO_OBJECT = "is no JSON object"


def read_headers(text: str) -> dict[str, str]:
    """The headers of a setting without a problem."""
    return _read(text)


def read_fields(text: str) -> dict[str, Any]:
    """The fields of a setting without a `fields_problem`."""
    return _read(text)


@lru_cache(maxsize=16)
def canonical_fields(text: str) -> str:
    """The same fields in one form: sorted, without spaces; empty for none."""
    fields = _read(text)
    return compact_json(dict(sorted(fields.items()))) if fields else ""


def server_problem(name: str, url: str, key: str, headers: str) -> tuple[str, str] | None:
    """Why a provider's server cannot be asked, and what to do; None when it can.

    Args:
        name: the settings' common beginning: EMENDO_EMBEDDING or EMENDO_CHAT.
        url, key, headers: their values, empty if unset.
    """
    base_url = f"{name}_BASE_URL, or OPENAI_BASE_URL in its place,"
    problem = http_problem(url) if url else None
    if problem is not None:
        return (
            f"{base_url} cannot be used: {problem}",
            "write it like https://host/v1; percent-encode special characters of the password",
        )
    if urlsplit(url).path.rstrip("/").endswith(_ENDPOINTS):
        return f"{base_url} names one endpoint", "leave its end off: /embeddings, or /chat/completions"
    if key and "@" in urlsplit(url).netloc:
        return (
            f"{base_url} has a user name or password, which would replace {name}_API_KEY (or OPENAI_API_KEY)",
            f"remove one of them, or name both headers in {name}_HEADERS",
        )
    if not (key.isascii() and key.isprintable()):
        return (
            f"{name}_API_KEY, or OPENAI_API_KEY in its place, has characters beyond printable ASCII",
            "copy the key once more; an HTTP header carries only printable ASCII",
        )
    problem = _headers_problem(headers)
    if problem is not None:
        return f"{name}_HEADERS cannot be used: it {problem}", 'write it like {"api-key": "…"}'
    return None


def _headers_problem(text: str) -> str | None:
    try:
        headers = _read(text)
    except ValueError:
        return _NO_OBJECT
    for name, value in headers.items():
        if not _HEADER_NAME.fullmatch(name):
            return "has a name that is none of a header"
        if not isinstance(value, str) or not value.isascii() or not value.isprintable():
            return "has a value that is no text of printable ASCII"
    return None


def fields_problem(name: str, text: str) -> str | None:
    """Why the text of a setting cannot be sent as fields of a request; None when it can."""
    try:
        fields = _read(text)
    except ValueError:
        return _NO_OBJECT
    own = [field for field in fields if field in (_OF_CHAT if name.startswith("chat") else _OF_EMBEDDING)]
    return f"has {own[0]}, which Emendo sets itself" if own else None


def _read(text: str) -> dict[str, Any]:
    if not text:
        return {}
    document = read_json(text)
    if not isinstance(document, dict):
        raise ValueError(_NO_OBJECT)  # noqa: TRY004  # as for text that is no JSON
    return document
