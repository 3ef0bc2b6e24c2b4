"""The way to Redis and to the workers: shared round trips, wake-ups, waiting for jobs."""
