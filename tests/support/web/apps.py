"""One small app in each form that web servers load. Every answer is the text of the best hit for the query.

The clients are made and used when the module is imported. With a server that loads the app before it forks, all
workers inherit them.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs

from emendo_client import AsyncMemoryClient, MemoryClient
from emendo_config import Settings

PROJECT = os.environ["SEARCHED_PROJECT"]
USER = "ana"

client = MemoryClient(Settings(), project=PROJECT)
async_client = AsyncMemoryClient(Settings(), project=PROJECT)
client.search("a query before the fork", user_id=USER)
if asyncio._get_running_loop() is None:  # a notebook's kernel has one
    asyncio.run(async_client.search("another query before the fork", user_id=USER))


def found(query: str) -> str:
    """The best hit's text."""
    return client.search(query, user_id=USER, limit=1)[0].memory


async def found_async(query: str) -> str:
    """The same with the asyncio client."""
    return (await async_client.search(query, user_id=USER, limit=1))[0].memory


def wsgi(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A WSGI app over the client for threads."""
    text = found(parse_qs(environ["QUERY_STRING"])["q"][0])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {text}".encode()]


def wsgi_asyncio(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """A WSGI app that runs an event loop for each request."""
    text = asyncio.run(found_async(parse_qs(environ["QUERY_STRING"])["q"][0]))
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.getpid()} {text}".encode()]


async def asgi(scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
    """An ASGI app over the asyncio client."""
    if scope["type"] != "http":
        return
    text = await found_async(parse_qs(scope["query_string"].decode())["q"][0])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": f"{os.getpid()} {text}".encode()})


def _django() -> tuple[Any, Any]:
    import django
    from asgiref.sync import async_to_sync
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application
    from django.http import HttpRequest, HttpResponse
    from django.urls import path

    def answer(text: str) -> HttpResponse:
        return HttpResponse(f"{os.getpid()} {text}", content_type="text/plain")

    def view(request: HttpRequest) -> HttpResponse:
        return answer(found(request.GET["q"]))

    async def async_view(request: HttpRequest) -> HttpResponse:
        return answer(await found_async(request.GET["q"]))

    def bridged_view(request: HttpRequest) -> HttpResponse:
        return answer(async_to_sync(found_async)(request.GET["q"]))

    routes = [path("", view), path("async", async_view), path("bridged", bridged_view)]
    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], ROOT_URLCONF=tuple(routes), SECRET_KEY="for a test")
        django.setup()
    return get_wsgi_application(), get_asgi_application()


def __getattr__(name: str) -> Any:
    """Django is set up for the servers that ask for its apps only."""
    if name not in {"django_wsgi", "django_asgi"}:
        raise AttributeError(name)
    module = sys.modules[__name__]
    module.django_wsgi, module.django_asgi = _django()  # type: ignore[attr-defined]
    return getattr(module, name)


def celery_app() -> Any:
    """The app's own Celery app: its tasks search, in each of the two ways."""
    from celery import Celery

    app = Celery("searching", broker=os.environ["SEARCH_BROKER"], backend=os.environ["SEARCH_BROKER"])

    @app.task(name="search")
    def search(query: str) -> str:
        return f"{os.getpid()} {found(query)}"

    @app.task(name="search-asyncio")
    def search_asyncio(query: str) -> str:
        return f"{os.getpid()} {asyncio.run(found_async(query))}"

    return app
