"""What an Emendo worker runs.

A job's way is one straight line: accept (client) → inbox → drain → apply (open, decide, embed, commit) →
finish. `docs/design.md` draws it; CONTRIBUTING.md says which file a change belongs to.
"""
