"""How a server of the OpenAI protocol differs from OpenAI in its embeddings: what it refuses, and how it answers."""

from __future__ import annotations

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal, get_args

from pydantic import ConfigDict

from emendo_client.testing.openai_server.answers import Answer, error
from emendo_client.testing.openai_server.texts import inputs_of

Encoding = Literal["asked", "float", "base64", "float_only", "nested"]
Index = Literal["always", "not_zero", "never", "reversed", "reversed_not_zero"]
_REFUSALS = (400, 413, 422, 500)


@dataclass(frozen=True, slots=True)
class EmbeddingForm:
    """The habits of one server. The defaults are OpenAI's.

    Attributes:
        refuses: fields of a request that it refuses.
        knows: the only fields that it does not refuse; None: it ignores what it does not know.
        status: of these refusals: 400, 413, 422 or 500.
        names_field: the refusal names the field, in `param` and in its message.
        dimensions: of its vectors, whatever is asked for; None: as asked for.
        encoding: of its vectors, whatever is asked for. `float_only` answers base64 without a vector. `nested` sends
            each list within another one.
        index: which items say theirs; `reversed` and `reversed_not_zero` send them last first.
        max_inputs: most texts of a request; None: as the server's limits say.
        too_many: the status for more texts than that.
        query: parameters of the URL that each request needs.
        headers: that each request needs, in lower case.
        needs: fields that each request needs.

    Raises:
        ValueError: an unknown status, encoding or index.
    """

    __pydantic_config__: ClassVar = ConfigDict(extra="forbid")

    refuses: AbstractSet[str] = frozenset()
    knows: AbstractSet[str] | None = None
    status: int = 400
    names_field: bool = True
    dimensions: int | None = None
    encoding: Encoding = "asked"
    index: Index = "always"
    max_inputs: int | None = None
    too_many: int = 400
    query: AbstractSet[str] = frozenset()
    headers: AbstractSet[str] = frozenset()
    needs: AbstractSet[str] = frozenset()

    def __post_init__(self) -> None:
        for name, given, known in (
            ("status", self.status, _REFUSALS),
            ("too_many", self.too_many, _REFUSALS),
            ("encoding", self.encoding, get_args(Encoding)),
            ("index", self.index, get_args(Index)),
        ):
            if given not in known:
                raise ValueError(f"unknown {name} {given!r}; use one of {', '.join(map(str, known))}")

    def document(self) -> dict[str, Any]:
        """The form as JSON values."""
        return {
            name: sorted(value) if isinstance(value, AbstractSet) else value for name, value in asdict(self).items()
        }

    def misaddressed(self, query: AbstractSet[str], headers: AbstractSet[str]) -> Answer | None:
        """The answer to a request without a parameter or a header that the server needs, as Azure gives it."""
        if self.headers - headers:
            return error(401, "Access denied due to missing subscription key.", "401")
        return error(404, "Resource not found", "404") if self.query - query else None

    def refusal(self, request: Mapping[str, Any]) -> Answer | None:
        """The answer to a request whose form the server refuses; None if it takes it."""
        unknown = set() if self.knows is None else request.keys() - self.knows
        refused = sorted((self.refuses & request.keys()) | unknown)
        if refused:
            name = refused[0] if self.names_field else None
            return error(self.status, f"unsupported field: {name}" if name else "the request is invalid", param=name)
        missing = sorted(self.needs - request.keys())
        if missing:
            return error(400, f"missing field: {missing[0]}", param=missing[0])
        count = len(inputs_of("embeddings", dict(request)))
        if self.max_inputs is not None and count > self.max_inputs:
            return error(self.too_many, f"batch size {count} > maximum allowed batch size {self.max_inputs}")
        return None

    def items(self, vectors: list[Any]) -> list[dict[str, Any]]:
        """The members of `data`, in the order and with the indexes of this server."""
        items: list[dict[str, Any]] = []
        for index, vector in enumerate(vectors):
            item: dict[str, Any] = {"object": "embedding", "embedding": vector}
            if self.index in ("always", "reversed") or (self.index.endswith("not_zero") and index):
                item["index"] = index
            items.append(item)
        return items[::-1] if self.index.startswith("reversed") else items
