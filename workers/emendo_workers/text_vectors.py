"""The vectors of one batch's texts, in each of the spaces it writes."""

from __future__ import annotations

from collections.abc import Sequence

from emendo_client.embeddings.vectors import converted
from emendo_client.errors import ConfigurationError, EmendoError
from emendo_config.registry import SpaceRecord
from emendo_workers.metering import Meter
from emendo_workers.services import Services

Answer = bytes | EmendoError


class TextVectors:
    """What was embedded, or could not be, since the batch began; each text is asked for once."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._found: dict[str, dict[str, Answer]] = {}

    def known(self, space: SpaceRecord) -> dict[str, Answer]:
        """What was embedded for the space so far, by text, as `embed` gives it."""
        return self._found.setdefault(space.embedded_as, {})

    def find(self, space: SpaceRecord, texts: Sequence[str]) -> dict[str, Answer]:
        """The texts' vectors in the space's form, or the errors that kept them from having one; one request for all."""
        found = self.embed(space, texts)
        return {text: _in_form(answer, space.datatype) for text, answer in found.items()}

    def embed(self, space: SpaceRecord, texts: Sequence[str], meter: Meter | None = None) -> dict[str, Answer]:
        """The same as float32[dimensions] bytes, whatever the space's form.

        Args:
            space: whose vectors.
            texts: of which those that are not known yet are embedded.
            meter: is told what that cost.
        """
        known = self.known(space)
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            try:
                known.update(self._services.pipeline_of(space).embed(missing, meter))
            except ConfigurationError as error:  # this worker lacks the provider
                known.update(dict.fromkeys(missing, error))
        return {text: known[text] for text in texts}


def _in_form(answer: Answer, datatype: str) -> Answer:
    if isinstance(answer, EmendoError):
        return answer
    try:
        return converted(answer, "float32", datatype)
    except EmendoError as error:
        return error
