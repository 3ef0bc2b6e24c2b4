"""`python -m emendo_workers.inference.evaluation`: what `emendo eval inference` becomes."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import click
from rich.console import Console

from emendo_client.chat import create_chat_model
from emendo_client.cli import FAILED, run
from emendo_client.cli.output import json_option, print_json, progress_bar
from emendo_config import Settings
from emendo_workers.inference.evaluation.cases import default_directory, load_cases
from emendo_workers.inference.evaluation.report import Report
from emendo_workers.inference.evaluation.runner import evaluate

NAME = "emendo eval inference"


@click.command(name=NAME, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--cases",
    "directory",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="A folder of <kind>.jsonl; default: the cases Emendo comes with.",
)
@click.option("--only", multiple=True, metavar="KIND", help="Only cases of this kind; may be given several times.")
@click.option("--limit", type=click.IntRange(1), help="At most so many cases of each kind.")
@click.option("--parallel", type=click.IntRange(1, 64), default=4, show_default=True, help="Cases at once.")
@click.option("--misses", is_flag=True, help="Also print what was not as expected, case by case.")
@click.option("--strict", is_flag=True, help="Exit with 1 when the model is not good enough to be relied on.")
@json_option
def evaluation(  # noqa: PLR0917  # click passes every option
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
    # What the stages warn of is counted in the report; on standard error it would tear the progress bar.
    logging.getLogger("emendo_workers").addHandler(logging.NullHandler())
    settings = Settings()
    cases = load_cases(directory or default_directory())
    kinds = dict.fromkeys(case.kind for case in cases)
    unknown = sorted(set(only) - kinds.keys())
    if unknown:
        raise click.UsageError(f"no such kind: {', '.join(unknown)}; there are {', '.join(kinds)}")
    by_kind = {kind: [case for case in cases if case.kind == kind][:limit] for kind in only or kinds}
    chosen = [case for some in by_kind.values() for case in some]
    chat = create_chat_model(settings)
    try:
        with progress_bar("asking", shown=not as_json) as advance:
            judged = evaluate(chat, chosen, settings, parallel=parallel, on_progress=advance)
    finally:
        chat.close()
    report = Report(settings.chat_model, judged)
    if as_json:
        print_json(report.document())
    else:
        report.print(Console(width=None if sys.stdout.isatty() else 160), misses=misses)
    return FAILED if strict and report.missed else 0


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:], evaluation))
