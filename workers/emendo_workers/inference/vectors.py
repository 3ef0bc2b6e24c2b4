"""The vectors of one attempt's texts: each text is embedded once, and each add knows its share of the cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emendo_client.errors import EmbeddingError, EmendoError
from emendo_config.store import usage_counters
from emendo_workers.inference.inferred_add import InferredAdd
from emendo_workers.inference.known_memories import searched_space
from emendo_workers.jobs.retry import is_transient
from emendo_workers.memories.text_vectors import Answer, TextVectors
from emendo_workers.providers.meter import Meter
from emendo_workers.services import Services


class Vectors:
    """Texts and their vectors in the space that is searched.

    Attributes:
        texts: all vectors so far; a commit takes them from here.
        space: the active space when the attempt began.
    """

    def __init__(self, services: Services) -> None:
        self.texts = TextVectors(services)
        self.space = searched_space(services.store)

    @property
    def found(self) -> Mapping[str, Answer]:
        """float32[dimensions] bytes by text, or the error that kept it from having one."""
        return self.texts.known(self.space)

    def of(self, text: str) -> bytes | None:
        """The text's vector, if it has one."""
        found = self.found.get(text)
        return found if isinstance(found, bytes) else None

    def embed(self, wanted: Mapping[InferredAdd, Sequence[str]]) -> None:
        """Embeds texts without a vector, in one request; its cost is shared among the adds by length of text."""
        missing = {add: [text for text in texts if text not in self.found] for add, texts in wanted.items()}
        texts = list(dict.fromkeys(text for some in missing.values() for text in some))
        if not texts:
            return
        meter = Meter()
        self.texts.embed(self.space, texts, meter)
        whole = sum(len(text) for some in missing.values() for text in some)
        requests = meter.requests
        for add, some in missing.items():
            if some:
                tokens = round(meter.tokens * sum(map(len, some)) / whole)
                _count(
                    add.spent, {usage_counters.EMBEDDING_REQUESTS: requests, usage_counters.EMBEDDING_TOKENS: tokens}
                )
                requests = 0  # the request counts once

    def failure(self, texts: Sequence[str]) -> EmendoError | None:
        """The error that keeps these texts from being worked on now.

        A text that the provider refuses is none: that fact is near no memory, and fails alone when it is stored.
        """
        errors = [error for error in map(self.found.get, texts) if isinstance(error, EmendoError)]
        return next((error for error in errors if is_transient(error) or not isinstance(error, EmbeddingError)), None)


def _count(spent: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        if count:
            spent[name] = spent.get(name, 0) + count
