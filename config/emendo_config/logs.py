"""Logging: one line of text or one JSON object per event, with ids and never with content.

Callers log `logger.info("drained", extra={"shard": 3, "jobs": 17})`; the extras become fields.
No part of Emendo passes memory texts, keys or URLs with passwords to a logger. Errors of libraries do: so each error is
shown as `tracebacks.py` does it, also in the lines that Celery writes.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from emendo_config.settings import Settings
from emendo_config.tracebacks import safe_traceback, summary
from emendo_config.visible_text import escaped, visible

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
# Celery passes a task's arguments as `data`. Uvicorn repeats its message for terminals, with their colours.
_NO_FIELDS = _STANDARD | {"data", "color_message"}


def configure_logging(settings: Settings) -> None:
    """Sends Emendo's and Celery's log to standard error in the form the settings ask for."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter() if settings.log_format == "json" else _TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    # Drains start many times a second. Job records tell what happens to jobs, not Celery's lines.
    for chatty in ("celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # One line per HTTP request would drown everything else, and its debug level prints request bodies.
    for noisy in ("httpx", "httpx2", "httpcore", "httpcore2", "openai", "redisvl"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in record.__dict__.items() if key not in _NO_FIELDS}


def _one_line(value: Any) -> str:
    text = str(value)
    return text if text.isprintable() else repr(text)  # a line break in a value must not forge an event


class _Formatter(logging.Formatter):
    """Shows errors without texts that may quote content."""

    def formatException(self, ei: Any) -> str:  # noqa: N802  # logging's name
        return "" if ei[1] is None else safe_traceback(ei[1])

    @staticmethod
    def message_of(record: logging.LogRecord) -> str:
        """The record's message, in which errors are shown in that way, too."""
        args = record.args
        if isinstance(args, tuple) and any(isinstance(each, BaseException) for each in args):
            shown = tuple(summary(each) if isinstance(each, BaseException) else each for each in args)
            return str(record.msg) % shown
        if isinstance(args, dict) and "traceback" in args:  # Celery's line about a task that failed
            error = record.exc_info[1] if isinstance(record.exc_info, tuple) else None
            shown_error = "an error" if error is None else type(error).__name__
            return str(record.msg) % {**args, "exc": shown_error, "traceback": ""}
        return record.getMessage()


class _TextFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = "".join(f" {key}={_one_line(value)}" for key, value in _fields(record).items())
        line = f"{moment} {record.levelname:<7} {record.name}: {self.message_of(record)}{fields}"
        whole = f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line
        return visible(whole).replace("\n", "\n  ")  # only an event begins a line


class _JsonFormatter(_Formatter):
    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            **_fields(record),  # first: an extra must not replace a field that every line has
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "event": self.message_of(record),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return escaped(json.dumps(document, ensure_ascii=False, default=str))
