"""Lines of `emendo doctor` on each kind of provider: the stand-in as it is set, and what a user reads."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from emendo_client.testing import EmbeddingForm, Limits
from emendo_client.testing.openai_server.answers import Answer, error
from tests.support.provider_forms import DIMENSIONS, FORMS, ProviderForm

EMBEDDING, QUERY, CHAT = "embedding", "query embedding", "chat model"
GOOD = '{"ok": true}'
_VECTOR = f"a vector of {DIMENSIONS} dimensions in … ms"
_CHECK = "check EMENDO_EMBEDDING_MODEL, EMENDO_EMBEDDING_DIMENSIONS, EMENDO_EMBEDDING_BASE_URL and the account"
_MISSES = f"{_CHECK}; a field that it misses goes into EMENDO_EMBEDDING_"
_KEY = "check EMENDO_EMBEDDING_API_KEY; a server that wants another header has EMENDO_EMBEDDING_HEADERS"
_LOG = "look at the provider's status page, or into the server's log"
_BUDGET = "raise the quota or the budget of the account at the provider, or pay for it"
_URL = "check that EMENDO_EMBEDDING_BASE_URL is the address of the API, which mostly ends with /v1"
_CHAT_URL = _URL.replace("EMBEDDING", "CHAT")
_LATER = (
    "try again later, as workers do by themselves; raise the account's limit if it happens often, "
    "or lower EMENDO_EMBEDDING_REQUESTS_PER_MINUTE"
)


@dataclass(frozen=True, slots=True)
class Reading:
    """One line of the doctor.

    Attributes:
        server: words for the stand-in.
        check, state, found, advice: the line; a time is … there.
        form, limits, fault: how the stand-in is set.
        model: its answer to a chat.
        settings: what the user sets beside address, key, model and dimensions.
        query: the end of the base URL, in place of its path if it begins with a slash.
        key: empty where none is sent.
    """

    server: str
    check: str
    state: Literal["ok", "warn", "fail"]
    found: str
    advice: str = ""
    form: EmbeddingForm = EmbeddingForm()  # noqa: RUF009  # frozen
    limits: Limits = Limits()  # noqa: RUF009  # frozen
    fault: str = ""
    model: str | Answer = GOOD
    settings: Mapping[str, Any] = field(default_factory=dict)
    query: str = ""
    key: str = "test"


def without_times(found: str) -> str:
    """The words without their milliseconds."""
    return re.sub(r"[\d,]+ ms\b", "… ms", found)


def _of_form(form: ProviderForm) -> list[Reading]:
    """The lines for a server of the table, with the settings of its user."""
    refused = [name for name in ("dimensions", "encoding_format") if name not in form.sends]
    found = f"{_VECTOR}; the server refuses {', '.join(refused)}, so requests go without" if refused else _VECTOR
    has_queries = any("query" in name for name in form.settings)
    return [
        Reading(
            form.name,
            check,
            "ok",
            found,
            form=form.server,
            settings=form.settings,
            query=form.query,
            key="test" if form.has_key else "",
        )
        for check in ((EMBEDDING, QUERY) if has_queries else (EMBEDDING,))
    ]


def _fault(kind: str, found: str, advice: str, *, state: Literal["warn", "fail"] = "fail") -> Reading:
    return Reading(f"fault `{kind}`", EMBEDDING, state, found, advice, fault=kind)


_COHERE, _AZURE = (next(each for each in FORMS if each.name == name) for name in ("Cohere", "Azure OpenAI"))
_SYSTEM = "EMENDO_INFERENCE_WINDOW_TOKENS, or use a model with a larger context"

READINGS: Sequence[Reading] = (
    *(reading for form in FORMS for reading in _of_form(form)),
    # A setting is wrong or missing.
    Reading(
        "Azure OpenAI, without the header `api-key`",
        EMBEDDING,
        "fail",
        "the provider refuses the API key (code 401, type invalid_request_error) (AUTHENTICATION)",
        _KEY,
        form=_AZURE.server,
        query=_AZURE.query,
    ),
    Reading(
        "Azure OpenAI, without `?api-version=`",
        EMBEDDING,
        "fail",
        "the provider refuses the request with 404 (code 404, type invalid_request_error) (EMBEDDING)",
        _CHECK,
        form=_AZURE.server,
        settings=_AZURE.settings,
        key="",
    ),
    Reading(
        "Cohere, without `input_type`",
        EMBEDDING,
        "fail",
        "the provider refuses the request with 400 (type invalid_request_error, param input_type) (EMBEDDING)",
        f"{_MISSES}PASSAGE_FIELDS",
        form=_COHERE.server,
    ),
    Reading(
        "Cohere, without `input_type` for queries",
        QUERY,
        "fail",
        "the provider refuses the request with 400 (type invalid_request_error, param input_type) (EMBEDDING)",
        f"{_MISSES}QUERY_FIELDS",
        form=_COHERE.server,
        settings={"embedding_passage_fields": _COHERE.settings["embedding_passage_fields"]},
    ),
    Reading(
        "a model of another length",
        EMBEDDING,
        "fail",
        "text-embedding-3-small gives vectors of 128 dimensions, but 64 are asked for (EMBEDDING_MALFORMED)",
        "set EMENDO_EMBEDDING_DIMENSIONS=128; a store that has memories needs emendo reembed",
        form=EmbeddingForm(dimensions=128),
    ),
    Reading(
        "a model that the server does not have",
        EMBEDDING,
        "fail",
        "the provider refuses the request with 404 (code model_not_found, type invalid_request_error) (EMBEDDING)",
        _CHECK,
        limits=Limits(models=frozenset({"another"})),
    ),
    Reading(
        "a wrong path",
        EMBEDDING,
        "fail",
        "the provider refuses the request with 404 (type invalid_request_error) (EMBEDDING)",
        _URL,
        query="/",
    ),
    Reading(
        "a server that takes no connection",
        EMBEDDING,
        "fail",
        "nothing listens at the provider's address (PROVIDER_UNREACHABLE)",
        "start the server, or check EMENDO_EMBEDDING_BASE_URL; within a container, localhost is the container itself",
        settings={"embedding_base_url": "http://127.0.0.1:{free}/v1"},
    ),
    Reading(
        "a host that has no address",
        EMBEDDING,
        "fail",
        "the name of the provider's host is not known here (PROVIDER_UNREACHABLE)",
        "check the host in EMENDO_EMBEDDING_BASE_URL (OpenAI itself if it is not set), and this machine's DNS or proxy",
        settings={"embedding_base_url": "http://nothing.invalid/v1"},
    ),
    Reading(
        "https:// for a server of http://",
        EMBEDDING,
        "fail",
        "the provider's address does not speak TLS, or not a version of it that is trusted (PROVIDER_UNREACHABLE)",
        "check whether EMENDO_EMBEDDING_BASE_URL should begin with http:// instead of https://",
        settings={"embedding_base_url": "https://127.0.0.1:{port}/v1"},
    ),
    # The provider fails.
    _fault(
        "unauthorized",
        "the provider refuses the API key (code invalid_api_key, type invalid_request_error) (AUTHENTICATION)",
        _KEY,
    ),
    _fault(
        "quota",
        "the provider account's quota is used up, says the provider with 429 "
        "(code insufficient_quota, type invalid_request_error) (QUOTA_EXCEEDED)",
        _BUDGET,
    ),
    _fault(
        "rate_limit",
        "the provider asks to slow down (code rate_limit_exceeded, type invalid_request_error) (RATE_LIMIT)",
        _LATER,
        state="warn",
    ),
    _fault("server_error", "the provider answered 500 (type server_error) (PROVIDER_FAILING)", _LOG),
    _fault("bad_gateway", "the provider answered 502 (type server_error) (PROVIDER_FAILING)", _LOG),
    _fault("unavailable", "the provider answered 503 (type server_error) (PROVIDER_FAILING)", _LOG),
    _fault("request_timeout", "the provider answered 408 (type invalid_request_error) (PROVIDER_FAILING)", _LOG),
    _fault("hidden_error", "the provider answered 502 (code 502) (PROVIDER_FAILING)", _LOG),
    _fault(
        "bad_request",
        "the provider refuses the request with 400 "
        "(code content_policy_violation, type invalid_request_error) (EMBEDDING)",
        f"{_MISSES}PASSAGE_FIELDS",
    ),
    _fault(
        "timeout",
        "the provider did not answer in time (PROVIDER_TIMEOUT)",
        "look at the server; raise EMENDO_EMBEDDING_TIMEOUT if it is slow, or still loads its model",
    ),
    _fault(
        "reset",
        "the connection to the provider broke off (ReadError) (PROVIDER_UNREACHABLE)",
        "look into the log of the server at EMENDO_EMBEDDING_BASE_URL, or of a proxy before it",
    ),
    _fault(
        "truncated",
        "the connection to the provider broke off (RemoteProtocolError) (PROVIDER_UNREACHABLE)",
        "look into the log of the server at EMENDO_EMBEDDING_BASE_URL, or of a proxy before it",
    ),
    _fault("malformed_json", "the provider's answer is malformed (ValueError) (EMBEDDING_MALFORMED)", _URL),
    *(
        _fault(kind, f"{found} (EMBEDDING_MALFORMED)", _CHECK)
        for kind, found in (
            ("missing_item", "the provider answered 0 vectors for 1 texts"),
            ("null", "a vector of the provider's answer is missing, or no vector"),
            ("empty", "a vector of the provider's answer is empty"),
            ("nan", "a vector of the provider's answer holds NaN or infinite values"),
            ("infinite", "a vector of the provider's answer holds NaN or infinite values"),
            ("zero", "a vector of the provider's answer is all zeros, so that no search would find its memory"),
            ("repeated_index", "the provider's answer is malformed (an index of its vectors is repeated or missing)"),
        )
    ),
    # Chat models.
    Reading("a chat model with structured outputs", CHAT, "ok", "m answered in … ms"),
    Reading(
        "a chat server without structured outputs",
        CHAT,
        "ok",
        "m answered in … ms; the server refuses json_schema, json_object, so requests go without",
        limits=Limits(response_formats=frozenset({"text"})),
    ),
    Reading(
        "a chat model that chats",
        CHAT,
        "warn",
        "m answers, and not with the JSON that it was asked for",
        "measure the model: emendo eval inference",
        model="Sure, I am ok!",
    ),
    Reading(
        "a chat model that says nothing",
        CHAT,
        "fail",
        "the chat model's answer is empty (INFERENCE_MALFORMED)",
        "look into the server's log, or use another model",
        model="",
    ),
    Reading(
        "a web page in place of a chat API",
        CHAT,
        "fail",
        "the provider's answer is malformed (JSONDecodeError) (INFERENCE_MALFORMED)",
        _CHAT_URL,
        model=Answer(200, b"<!doctype html><title>Chat</title>", {"content-type": "text/html"}),
    ),
    Reading(
        "a chat API of another kind",
        CHAT,
        "fail",
        "the chat model's answer has no message (INFERENCE_MALFORMED)",
        _CHAT_URL,
        model=Answer(200, b'{"message": {"content": "ok"}, "done": true}'),
    ),
    Reading(
        "a chat model that the server does not have",
        CHAT,
        "fail",
        "the provider refuses the request with 404 (code model_not_found, type invalid_request_error) (INFERENCE)",
        "check EMENDO_CHAT_MODEL, EMENDO_CHAT_BASE_URL and the account",
        limits=Limits(models=frozenset({"another"})),
    ),
    Reading(
        "a chat server that takes no request",
        CHAT,
        "fail",
        "the provider refuses the request with 400 (type invalid_request_error) (INFERENCE)",
        "no form of the request is accepted: check EMENDO_CHAT_MODEL, EMENDO_CHAT_BASE_URL and the server's log; "
        "a field that it misses goes into EMENDO_CHAT_FIELDS",
        model=error(400, "Bad Request"),
    ),
    Reading(
        "a content filter that refuses everything",
        CHAT,
        "fail",
        "the provider refuses the request with 400 "
        "(code content_filter, type invalid_request_error) (INFERENCE_REFUSED)",
        "a harmless question is refused: check the content filter at the provider, or use another model",
        model=error(400, "Filtered.", "content_filter"),
    ),
    Reading(
        "a chat model with too small a context",
        CHAT,
        "fail",
        "the input has more tokens than the model takes, says the provider with 400 "
        "(code context_length_exceeded, type invalid_request_error) (INFERENCE_TOO_LONG)",
        f"lower {_SYSTEM}",
        limits=Limits(max_tokens=1),
    ),
    Reading(
        "OpenRouter, whose provider is away",
        CHAT,
        "fail",
        "the provider answered 502 (code 502) (PROVIDER_FAILING)",
        _LOG,
        model=Answer(200, b'{"choices": [{"error": {"code": 502, "message": "x"}, "finish_reason": "error"}]}'),
    ),
    Reading(
        "DeepSeek or OpenRouter, without money",
        CHAT,
        "fail",
        "the provider account's quota is used up, says the provider with 402 "
        "(code invalid_request_error, type unknown_error) (QUOTA_EXCEEDED)",
        _BUDGET,
        model=Answer(
            402, b'{"error": {"message": "x", "type": "unknown_error", "param": null, "code": "invalid_request_error"}}'
        ),
    ),
    Reading(
        "Gemini, with a wrong key",
        CHAT,
        "fail",
        "the provider refuses the API key (code 400, type INVALID_ARGUMENT) (AUTHENTICATION)",
        _KEY.replace("EMBEDDING", "CHAT"),
        model=Answer(
            400, b'[{"error": {"code": 400, "message": "API key not valid. x", "status": "INVALID_ARGUMENT"}}]'
        ),
    ),
)
BY_NAME = {f"{each.server}: {each.check}": each for each in READINGS}
assert len(BY_NAME) == len(READINGS)
