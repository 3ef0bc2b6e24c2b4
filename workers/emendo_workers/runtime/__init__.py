"""The worker process: leases, concurrency, broker transport, task events."""
