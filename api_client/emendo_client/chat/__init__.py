"""Asking a chat model for documents: the OpenAI protocol, with structured outputs where the server has them."""

from __future__ import annotations

from emendo_client.chat.base import ChatAnswer, ChatModel, Message
from emendo_config import Settings

__all__ = ["ChatAnswer", "ChatModel", "Message", "create_chat_model"]


def create_chat_model(settings: Settings) -> ChatModel:
    """The chat model the settings name; the openai library is imported only here.

    Raises:
        ConfigurationError: they name none, or neither a key nor a base URL for it.
    """
    from emendo_client.chat.openai import OpenAIChatModel

    return OpenAIChatModel(settings)
