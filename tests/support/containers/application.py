"""A web app in a container of its own tells the client's story; the provider, whom it deceives, answers beside it.

`python -m tests.support.containers.application`, with the settings of an app and STORY_KEY in the environment.
"""

from __future__ import annotations

import asyncio
import os
import sys

import httpx2 as httpx

from emendo_client.testing import OpenAIServer
from emendo_config import Settings
from tests.support import client_story
from tests.support.patience import PATIENCE

WORKERS = 2  # an interactive one, and one for bulk work


def main(provider_url: str, port: int, key: str) -> None:
    """Tells it with both clients, as the Redis user of an app, and over HTTP."""
    own = Settings()
    with OpenAIServer(port, host="0.0.0.0") as provider:
        settings = client_story.settings_with(
            provider, redis_url=own.redis_url, key_prefix=own.key_prefix, embedding_base_url=provider_url
        )
        asyncio.run(client_story.tell(settings, provider, WORKERS))
        headers = {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url="http://gateway:8080", headers=headers, timeout=PATIENCE) as tenant:
            client_story.tell_over_http(tenant, WORKERS)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), os.environ["STORY_KEY"])
