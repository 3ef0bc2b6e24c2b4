"""A strong write returns after its commit, so that the next read sees it."""

from __future__ import annotations


def test_a_strong_add_can_be_read_as_soon_as_the_call_returns(emendo_client):
    job = emendo_client.add("I like tea.", user_id="ana", infer=False, consistency="strong")
    assert job.status() == "succeeded"
    assert [memory.memory for memory in emendo_client.get_all(user_id="ana").results] == ["I like tea."]
