"""Re-embedding for its callers: the call, the estimate, the state and the control."""
