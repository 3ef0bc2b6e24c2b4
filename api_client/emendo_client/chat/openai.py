"""A chat model behind the OpenAI protocol, through the official client."""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Sequence
from typing import Any

import openai
import pydantic

from emendo_client.chat.answers import read
from emendo_client.chat.base import A, ChatAnswer, Message
from emendo_client.chat.forms import Form
from emendo_client.errors import ConfigurationError
from emendo_client.provider_errors import CHAT, require_server, translate
from emendo_client.tls import http_client
from emendo_config import Settings

# What the openai client, and the parsing of its answer, can raise for one request.
_FAILURES = (openai.OpenAIError, json.JSONDecodeError, pydantic.ValidationError)
# How servers say that they do not take the form of a request.
_REFUSALS = (openai.BadRequestError, openai.UnprocessableEntityError)
# Refusals that another form of the same request would meet as well.
_WHATEVER_FORM = ("context_length_exceeded", "content_filter", "content_policy_violation")
# An OpenAI-compatible server of one's own often has no key; the client insists on one.
_NO_KEY = "none"


class OpenAIChatModel:
    """One `openai` client per process; thread-safe. It remembers what the server understands.

    Raises:
        ConfigurationError: the settings name no chat model, or neither a key nor a base URL.
    """

    def __init__(self, settings: Settings) -> None:
        if not settings.has_chat_model:
            raise ConfigurationError("no chat model is configured", suggestion="set EMENDO_CHAT_MODEL")
        key = settings.chat_api_key.get_secret_value()
        require_server(CHAT, f"the chat model {settings.chat_model}", key, settings.chat_base_url)
        self._model = settings.chat_model
        self._options: dict[str, Any] = {
            "api_key": key or _NO_KEY,
            "base_url": settings.chat_base_url or None,
            "timeout": settings.chat_timeout,
            "max_retries": 0,  # retrying is decided in one place, emendo_workers.retry
        }
        self._form = Form.SCHEMA
        self._sampling: dict[str, Any] = {"temperature": 0}
        self._lock = threading.Lock()
        self._sync: openai.OpenAI | None = None

    def ask(self, messages: Sequence[Message], answer_type: type[A]) -> ChatAnswer[A]:
        """See `ChatModel.ask`."""
        form, sampling = self._form, self._sampling
        for requests in itertools.count(1):
            try:
                completion = self._client().chat.completions.create(
                    model=self._model, **form.request(messages, answer_type), **sampling
                )
            except _REFUSALS as error:
                if sampling and error.param == "temperature":  # reasoning models have only their own
                    sampling = {}
                elif form.simpler is not None and error.code not in _WHATEVER_FORM:
                    form = form.simpler
                else:
                    raise translate(error, CHAT) from None
            except _FAILURES as error:
                raise translate(error, CHAT) from None
            else:
                self._form, self._sampling = form, sampling
                return read(completion, answer_type, requests)
        raise AssertionError("the forms are used up before the numbers are")

    def close(self) -> None:
        """Closes the client."""
        with self._lock:
            if self._sync is not None:
                self._sync.close()
                self._sync = None

    def _client(self) -> openai.OpenAI:
        with self._lock:
            if self._sync is None:
                self._sync = openai.OpenAI(**self._options, http_client=http_client())
            return self._sync
