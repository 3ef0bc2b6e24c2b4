"""`emendo eval`: how good a configured model is."""

from __future__ import annotations

import logging
from pathlib import Path

import click

from emendo_config import Settings
from emendo_ops import extras
from emendo_ops.console.examples import examples
from emendo_ops.console.exit_codes import FAILED
from emendo_ops.console.options import json_option
from emendo_ops.console.output import print_json, report_console
from emendo_ops.console.progress import progress_bar


@click.group(name="eval", epilog=examples("emendo eval inference --limit 2"))
def evaluate() -> None:
    """Measure how well a configured model does its tasks."""


@evaluate.command(epilog=examples("emendo eval inference --limit 2", "emendo eval inference --only negations --misses"))
@click.option(
    "--cases",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of <kind>.jsonl; default: the cases Emendo comes with.",
)
@click.option("--only", multiple=True, metavar="KIND", help="Only cases of this kind; may be given several times.")
@click.option("--limit", type=click.IntRange(1), help="At most this many cases of each kind.")
@click.option("--parallel", type=click.IntRange(1, 64), default=4, show_default=True, help="Cases at once.")
@click.option("--misses", is_flag=True, help="Also print what was not as expected, case by case.")
@click.option("--strict", is_flag=True, help="Exit with 1 when the model is not good enough to be relied on.")
@json_option
def inference(  # noqa: PLR0917  # click passes every option
    directory: Path | None,
    only: tuple[str, ...],
    limit: int | None,
    parallel: int,
    misses: bool,
    strict: bool,
    as_json: bool,
) -> int:
    """Measure how well the configured chat model (EMENDO_CHAT_...) extracts facts and decides what they change.

    The model is asked about every case, and paid: about two requests each. Nothing is read or written elsewhere.
    """
    extras.require("worker", "the worker")
    from emendo_client.providers.chat import create_chat_model
    from emendo_ops.evaluation.cases import OWN_CASES, load_cases
    from emendo_ops.evaluation.report import Report
    from emendo_ops.evaluation.runner import evaluate as evaluate_cases

    # The report counts these warnings. On standard error they would tear the progress bar.
    logging.getLogger("emendo_workers").addHandler(logging.NullHandler())
    settings = Settings()
    cases = load_cases(directory or OWN_CASES)
    kinds = dict.fromkeys(case.kind for case in cases)
    unknown = sorted(set(only) - kinds.keys())
    if unknown:
        raise click.UsageError(f"no such kind: {', '.join(unknown)}; there are {', '.join(kinds)}")
    by_kind = {kind: [case for case in cases if case.kind == kind][:limit] for kind in only or kinds}
    chosen = [case for some in by_kind.values() for case in some]
    chat = create_chat_model(settings)
    try:
        with progress_bar("cases", quiet=as_json) as advance:
            scored = evaluate_cases(chat, chosen, settings, parallel=parallel, on_progress=advance)
    finally:
        chat.close()
    report = Report(settings.chat_model, scored)
    if as_json:
        print_json(report.document())
    else:
        report.print(report_console(plain_width=160), misses=misses)
    return FAILED if strict and report.missed else 0
