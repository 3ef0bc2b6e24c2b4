"""The bodies that mem0's clients send. Each model says which fields are understood but have no effect here."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, WithJsonSchema, model_validator
from pydantic_core import CoreSchema

from emendo_client.errors import ValidationError

# Fields of older clients, which they send everywhere.
_OLDER = ("org_id", "project_id", "output_format", "version", "api_version", "source")
MOST_ITEMS = 1_000
MOST_RESULTS = 1_000
_ID = "8e03978e-40d5-43dd-bc93-6894a57f9324"  # in examples
_NULL = {"type": "null"}
_MESSAGES = {
    "description": "A text, a message `{role, content}`, or a list of them.",
    "anyOf": [{"type": "string"}, {"type": "object"}, {"type": "array", "items": {"type": "object"}}],
}


def _items(**fields: Any) -> WithJsonSchema:
    """How the items of a batch are documented."""
    item = {
        "type": "object",
        "properties": {"memory_id": {"type": "string"}, **fields},
        "required": ["memory_id"],
        "additionalProperties": False,
    }
    return WithJsonSchema({"type": "array", "items": item, "minItems": 1, "maxItems": MOST_ITEMS})


def _example(**fields: Any) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [fields]})


class Body(BaseModel):
    """A body.

    Attributes:
        without_effect: names that are accepted, and answered in `X-Ignored-Params`.
        ignored: those of them that this body has.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    without_effect: ClassVar[tuple[str, ...]] = ()
    ignored: list[str]

    @model_validator(mode="before")
    @classmethod
    def _sort_out(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        known = {name for name in cls.model_fields if name != "ignored"}
        silent = {*cls.without_effect, *_OLDER}
        unknown = [name for name in given if name not in known and name not in silent]
        if unknown:
            raise ValidationError(
                f"there is no parameter {str(unknown[0])[:100]!r}",
                suggestion=f"this call knows: {', '.join(sorted({*known, *cls.without_effect}))}",
            )
        ignored = [name for name in given if name in silent and given[name] is not None]
        return {**{name: value for name, value in given.items() if name in known}, "ignored": ignored}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The schema with what a caller may send, in place of `ignored`."""
        found = handler(core)
        schema = handler.resolve_ref_schema(found)
        del schema["properties"]["ignored"]
        schema["required"] = [name for name in schema["required"] if name != "ignored"]
        for name in sorted({*cls.without_effect, *_OLDER}):
            schema["properties"][name] = {"description": "Accepted, without effect."}
        return found


class Add(Body):
    """`add`."""

    model_config = _example(messages="I dislike seafood.", user_id="ana", infer=False)
    without_effect = (
        *("custom_categories", "custom_instructions", "agent_custom_instructions", "timestamp"),
        *("structured_data_schema", "immutable", "includes", "excludes", "enable_graph", "async_mode"),
    )
    messages: Annotated[Any, WithJsonSchema(_MESSAGES)]
    user_id: str | None = None
    agent_id: str | None = None
    app_id: str | None = None
    run_id: str | None = None
    metadata: dict[str, Any] | None = None
    filters: dict[str, Any] | None = None
    infer: bool | None = None
    expiration_date: str | None = None


class _Wanted(Body):
    filters: dict[str, Any] | None = None
    categories: list[str] | None = None


class GetAll(_Wanted):
    """`get_all`; the page is in the query."""

    model_config = _example(filters={"user_id": "ana"})
    without_effect = ("show_expired", "latest_only", "enable_graph")
    start_date: str | None = None
    end_date: str | None = None
    fields: list[str] | None = None


class Search(_Wanted):
    """`search`."""

    model_config = _example(query="fish", filters={"user_id": "ana"}, top_k=5)
    without_effect = ("show_expired", "latest_only", "rerank", "reference_date", "enable_graph", "filter_memories")
    query: str
    top_k: int | None = Field(None, ge=1, le=MOST_RESULTS)
    threshold: float | None = None
    fields: list[str] | None = None
    metadata: dict[str, Any] | None = None
    keyword_search: bool | None = None


class Update(Body):
    """`update`."""

    model_config = _example(text="I enjoy seafood.")
    without_effect = ("timestamp",)
    text: str | None = None
    metadata: dict[str, Any] | None = None
    expiration_date: str | None = None


class BatchUpdate(Body):
    """`batch_update`."""

    model_config = _example(memories=[{"memory_id": _ID, "text": "I enjoy seafood."}])

    memories: Annotated[
        list[dict[str, Any]],
        _items(text={"anyOf": [{"type": "string"}, _NULL]}, metadata={"anyOf": [{"type": "object"}, _NULL]}),
    ]


class BatchDelete(Body):
    """`batch_delete`."""

    model_config = _example(memories=[{"memory_id": _ID}])

    memories: Annotated[list[dict[str, Any]], _items()]


class Feedback(Body):
    """`feedback`."""

    model_config = _example(memory_id=_ID, feedback="POSITIVE")

    memory_id: str
    feedback: str | None = None
    feedback_reason: str | None = None
