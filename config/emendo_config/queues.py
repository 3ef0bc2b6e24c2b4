"""The Celery queues, so that slow work never stands before quick work."""

from __future__ import annotations

INTERACTIVE = "interactive"
INFERENCE = "inference"
BULK = "bulk"
MAINTENANCE = "maintenance"
QUEUES = (INTERACTIVE, INFERENCE, BULK, MAINTENANCE)

# Threads of a worker that is not told how many: what eight bulk shards can have at once, and two that stay free for
# what somebody waits for.
WORKER_THREADS = 10
