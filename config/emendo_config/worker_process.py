"""How a worker's process is run, wherever it is started."""

from __future__ import annotations

# Threads of a worker that is not told how many: what eight bulk shards can have at once, and two that stay free for
# what somebody waits for.
WORKER_THREADS = 10
# Unless somebody has set it. With an arena for each thread, as the C library has by default, the largest batches of
# all threads stay in memory at once: a quarter more of it, for a twentieth more speed.
WORKER_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1"}
