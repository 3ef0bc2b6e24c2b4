"""`emendo conformance`: what a memory server does under concurrency."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

import click

from emendo_config.urls import http_problem
from emendo_ops.console.examples import examples
from emendo_ops.console.exit_codes import FAILED
from emendo_ops.console.options import json_option
from emendo_ops.console.output import echo, print_json
from emendo_ops.console.progress import progress_bar


@click.command(
    epilog=examples(
        "EMENDO_CONFORMANCE_KEY=a EMENDO_CONFORMANCE_OTHER_KEY=b emendo conformance --url http://127.0.0.1:8080"
    )
)
@click.option("--url", required=True, help="The server's address, such as http://127.0.0.1:8080.")
@click.option(
    "--key",
    envvar="EMENDO_CONFORMANCE_KEY",
    default="",
    help="A key that may write. Better in EMENDO_CONFORMANCE_KEY: other users of this machine see command lines.",
)
@click.option(
    "--other-key",
    envvar="EMENDO_CONFORMANCE_OTHER_KEY",
    default="",
    help="A key of another project, for tenant crossing. Better in EMENDO_CONFORMANCE_OTHER_KEY.",
)
@click.option(
    "--dialect",
    type=click.Choice(["emendo", "mem0"]),
    default="emendo",
    show_default=True,
    help="The calls that the server understands.",
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0.1),
    default=30.0,
    show_default=True,
    help="Seconds until a request or a job that has not ended counts as an error.",
)
@json_option
def conformance(*, url: str, key: str, other_key: str, dialect: str, timeout: float, as_json: bool) -> int:
    """Check a memory server over HTTP: lost updates, resurrection, history, tenants, retries, status.

    It writes memories of users named conformance-..., and deletes them at the end. The exit code is 1 if a check fails,
    or cannot be carried out.
    """
    from emendo_ops.conformance.run import Verdict, examine

    problem = http_problem(url)
    if problem is not None:
        raise click.BadParameter(problem, param_hint="--url")
    with progress_bar("checks", quiet=as_json) as advance:
        outcomes = asyncio.run(examine(url, dialect, key, other_key, patience=timeout, on_progress=advance))
    failed = sum(outcome.verdict in (Verdict.FAIL, Verdict.ERROR) for outcome in outcomes)
    if as_json:
        print_json({"dialect": dialect, "passed": not failed, "checks": [asdict(outcome) for outcome in outcomes]})
    else:
        for outcome in outcomes:
            echo(f"{outcome.verdict:<5}  {outcome.check:<16}  {outcome.why}")
    return FAILED if failed else 0
