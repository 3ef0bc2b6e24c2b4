"""The test server's answers to POST /embeddings, and the damage that faults do to their vectors."""

from __future__ import annotations

import array
import base64
from typing import Any

from emendo_client.testing.openai_server.answers import Answer, json_answer
from emendo_client.testing.openai_server.embedding_form import EmbeddingForm
from emendo_client.testing.openai_server.faults import Fault
from emendo_client.testing.openai_server.texts import inputs_of, tokens_of
from emendo_client.testing.openai_server.vectors import embed

# Faults by the first element that they give a vector.
_ELEMENTS = {"nan": float("nan"), "infinite": float("inf")}
# Faults by what they send in place of a vector.
_SENT: dict[str, Any] = {"null": None, "empty": []}


def embeddings(request: dict[str, Any], fault: Fault | None, default_dimensions: int, form: EmbeddingForm) -> Answer:
    """The answer to a request within the limits; a fault may damage its vectors."""
    inputs = inputs_of("embeddings", request)
    model: str = request["model"]
    dimensions: int = form.dimensions or request.get("dimensions") or default_dimensions
    asked = request.get("encoding_format")
    as_base64 = (asked if form.encoding == "asked" else form.encoding) == "base64"
    damage = fault.kind if fault is not None else ""
    if damage == "wrong_dimension":
        dimensions += 1
    vectors = [embed(text, model=model, dimensions=dimensions) for text in inputs]
    for place in _struck(inputs, fault) if fault is not None else ():
        if damage == "zero":
            vectors[place] = bytes(4 * dimensions)
        elif damage in _ELEMENTS:
            vectors[place] = array.array("f", [_ELEMENTS[damage]]).tobytes() + vectors[place][4:]
    encoded = [_encoded(vector, as_base64=as_base64) for vector in vectors]
    for place in _struck(inputs, fault) if fault is not None and damage in _SENT else ():
        encoded[place] = _SENT[damage]
    if form.encoding == "nested":
        encoded = [[vector] for vector in encoded]
    items = [] if form.encoding == "float_only" and asked == "base64" else form.items(encoded)
    if damage == "missing_item":
        items = items[:-1]
    if damage == "repeated_index":
        items[-1]["index"] = len(items) - 2 if len(items) > 1 else 1
    tokens = sum(map(tokens_of, inputs))
    document = {
        "object": "list",
        "model": model,
        "data": items,
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }
    return json_answer(200, document)


def _struck(inputs: list[str], fault: Fault) -> list[int]:
    """The places of the texts whose vectors a fault damages: those that match it, or the first one."""
    return [place for place, text in enumerate(inputs) if fault.match in text][: None if fault.match else 1]


def _encoded(vector: bytes, *, as_base64: bool) -> Any:
    return base64.b64encode(vector).decode() if as_base64 else array.array("f", vector).tolist()
