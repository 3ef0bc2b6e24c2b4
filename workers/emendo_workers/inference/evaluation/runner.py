"""Runs cases through extraction and decision; all that a case knows is shown, so no store is needed."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields

from emendo_client.chat import ChatModel
from emendo_client.chat.base import UNUSABLE
from emendo_client.errors import EmendoError
from emendo_config import Settings
from emendo_workers import retry
from emendo_workers.inference.decision import decide
from emendo_workers.inference.evaluation.cases import Case
from emendo_workers.inference.evaluation.scoring import Judged, Outcome, judge
from emendo_workers.inference.extraction import extract
from emendo_workers.inference.types import Neighbour, Rules, Usage

# What says something of the model; anything else, such as a key that is refused, ends the evaluation.
_NO_ANSWER = UNUSABLE | {"PROVIDER_TIMEOUT"}


def evaluate(
    chat: ChatModel,
    cases: Sequence[Case],
    settings: Settings,
    *,
    parallel: int,
    on_progress: Callable[[int, int], None],
) -> list[Judged]:
    """Every case's outcome, in the cases' order.

    Args:
        chat: the model; thread-safe.
        cases: what is asked.
        settings: budgets, limits, and how often a provider that is away is asked again.
        parallel: how many cases are asked about at once.
        on_progress: called with (done, total).

    Raises:
        EmendoError: the provider refuses to be asked at all, or stays away.
    """
    with ThreadPoolExecutor(parallel) as pool:
        pending = [pool.submit(_outcome, chat, case, settings) for case in cases]
        try:
            judged = []
            for done, future in enumerate(pending, start=1):
                judged.append(judge(future.result()))
                on_progress(done, len(cases))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # the others would only meet the same
            raise
    return judged


def _outcome(chat: ChatModel, case: Case, settings: Settings) -> Outcome:
    rng = random.Random(case.id)  # noqa: S311  # spreads pauses
    for attempt in itertools.count(1):
        try:
            return _asked(chat, case, settings)
        except EmendoError as error:
            decision = retry.decide(error, attempt, settings, rng)
            if not decision.retry:
                raise
            time.sleep(decision.delay)
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
