"""`emendo demo`: real jobs, end to end, on an embedded stack; each claim is checked."""
