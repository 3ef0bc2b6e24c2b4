"""The vectors of one batch's texts, in each space that is written."""

from __future__ import annotations

from collections.abc import Sequence

from emendo_client.errors import ConfigurationError, EmendoError
from emendo_client.providers.embeddings.vectors import converted
from emendo_config.error_codes import ErrorCode
from emendo_config.spaces.registry import SpaceRecord, SpaceState
from emendo_workers.jobs.retry import is_lasting
from emendo_workers.providers.meter import Meter
from emendo_workers.services import Services

Answer = bytes | EmendoError


class TextVectors:
    """The texts embedded since the batch began, and the errors of the others; each text is embedded once."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._found: dict[str, dict[str, Answer]] = {}

    def known(self, space: SpaceRecord) -> dict[str, Answer]:
        """The answers for the space so far, by text, as `embed` gives them."""
        return self._found.setdefault(space.embedded_as, {})

    def find(self, space: SpaceRecord, texts: Sequence[str]) -> dict[str, Answer]:
        """The texts' vectors in the space's datatype, or the errors of those that have none; one request for all."""
        found = self.embed(space, texts)
        return {text: _converted(answer, space.datatype) for text, answer in found.items()}

    def embed(self, space: SpaceRecord, texts: Sequence[str], meter: Meter | None = None) -> dict[str, Answer]:
        """The same as float32[dimensions] bytes, whatever the space's datatype.

        Args:
            space: the embedding space.
            texts: those without an answer yet are embedded.
            meter: counts the requests and tokens.
        """
        known = self.known(space)
        missing = [text for text in dict.fromkeys(texts) if text not in known]
        if missing:
            try:
                known.update(self._services.pipeline_of(space).embed(missing, meter))
            except ConfigurationError as error:
                known.update(dict.fromkeys(missing, _missing_provider(error)))
            answers = (answer for text in missing if isinstance(answer := known[text], EmendoError))
            fault = next(filter(is_lasting, answers), None)
            if fault is not None and space.state is SpaceState.LIVE:
                self._services.report_embedding_fault(space, fault)
        return {text: known[text] for text in texts}


def _missing_provider(error: ConfigurationError) -> ConfigurationError:
    return ConfigurationError(error.message, error_code=ErrorCode.PROVIDER_MISSING, suggestion=error.suggestion)


def _converted(answer: Answer, datatype: str) -> Answer:
    if isinstance(answer, EmendoError):
        return answer
    try:
        return converted(answer, "float32", datatype)
    except EmendoError as error:
        return error
