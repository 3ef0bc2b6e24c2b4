"""Each form in which chat APIs have messages: what is kept of it, what is left out, and what is refused."""

from __future__ import annotations

from itertools import chain
from typing import get_args

import pytest
from openai.types.responses import ResponseInputItem, ResponseOutputItem

from emendo_client.errors import ValidationError
from emendo_client.requests.messages import conversation
from emendo_client.requests.operations import OperationBuilder
from emendo_config import Settings
from tests.support.message_forms import FORMS, REFUSED, Said

SETTINGS = Settings()
ITEMS = {
    item.__name__: item.model_fields["type"].annotation
    for item in chain(*(get_args(get_args(union)[0]) for union in (ResponseInputItem, ResponseOutputItem)))
    if not item.__name__.endswith("Message")
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_of_each_form_the_texts_are_kept_and_all_else_is_counted(form):
    found = conversation(form.messages, SETTINGS)
    assert [(message["role"], message["content"]) for message in found.messages] == form.kept
    assert found.left_out == form.left_out


def test_a_conversation_may_hold_every_item_of_the_responses_api():
    """Its output is given to `add` as it is. Items without a text are left out, whatever they are."""
    types = [kind for annotation in ITEMS.values() for kind in get_args(annotation) if isinstance(kind, str)]
    assert len(types) > 20
    items = [{"type": kind, "id": "i1", "role": "developer" if kind == "additional_tools" else None} for kind in types]
    found = conversation([{"role": "user", "content": "I moved to Lisbon."}, *items], SETTINGS)
    assert [message["content"] for message in found.messages] == ["I moved to Lisbon."]
    assert found.left_out["empty"] == len(items)


@pytest.mark.parametrize(("messages", "says"), REFUSED.values(), ids=REFUSED)
def test_a_bad_message_is_named_by_its_index_and_part(messages, says):
    with pytest.raises(ValidationError, match=says) as refused:
        conversation(messages, SETTINGS)
    assert "Lisbon" not in str(refused.value)


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_without_inference_what_people_and_assistants_said_is_stored_and_context_is_not(form):
    operations = OperationBuilder(SETTINGS).add(form.messages, user_id="ana", infer=False)
    said = [(role, content) for role, content in form.kept if role in ("user", "assistant")]
    assert [(each["role"], each["text"]) for each in operations] == said
    assert operations.left_out == form.left_out


def test_the_limits_are_those_of_what_is_kept():
    small = Settings(max_text_chars=20, max_messages=2)
    image = {"type": "image_url", "image_url": {"url": "data:" + "x" * 999}}
    messages = [{"role": "user", "content": [{"type": "text", "text": "a"}, image]}] * 2
    empty = [{"role": "assistant", "content": None, "tool_calls": [{"function": {"arguments": "x" * 999}}]}] * 9
    assert len(conversation(messages + empty, small).messages) == 2
    with pytest.raises(ValidationError, match="messages holds 3 messages; the limit is 2"):
        conversation([*messages, Said()], Settings(max_messages=2))
    parts = [{"type": "text", "text": "0123456789"}] * 2
    with pytest.raises(ValidationError, match=r"messages\[0\]\.content has 21 characters; the limit is 20"):
        conversation({"role": "user", "content": parts}, small)


def test_a_speakers_name_stays_with_their_own_words():
    result = {"type": "tool_result", "content": "Sunny."}
    found = conversation({"role": "user", "name": "ana", "content": [result, "Nice."]}, SETTINGS)
    assert [message.get("name") for message in found.messages] == [None, "ana"]


def test_the_agents_of_a_team_are_named_by_their_source():
    said = [{"type": "TextMessage", "source": source, "content": "Nice."} for source in ("user", "UserProxy", "helper")]
    found = conversation(said, SETTINGS)
    roles = [(message["role"], message.get("name")) for message in found.messages]
    assert roles == [("user", None), ("user", "UserProxy"), ("assistant", "helper")]
