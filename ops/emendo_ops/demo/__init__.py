"""The demo: real jobs, end to end, on an embedded stack. Each claim it makes is checked."""
