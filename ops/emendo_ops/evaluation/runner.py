"""Runs cases through extraction and decision. The model sees all known memories of a case, so no store is needed."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

from emendo_client.errors import EmendoError
from emendo_client.providers.chat import ChatModel, Usage
from emendo_client.providers.chat.base import UNUSABLE
from emendo_config import Settings
from emendo_config.error_codes import ErrorCode
from emendo_ops.evaluation.cases import Case
from emendo_ops.evaluation.scoring import Outcome, ScoredOutcome, score
from emendo_workers.inference.decision import decide
from emendo_workers.inference.extraction import extract
from emendo_workers.inference.types import Neighbour, Rules
from emendo_workers.jobs import retry

# Errors that are a result of the model. Any other error, such as a refused key, ends the evaluation.
_NO_ANSWER = UNUSABLE | {ErrorCode.PROVIDER_TIMEOUT}


def evaluate(
    chat: ChatModel,
    cases: Sequence[Case],
    settings: Settings,
    *,
    parallel: int,
    on_progress: Callable[[int, int], None],
) -> list[ScoredOutcome]:
    """Scores every case, in the cases' order.

    Args:
        chat: the model; thread-safe.
        cases: the cases to run.
        settings: token budgets, limits, and retries for an unavailable provider.
        parallel: how many cases run at once.
        on_progress: called with (done, total).

    Raises:
        EmendoError: the provider refuses all requests, or stays unavailable.
    """
    stopped = threading.Event()
    with ThreadPoolExecutor(parallel) as pool:
        pending = [pool.submit(_outcome, chat, case, settings, stopped) for case in cases]
        try:
            scored = []
            for done, future in enumerate(pending, start=1):
                scored.append(score(future.result()))
                on_progress(done, len(cases))
        except BaseException:
            stopped.set()  # leaving the pool waits for its threads
            pool.shutdown(wait=False, cancel_futures=True)  # the other cases would meet the same error
            raise
    return scored


def _outcome(chat: ChatModel, case: Case, settings: Settings, stopped: threading.Event) -> Outcome:
    rng = random.Random(case.id)  # noqa: S311  # spreads the pauses
    for attempt in itertools.count(1):
        try:
            return _asked(chat, case, settings)
        except EmendoError as error:
            decision = retry.decide(error, attempt, settings, rng)
            # A job would wait for an operator or for room without end. Here somebody waits for the result.
            if not decision.retry or retry.is_worker_fault(error) or attempt >= settings.max_attempts:
                raise
            if stopped.wait(decision.delay):
                raise
    raise AssertionError("attempts are used up before the numbers are")


def _asked(chat: ChatModel, case: Case, settings: Settings) -> Outcome:
    neighbours = [Neighbour(f"{case.id}-{number}", text, 1) for number, text in enumerate(case.known, start=1)]
    usage = Usage()
    refusals: tuple[str, ...] = ()
    try:
        extraction = extract(chat, case.conversation, Rules(), settings=settings, now=case.now)
        usage, refusals = extraction.usage, extraction.refusals
        decided = decide(chat, extraction.facts, neighbours, Rules(), settings=settings)
    except EmendoError as error:
        if error.error_code not in _NO_ANSWER:
            raise
        spent = Usage(*(error.details.get(each.name, 0) for each in fields(Usage)))
        refused = (*refusals, *error.details.get("refusals", ()))
        return Outcome(case, usage=usage + spent, refusals=refused, failure=error.error_code)
    return Outcome(case, extraction.facts, decided.decisions, usage + decided.usage, (*refusals, *decided.refusals))
