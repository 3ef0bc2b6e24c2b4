"""A chat model behind the OpenAI protocol, through the official client."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import openai
from pydantic import BaseModel

from emendo_client.errors import ConfigurationError, EmendoError, InferenceError
from emendo_client.providers.chat.answer_texts import is_thinking, message_of
from emendo_client.providers.chat.answers import read_answer
from emendo_client.providers.chat.base import A, ChatAnswer, Message, Usage
from emendo_client.providers.chat.request_forms import FormSearch, RequestForm
from emendo_client.providers.chat.streamed import completion_of
from emendo_client.providers.errors_with_200 import refusal_of
from emendo_client.providers.http import Server
from emendo_client.providers.openai_errors import CHAT, require_server, translate
from emendo_config import Settings
from emendo_config.error_codes import ErrorCode
from emendo_config.forks import leave_to_the_parent, notice_fork, reset_in_children
from emendo_config.provider_settings import read_fields, read_headers
from emendo_config.visible_text import visible

# Errors of one request: those of the openai client, and those of parsing its answer.
_FAILURES = (openai.OpenAIError, ValueError, RecursionError)
# Tokens beside the document: for some words around it, and for a model that is known to think.
_ROOM_TO_THINK, _MORE_ROOM_TO_THINK = 256, 8_192
# A larger count of tokens is nonsense, and the counters of Redis end at 64 bits.
_MOST_TOKENS = 1_000_000_000
# Failed questions in one form after one in every form.
_PLAIN_QUESTIONS = 5
# Refusals of the content, whatever the form of the request.
_OF_CONTENT = re.compile(r"content.?(?:filter|policy|management|moderation)|safety|moderat", re.IGNORECASE)


class OpenAIChatModel:
    """One `openai` client per process; thread-safe. It remembers the form of a request that the server accepts.

    Raises:
        ConfigurationError: the settings name no chat model, or neither a key nor a base URL.
    """

    def __init__(self, settings: Settings) -> None:
        if not settings.has_chat_model:
            raise ConfigurationError("no chat model is configured", suggestion="set EMENDO_CHAT_MODEL")
        key = settings.chat_api_key.get_secret_value()
        require_server(CHAT, f"the chat model {settings.chat_model}", key, settings.chat_base_url)
        self._model = settings.chat_model
        self._fields = read_fields(settings.chat_fields) or None
        headers = read_headers(settings.chat_headers.get_secret_value())
        self._server = Server(settings.chat_base_url, key, headers, settings.chat_timeout)
        self._form = RequestForm()
        self._is_proven = False
        self._plain_questions = 0  # asked in one form before a 500 is taken for a refusal again
        self._unsure_form: RequestForm | None = None
        self._room_to_think = _ROOM_TO_THINK
        self._lock = threading.Lock()
        self._sync: openai.OpenAI | None = None
        reset_in_children(self)

    def reset_after_fork(self) -> None:
        """The parent's client stays with the parent: two processes on one socket get each other's answers."""
        leave_to_the_parent(self._sync)
        self._sync = None
        self._lock = threading.Lock()

    @property
    def refused_parts(self) -> tuple[str, ...]:
        """Parts of a request that the server was found to refuse, so that requests go without them."""
        return self._form.refused_parts

    def ask(
        self, messages: Sequence[Message], answer_type: type[A], *, max_tokens: int, partly: bool = False
    ) -> ChatAnswer[A]:
        """See `ChatModel.ask`."""
        # People have read what they see. An instruction in characters that show nothing is nobody's.
        messages = [{**message, "content": visible(message["content"])} for message in messages]
        usage = Usage()
        while True:
            room = self._room_to_think
            body, requests = self._complete(messages, answer_type, max_tokens + room)
            usage += _usage_of(body, requests)
            try:
                document, is_cut = read_answer(body, answer_type, usage, partly=partly)
            except InferenceError as error:
                is_cut = error.error_code == ErrorCode.INFERENCE_TRUNCATED
                if not is_cut or not _thinks(body) or room == _MORE_ROOM_TO_THINK:
                    raise
                self._room_to_think = _MORE_ROOM_TO_THINK
            else:
                if is_cut and _thinks(body):  # its thoughts left too little
                    self._room_to_think = _MORE_ROOM_TO_THINK
                return ChatAnswer(document, usage.prompt_tokens, usage.completion_tokens, usage.requests, is_cut)

    def _complete(self, messages: Sequence[Message], answer_type: type[BaseModel], max_tokens: int) -> tuple[Any, int]:
        """The completion as JSON values, and the number of requests it took."""
        takes_500 = not self._is_proven and self._plain_questions == 0
        search = FormSearch(self._form, max_tokens, takes_500_for_refusal=takes_500)
        requests = 0
        try:
            while True:
                requests += 1
                try:
                    body = self._request(search.form.request(messages, answer_type, max_tokens))
                except openai.APIStatusError as error:
                    search.refuse(error)
                else:
                    self._learn(search)
                    return body, requests
        except _FAILURES as error:
            # A server that is failing is not asked in every form each time.
            has_searched = takes_500 and requests > 1
            self._plain_questions = _PLAIN_QUESTIONS if has_searched else max(0, self._plain_questions - 1)
            failure = _explained(error, is_proven=self._is_proven)
        raise failure  # outside: an error of the provider may quote the texts, and would be attached to it

    def _request(self, parameters: Mapping[str, Any]) -> Any:
        # The raw body: servers answer in shapes that the client's own types lose parts of.
        ask = self._client().chat.completions.with_raw_response.create
        response = ask(model=self._model, **parameters, extra_body=self._fields)
        body = completion_of(response.http_response.content)
        refusal = refusal_of(body, response.http_response)
        if refusal is not None:
            raise refusal
        return body

    def _learn(self, search: FormSearch) -> None:
        """Remembers the form that worked; one that was found by chance has to be found twice."""
        learned = search.learned
        if search.is_sure or learned == self._unsure_form:
            self._form, self._is_proven = learned, True
        else:
            self._unsure_form = learned

    def close(self) -> None:
        """Closes the client."""
        with self._lock:
            if self._sync is not None:
                self._sync.close()
                self._sync = None

    def _client(self) -> openai.OpenAI:
        notice_fork()
        with self._lock:
            if self._sync is None:
                self._sync = self._server.client()
            return self._sync


def _explained(error: Exception, *, is_proven: bool) -> EmendoError:
    """The error for a failed request. As long as no request was accepted, a refusal is not blamed on the content."""
    translated = translate(error, CHAT)
    if translated.error_code != ErrorCode.INFERENCE_REFUSED or not isinstance(error, openai.APIStatusError):
        return translated
    if is_proven or _OF_CONTENT.search(f"{error.code} {error.message}"):
        translated.suggestion = "leave the refused content out, or add the facts with infer=False"
    else:
        translated.error_code = str(ErrorCode.INFERENCE)
        translated.suggestion = (
            "no form of the request is accepted: check EMENDO_CHAT_MODEL, EMENDO_CHAT_BASE_URL and the server's log; "
            "a field that it misses goes into EMENDO_CHAT_FIELDS"
        )
    return translated


def _usage_of(body: Any, requests: int) -> Usage:
    usage = body.get("usage") if isinstance(body, Mapping) else None
    counts = usage if isinstance(usage, Mapping) else {}
    prompt, completion = (_count(counts.get(name)) for name in ("prompt_tokens", "completion_tokens"))
    return Usage(requests, prompt, completion)


def _count(stated: Any) -> int:
    return min(max(0, stated), _MOST_TOKENS) if isinstance(stated, int) else 0


def _thinks(body: Any) -> bool:
    found = message_of(body)
    return found is not None and is_thinking(found[0], body)
