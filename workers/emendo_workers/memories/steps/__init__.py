"""The steps of one round: open, decide, embed, drop cancelled jobs, commit. Each takes all memories of the batch."""
