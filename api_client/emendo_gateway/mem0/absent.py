"""Calls of mem0's clients that this server does not have: 501, and what there is instead. They need a key, too."""

from __future__ import annotations

from fastapi import APIRouter

from emendo_client.errors import ValidationError
from emendo_config.error_codes import ErrorCode

router = APIRouter(include_in_schema=False)
_ALL = ("GET", "POST", "PUT", "PATCH", "DELETE")
# Each path, what it is, and what there is instead.
_ABSENT = (
    ("/v1/exports/", "memory exports", "list the memories with get_all"),
    ("/v1/exports/get/", "memory exports", "list the memories with get_all"),
    ("/v1/summary/", "summaries", "list the memories with get_all"),
    ("/v1/memories/events/", "history of the whole project", "ask for the history of one memory"),
    ("/v2/entities/user/{entity_id:path}/profile/", "profiles", "list the user's memories with get_all"),
    ("/v2/profiles/{rest:path}", "profiles", "list the user's memories with get_all"),
    ("/api/v1/webhooks/{rest:path}", "webhooks", "ask /v1/event/{id}/ for the state of a write"),
    ("/api/v1/orgs/{rest:path}", "organisations and projects", "make keys with emendo keys create"),
)


def _absent(path: str, name: str, instead: str) -> None:
    async def refused() -> None:
        raise ValidationError(
            f"this server has no {name}; nothing was done", error_code=ErrorCode.NOT_OFFERED, suggestion=instead
        )

    # A user may be called "x/profile", and is deleted under the same path.
    router.add_api_route(path, refused, methods=["GET"] if path.endswith("/profile/") else list(_ALL))


for _each in _ABSENT:
    _absent(*_each)
