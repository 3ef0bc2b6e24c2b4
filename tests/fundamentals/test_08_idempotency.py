"""An idempotency key makes a request safe to send again: the second call finds the first one's job."""

from __future__ import annotations

import pytest

from emendo_client.errors import ConflictError


def test_the_same_request_sent_twice_has_one_effect(emendo_client):
    first = emendo_client.add("I like tea.", user_id="ana", infer=False, idempotency_key="request-1")
    again = emendo_client.add("I like tea.", user_id="ana", infer=False, idempotency_key="request-1")
    assert first.id == again.id
    again.wait()
    assert emendo_client.get_all(user_id="ana").total == 1


def test_another_request_under_the_same_key_is_refused(emendo_client):
    emendo_client.add("I like tea.", user_id="ana", infer=False, idempotency_key="request-1").wait()
    with pytest.raises(ConflictError):
        emendo_client.add("I like coffee.", user_id="ana", infer=False, idempotency_key="request-1")
