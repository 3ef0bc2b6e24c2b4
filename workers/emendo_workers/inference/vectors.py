"""The vectors of what one attempt is about: each text is embedded once, and each task knows what it cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from emendo_client.errors import EmbeddingError, EmendoError
from emendo_config import usage
from emendo_workers.inference.tasks import Task
from emendo_workers.metering import Meter
from emendo_workers.retry import is_transient
from emendo_workers.services import Services
from emendo_workers.spaces import searched_space
from emendo_workers.text_vectors import Answer, TextVectors


class Vectors:
    """Texts and their vectors in the space that is searched.

    Attributes:
        texts: all there are, for who commits them.
        space: the active one when the attempt began.
    """

    def __init__(self, services: Services) -> None:
        self.texts = TextVectors(services)
        self.space = searched_space(services)

    @property
    def found(self) -> Mapping[str, Answer]:
        """float32[dimensions] bytes by text, or the error that kept it from having one."""
        return self.texts.known(self.space)

    def of(self, text: str) -> bytes | None:
        """The text's vector, if it has one."""
        found = self.found.get(text)
        return found if isinstance(found, bytes) else None

    def embed(self, wanted: Mapping[Task, Sequence[str]]) -> None:
        """Embeds what is not known yet, in one request; of its cost each task has its share, by length."""
        missing = {task: [text for text in texts if text not in self.found] for task, texts in wanted.items()}
        texts = list(dict.fromkeys(text for some in missing.values() for text in some))
        if not texts:
            return
        meter = Meter()
        self.texts.embed(self.space, texts, meter)
        whole = sum(len(text) for some in missing.values() for text in some)
        requests = meter.requests
        for task, some in missing.items():
            if some:
                tokens = round(meter.tokens * sum(map(len, some)) / whole)
                _add(task.spent, {usage.EMBEDDING_REQUESTS: requests, usage.EMBEDDING_TOKENS: tokens})
                requests = 0  # it counts once

    def failure(self, texts: Sequence[str]) -> EmendoError | None:
        """Why the texts cannot be worked on now.

        Not that the provider refuses one of them: that fact is near nothing, and fails alone when it is to be stored.
        """
        errors = [error for error in map(self.found.get, texts) if isinstance(error, EmendoError)]
        return next((error for error in errors if is_transient(error) or not isinstance(error, EmbeddingError)), None)


def _add(spent: dict[str, int], more: Mapping[str, int]) -> None:
    for name, count in more.items():
        if count:
            spent[name] = spent.get(name, 0) + count
