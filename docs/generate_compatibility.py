"""Writes docs/reference/compatibility.md from the tables that the tests run: `python -m docs.generate_compatibility`.

With `--check` it writes nothing and exits 1 when the page is stale.
"""

# ruff: noqa: INP001  # a script, not a package

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from docs.generated_page import write_or_check
from tests.support import (
    answer_shapes,
    client_story,
    doctor_readings,
    filter_forms,
    message_forms,
    provider_forms,
    real_parts,
)
from tests.support.web import forms as web_forms
from tests.support.web.servers import SEARCHES

PAGE = Path(__file__).resolve().parent / "reference" / "compatibility.md"

INTRODUCTION = """\
# Compatibility

This page is generated from the tables that the tests run: `python -m docs.generate_compatibility`. Every row is tested.
The embedding servers and the chat models are stand-ins that speak OpenAI's protocol over HTTP. Their habits are those
that users of the named servers have reported. The web servers, Redis and RabbitMQ are the real ones.
"""

_RIGHT = f"{SEARCHES:,} of {SEARCHES:,} right"
_MORE_PROCESSES = (
    ("Celery, prefork pool", "MemoryClient, used before the fork"),
    ("Celery, prefork pool, asyncio.run", "AsyncMemoryClient, a loop for each task"),
    ("Celery, gevent pool", "MemoryClient, made when the app is loaded"),
    ("Celery, eventlet pool", "MemoryClient, made when the app is loaded"),
    ("multiprocessing, fork", "MemoryClient, used before the fork"),
    ("multiprocessing, spawn and forkserver", "MemoryClient, made in each process"),
    ("ProcessPoolExecutor, fork", "MemoryClient, used before the fork and meanwhile in threads"),
    ("ProcessPoolExecutor, forkserver", "MemoryClient, made in each process"),
    ("os.fork in a thread", "MemoryClient, used in all threads and in the child"),
)

Rows = Iterable[tuple[str, ...]]


def page() -> str:
    """The whole page, as it should stand in docs/reference/compatibility.md."""
    sections = [
        _section("Embedding servers", "providers/test_provider_forms.py", _EMBEDDING, _embedding_servers()),
        _section("What doctor says", "ops/test_doctor_readings.py", _DOCTOR, _doctor()),
        _section("Answers of chat models", "openai_server/test_answer_shapes.py", _ANSWERS, _answers()),
        _LONG_QUESTIONS,
        _section("Web servers", "client/test_web_servers.py", _WEB, _web_servers(), _EVENTLET),
        _section("Redis and brokers", "ops/test_real_parts.py", _PARTS, _parts(), _story()),
        _section("Messages", "inference/test_message_forms.py", _MESSAGES, _messages()),
        _section("Filters", "filters/test_forms.py", _FILTERS, _filters()),
    ]
    return "\n".join((INTRODUCTION, *sections))


_LONG_QUESTIONS = """\
## Servers that cut long questions

Test: `tests/integration/ops/test_doctor_context.py`.

With less than 24 GiB of video memory Ollama's context is 4,096 tokens; earlier releases had 2,048. It cuts what is
longer, and says nothing. A question of Emendo has up to 6,000 tokens of conversation
(`EMENDO_INFERENCE_WINDOW_TOKENS`). `emendo doctor --deep` finds out. `OLLAMA_CONTEXT_LENGTH`, or `num_ctx` in a
Modelfile, makes the context larger: [how to](../how-to/inference.md#servers-that-cut-a-long-question).
"""

_EVENTLET = """\
Its authors call eventlet deprecated, and gunicorn has no worker for it any more: prefer gevent or threads. The client
works in Celery's pool of it. Emendo's own workers are tested with threads, which is what `emendo worker` starts.
"""

_EMBEDDING = ("server", "how it differs from OpenAI", "what Emendo does")
_DOCTOR = ("provider", "check", "state", "found", "advice")
_ANSWERS = ("server: shape of the answer", "reading")
_WEB = ("server", "client", "searches")
_PARTS = ("settings", "what stands behind them")
_MESSAGES = ("API: form", "messages kept", "left out")
_FILTERS = ("operator", "spelling", "example", "decided by")


def _embedding_servers() -> Rows:
    return ((form.name, form.differs, form.does) for form in provider_forms.FORMS)


def _doctor() -> Rows:
    return ((each.server, each.check, each.state, each.found, each.advice) for each in doctor_readings.READINGS)


def _answers() -> Rows:
    for name, shape in answer_shapes.SHAPES.items():
        if shape.facts is None:
            yield name, f"refused: `{shape.code}`"
        else:
            yield name, "read as far as it goes" if shape.is_cut else "read"


def _web_servers() -> Rows:
    yield from ((server.name, server.use, _RIGHT) for server in web_forms.WEB_SERVERS)
    yield from ((*words, _RIGHT) for words in _MORE_PROCESSES)
    yield "Jupyter", "both clients, with top-level await", "all right"


def _parts() -> Rows:
    for parts in real_parts.PARTS:
        yield ", ".join(f"`{name}={url}`" for name, url in parts.settings.items()), parts.behind


def _story() -> str:
    """The story that each row was tried with, step by step."""
    with_both = "\n".join(f"- {_first_line(step)}" for step in client_story.STEPS)
    return (
        "Each row is a whole installation with a worker, a gateway and Flower. It was tried with this story, which\n"
        "the blocking and the asyncio client both tell. Jobs start by the broker's messages alone.\n\n"
        f"{with_both}\n- {_first_line(client_story.tell_over_http)}\n"
        "- `emendo doctor` finds Redis, the index, the broker and the worker in order, and Flower lists the worker.\n\n"
        "Further tests kill RabbitMQ (`test_rabbitmq.py`) and the master behind real sentinels (`test_sentinels.py`).\n"
        "A server with a wrong certificate hears no password (`test_tls.py`, `test_tls_sentinels.py`).\n"
    )


def _first_line(step: Callable[..., object]) -> str:
    return str(step.__doc__).partition("\n")[0]


def _messages() -> Rows:
    for name, form in message_forms.FORMS.items():
        left_out = ", ".join(f"{kind}: {count}" for kind, count in form.left_out.items())
        yield name, str(len(form.kept)), left_out or "nothing"


def _filters() -> Rows:
    for form in filter_forms.FORMS:
        decided = "the index" if form.is_indexed else "a look at each candidate"
        yield form.operator, form.spelling, f"`{form.example!r}`", decided


def _section(title: str, test: str, columns: tuple[str, ...], rows: Rows, before: str = "") -> str:
    folder = "tests" if test.startswith("openai_server") else "tests/integration"
    table = [f"| {' | '.join(columns)} |", "|" + " --- |" * len(columns)]
    table += (f"| {' | '.join(_cell(each) for each in row)} |" for row in rows)
    words = (before,) if before else ()
    return "\n".join((f"## {title}", "", f"Test: `{folder}/{test}`.", "", *words, *table, ""))


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page(), "python -m docs.generate_compatibility"))
