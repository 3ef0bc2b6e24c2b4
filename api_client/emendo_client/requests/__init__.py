"""From arguments to job requests: checks, operations, jobs, batches, filters. Pure."""
