"""A store of memories with all kinds of metadata, and of other ids and times."""

from __future__ import annotations

import pytest

from tests.support.filter_corpus import fill


@pytest.fixture
def corpus(services, client):
    """The memories by id, as `client.get_all` gives them; a part of them is another user's or another project's."""
    return fill(services, client)
