"""`emendo diagnose`: checks that one memory's parts agree."""

from __future__ import annotations

import click

from emendo_client import MemoryClient
from emendo_ops.console.examples import examples
from emendo_ops.console.exit_codes import FAILED
from emendo_ops.console.options import json_option
from emendo_ops.console.output import print_json, print_table


@click.command(epilog=examples("emendo diagnose MEMORY_ID"))
@click.argument("memory_id")
@json_option
def diagnose(memory_id: str, as_json: bool) -> int:
    """Check that a memory's hash, vector, index entry and history agree."""
    with MemoryClient() as client:
        diagnosis = client.diagnose(memory_id)
    if as_json:
        print_json(diagnosis)
    else:
        rows = ((f.check, "ok" if f.ok else "wrong", f.found, f.expected, f.remedy) for f in diagnosis.findings)
        print_table(f"memory {memory_id}", ("check", "state", "found", "expected", "mend"), rows)
    return 0 if diagnosis.ok else FAILED
