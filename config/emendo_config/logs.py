"""Logging: one line of text or one JSON object per event, with ids and never with content.

Callers log `logger.info("drained", extra={"shard": 3, "jobs": 17})`; the extras become fields.
Memory texts, keys and URLs with passwords are not passed to a logger anywhere in Emendo.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Any

from emendo_config.settings import Settings

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}


def configure_logging(settings: Settings) -> None:
    """Sends Emendo's and Celery's log to standard error in the form the settings ask for."""
    handler = logging.StreamHandler()
    handler.setFormatter(_JsonFormatter() if settings.log_format == "json" else _TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    # Drains come and go many times a second; jobs are followed by their records, not by Celery's lines.
    for chatty in ("celery.app.trace", "celery.worker.strategy"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # One line per HTTP request would drown everything else, and its debug level prints request bodies.
    for noisy in ("httpx", "httpx2", "httpcore", "httpcore2", "openai", "redisvl"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in record.__dict__.items() if key not in _STANDARD and key != "data"}


def _one_line(value: Any) -> str:
    text = str(value)
    return text if text.isprintable() else repr(text)  # a line break in a value must not forge an event


class _TextFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        moment = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        fields = "".join(f" {key}={_one_line(value)}" for key, value in _fields(record).items())
        line = f"{moment} {record.levelname:<7} {record.name}: {record.getMessage()}{fields}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            **_fields(record),  # first: an extra may not take the place of what every line has
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "event": record.getMessage(),
        }
        if record.exc_info:
            document["exception"] = self.formatException(record.exc_info)
        return json.dumps(document, ensure_ascii=False, default=str)
