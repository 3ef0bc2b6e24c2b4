"""`emendo diagnose`: whether one memory is whole."""

from __future__ import annotations

import click

from emendo_client import MemoryClient
from emendo_client.cli import FAILED
from emendo_client.cli.output import json_option, print_json, print_table


@click.command()
@click.argument("memory_id")
@json_option
def diagnose(memory_id: str, as_json: bool) -> int:
    """Check that a memory's hash, vector, index entry and history agree."""
    with MemoryClient() as client:
        diagnosis = client.diagnose(memory_id)
    if as_json:
        print_json(diagnosis)
    else:
        rows = ((f.check, "ok" if f.ok else "wrong", f.found, f.expected, f.mend) for f in diagnosis.findings)
        print_table(f"memory {memory_id}", ("check", "state", "found", "expected", "mend"), rows)
    return 0 if diagnosis.ok else FAILED
