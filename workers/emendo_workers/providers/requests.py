"""Requests to an embedding provider: split to its limits, quickly retried; a text that fails alone fails no other."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_random_exponential

from emendo_client.errors import (
    CircuitOpenError,
    EmendoError,
    NetworkError,
    QuotaExceededError,
    RateLimitError,
    ThrottledError,
)
from emendo_client.providers.embeddings import Embedder, Embeddings
from emendo_client.providers.harmless import embed_harmless
from emendo_client.providers.openai_errors import EMBEDDING
from emendo_client.spans import embedding_attributes
from emendo_config import Settings
from emendo_config.embedding_space import EmbeddingSpace
from emendo_workers.jobs.retry import is_transient
from emendo_workers.providers.admission import AdmissionControl
from emendo_workers.providers.causes import explains_itself, is_breakdown, is_of_the_texts, is_refusal, is_timeout
from emendo_workers.providers.failing_texts import MOST_REQUESTS, Answers, Search, undecided
from emendo_workers.providers.meter import Meter
from emendo_workers.providers.request_counts import EMBEDDING_REQUEST, note_request
from emendo_workers.providers.request_size import RequestSize, most_tokens
from emendo_workers.providers.signs_of_life import SignsOfLife
from emendo_workers.providers.suspects import Suspects
from emendo_workers.tally import Tally

logger = logging.getLogger(__name__)

# The longest pause inside a drain (seconds), since it holds a whole shard back. For longer ones jobs are put aside.
MAX_QUICK_PAUSE = 1.0


class EmbeddingRequests:
    """Embeds lists of texts through one embedder; thread-safe when the embedder is."""

    def __init__(
        self,
        embedder: Embedder,
        settings: Settings,
        admission: AdmissionControl,
        tally: Tally | None = None,
        space: EmbeddingSpace | None = None,
    ) -> None:
        self._described = embedding_attributes(space or settings.space)
        self._admission = admission
        self._tally = tally or Tally()
        self._embedder = embedder
        self._settings = settings
        self._backoff = wait_random_exponential(multiplier=0.1, max=MAX_QUICK_PAUSE)
        self._threads = ThreadPoolExecutor(settings.embedding_parallel, "emendo-embedding")
        self._signs = SignsOfLife(self._embed_harmless, EMBEDDING)
        self._size = RequestSize()
        self._suspects = Suspects()

    def close(self) -> None:
        """Ends its threads."""
        self._threads.shutdown()

    def probe(self) -> None:
        """Embeds a harmless text.

        Raises:
            EmendoError: why no text is embedded; PROVIDER_REFUSES if the provider refuses every one.
        """
        self._signs.probe()

    def embed(self, texts: Sequence[str], meter: Meter) -> Answers:
        """A vector (float32[dimensions] bytes) for each text, or the error that kept it from having one.

        Args:
            texts: each once.
            meter: counts the cost.
        """
        first, *more = self._requests(texts)
        # Each thread works in the caller's context, so that spans have their place.
        waiting = [self._threads.submit(copy_context().run, self._embed_request, each, meter) for each in more]
        found = self._embed_request(first, meter)
        for each in waiting:
            found.update(each.result())
        return found

    def _embed_request(self, texts: list[str], meter: Meter) -> Answers:
        """Embeds the texts of one request. A text that fails alone must not fail the others."""
        fault = self._signs.fault
        if fault is not None:
            return dict.fromkeys(texts, fault)
        answer, tries = self._answer(texts, meter)
        if isinstance(answer, dict):
            return self._ask_again(answer, meter)
        is_alone = len(texts) == 1
        if not is_of_the_texts(answer) or (is_alone and self._is_clear(texts[0], answer)):
            return dict.fromkeys(texts, answer)
        # A refusal among many is mostly one text's, which the first half shows without a harmless request.
        is_checked = is_alone or not is_refusal(answer)
        verdict = self._check(answer, tries) if is_checked else None
        if verdict is not None:
            if is_timeout(answer):
                self._size.guess(texts)
            return dict.fromkeys(texts, verdict)
        if is_alone:
            return self._alone(texts[0], answer, meter)
        return self._search(texts, answer, meter, is_checked=is_checked)

    def _is_clear(self, text: str, error: EmendoError) -> bool:
        """True if a text's own failure needs no harmless request: too many tokens, or a bad vector once more."""
        return explains_itself(error) or (text in self._suspects and not is_breakdown(error))

    def _alone(self, text: str, error: EmendoError, meter: Meter) -> Answers:
        """The answer for a text that failed while the provider answers others; it may have been a bad moment."""
        answer: Answers | EmendoError = error
        is_new = text not in self._suspects and self._settings.embedding_quick_retries > 0
        if is_new and not is_refusal(error) and not is_timeout(error):
            answer = self._ask_once([text], meter)
        found: Answers = answer if isinstance(answer, dict) else {text: answer}
        self._note_failures(found)
        return found

    def _ask_again(self, answers: Answers, meter: Meter) -> Answers:
        """Asks once more, alone, for each text that has no usable vector in an answer for several."""
        bad = [text for text, answer in answers.items() if isinstance(answer, EmendoError)]
        for asked, text in enumerate(bad):
            again = self._ask_once([text], meter) if asked < MOST_REQUESTS else undecided()
            answers |= again if isinstance(again, dict) else {text: again}
        self._note_failures({text: answers[text] for text in bad})
        return answers

    def _search(self, texts: list[str], error: EmendoError, meter: Meter, *, is_checked: bool) -> Answers:
        """Halves a request that failed, until each text that fails is alone."""
        sizes = self._size.search()

        def ask(some: list[str]) -> Answers | EmendoError:
            answer = self._ask_once(some, meter)
            if isinstance(answer, dict):
                sizes.taken(some)
                return self._ask_again(answer, meter)
            note(some, answer)
            return answer

        def note(some: list[str], failure: EmendoError) -> None:
            if is_timeout(failure):
                sizes.late(some)
            elif len(some) > 1 and is_of_the_texts(failure):
                sizes.failed(some, is_refusal=is_refusal(failure))

        note(texts, error)
        search = Search(ask, lambda failure: self._check(failure, 1), time.monotonic() + self._longest_search)
        found = search.run(texts, error, is_checked=is_checked)
        errors = [answer for answer in found.values() if isinstance(answer, EmendoError)]
        one_failed = any(map(is_of_the_texts, errors))
        sizes.end(all_taken=not errors, one_failed=one_failed)
        sizes.end_of_counting(
            lambda some: isinstance(ask(some), EmendoError), is_size=search.is_size, one_failed=one_failed
        )
        self._note_failures(found)
        return found

    @property
    def _longest_search(self) -> float:
        """Seconds, which leave a task enough of its time for the rest."""
        return self._settings.task_soft_time_limit / 2

    def _check(self, error: EmendoError, tries: int) -> EmendoError | None:
        """The error of every text if the provider fails as a whole; None if it answers others."""
        verdict = self._signs.check(error)
        if verdict is None:
            return None
        if verdict.is_down:
            self._admission.down(error, tries + 1)  # the harmless request failed, too
        return verdict.error

    def _note_failures(self, found: Answers) -> None:
        """Remembers and logs the texts that failed alone."""
        failures = {text: error for text, error in found.items() if isinstance(error, EmendoError)}
        own = {text: error for text, error in failures.items() if is_of_the_texts(error)}
        for text, error in own.items():
            if not is_refusal(error):
                self._suspects.add(text)
        if own:
            error = next(iter(own.values()))
            said = {name: error.details[name] for name in _LOGGED if name in error.details}
            fields = {"texts": len(own), "error": error.error_code, **said}
            logger.warning("texts fail alone at the embedding provider: %s", error.message, extra=fields)

    def _answer(self, texts: list[str], meter: Meter) -> tuple[Answers | EmendoError, int]:
        """The answer to one request after quick retries, and how often it was asked."""
        failures: list[EmendoError] = []
        most = 1 if len(texts) == 1 and texts[0] in self._suspects else 1 + self._settings.embedding_quick_retries
        try:
            for attempt in Retrying(
                # The last try is left to a harmless text, if the failure may be one of these texts'.
                stop=lambda _: len(failures) >= (max(1, most - 1) if is_of_the_texts(failures[-1]) else most),
                retry=retry_if_exception(_worth_a_quick_retry),
                wait=self._pause,
                reraise=True,
            ):
                with attempt:
                    return self._ask_provider(texts, meter, failures), len(failures) + 1
        except (CircuitOpenError, ThrottledError) as error:
            # A provider that was asked and failed has spent the attempt.
            return (failures[-1] if failures and is_of_the_texts(failures[-1]) else error), len(failures)
        except EmendoError as error:
            return error, len(failures)
        raise AssertionError("tenacity ends by returning or raising")

    def _ask_once(self, texts: list[str], meter: Meter) -> Answers | EmendoError:
        try:
            return self._ask_provider(texts, meter, [])
        except EmendoError as error:
            return error

    def _ask_provider(self, texts: list[str], meter: Meter, failures: list[EmendoError]) -> Answers:
        admission = self._admission.admit(sum(map(most_tokens, texts)), MAX_QUICK_PAUSE)
        began = time.monotonic()
        try:
            answer = self._embedder.embed(texts)
        except EmendoError as error:
            failures.append(error)
            self._note(began, len(texts), error=error)
            self._admission.failed(admission, error)
            raise
        self._note(began, len(texts), answer)
        self._signs.answered(began)
        self._admission.succeeded(admission, answer)
        meter.add(1, answer.tokens)
        if len(texts) == 1:
            self._suspects.discard(texts[0])
        return dict(zip(texts, answer.vectors, strict=True))

    def _embed_harmless(self) -> Embeddings:
        admission = self._admission.admit_harmless(MAX_QUICK_PAUSE)
        began = time.monotonic()
        try:
            answer = embed_harmless(self._embedder)
        except EmendoError as error:
            self._note(began, 1, error=error)
            self._admission.failed(admission, error)
            raise
        self._note(began, 1, answer)
        self._admission.succeeded(admission, answer)
        return answer

    def _note(
        self, began: float, texts: int, answer: Embeddings | None = None, error: EmendoError | None = None
    ) -> None:
        tokens = {EMBEDDING_REQUEST: answer.tokens} if answer is not None else None
        seconds = time.monotonic() - began
        note_request(
            self._tally, EMBEDDING_REQUEST, seconds, tokens, error=error, texts=texts, described=self._described
        )

    def _pause(self, state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        pause = self._backoff(state)
        if isinstance(error, RateLimitError) and error.retry_after is not None:
            pause = max(pause, error.retry_after)
        logger.info(
            "the embedding provider failed; trying again",
            extra={"attempt": state.attempt_number, "error": getattr(error, "error_code", type(error).__name__)},
        )
        return pause

    def _requests(self, texts: Sequence[str]) -> Iterator[list[str]]:
        """The texts, split into requests that keep to the provider's limits on size, time and rate."""
        alone = dict.fromkeys(text for text in texts if text in self._suspects)
        request: list[str] = []
        tokens = 0
        for text in (text for text in texts if text not in alone) if alone else texts:
            cost = most_tokens(text)
            full = len(request) >= min(self._settings.embedding_max_inputs, self._size.most_texts)
            most = min(self._settings.embedding_max_tokens, self._admission.largest_request, self._size.most)
            if request and (full or tokens + cost > most):
                yield request
                request, tokens = [], 0
            request.append(text)
            tokens += cost
        if request:
            yield request
        yield from ([text] for text in alone)


# Details of an error that the log shows.
_LOGGED = ("status", "provider_code", "provider_type", "provider_param")


def _worth_a_quick_retry(error: BaseException) -> bool:
    if isinstance(error, QuotaExceededError | CircuitOpenError | ThrottledError):
        return False
    if isinstance(error, RateLimitError):
        return (error.retry_after or 0.0) <= MAX_QUICK_PAUSE
    if isinstance(error, NetworkError):
        # Another timeout would hold the shard back for as long again.
        return not is_timeout(error)
    return isinstance(error, EmendoError) and is_transient(error)
