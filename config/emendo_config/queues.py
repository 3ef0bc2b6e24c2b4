"""The Celery queues, so that slow work never stands before quick work."""

from __future__ import annotations

INTERACTIVE = "interactive"
INFERENCE = "inference"
BULK = "bulk"
MAINTENANCE = "maintenance"
QUEUES = (INTERACTIVE, INFERENCE, BULK, MAINTENANCE)
