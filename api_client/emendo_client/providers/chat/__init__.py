"""Chat models that answer with documents: the OpenAI protocol, with structured outputs if the server has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from emendo_client.providers.chat.base import ChatAnswer, ChatModel, Message, Usage
from emendo_config import Settings

if TYPE_CHECKING:
    from emendo_client.providers.chat.openai import OpenAIChatModel

__all__ = ["ChatAnswer", "ChatModel", "Message", "Usage", "create_chat_model"]


def create_chat_model(settings: Settings) -> OpenAIChatModel:
    """The chat model that the settings name; the openai library is imported only here.

    Raises:
        ConfigurationError: the settings name no model, or neither a key nor a base URL for it.
    """
    from emendo_client.providers.chat.openai import OpenAIChatModel

    return OpenAIChatModel(settings)
