"""The Celery broker."""

from __future__ import annotations

from emendo_config import Settings
from emendo_config.celery_app import create_app
from emendo_config.urls import redact_url
from emendo_ops.doctor.finding import Finding


def check_broker(settings: Settings) -> Finding:
    """Connects to the broker once."""
    app = create_app(settings)
    try:
        with app.connection_for_write() as connection:
            connection.ensure_connection(max_retries=1, timeout=int(settings.broker_timeout) or 1)
    except Exception as error:  # noqa: BLE001  # kombu raises KeyError, ValueError and whatever its transports raise
        return Finding(
            "broker", "fail", f"{redact_url(settings.broker_url)}: {type(error).__name__}", "set EMENDO_BROKER_URL"
        )
    return Finding("broker", "ok", redact_url(settings.broker_url))
