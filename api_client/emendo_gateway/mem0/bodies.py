"""The bodies that mem0's clients send. Each model says which fields are understood but have no effect here."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from emendo_client.errors import ValidationError

# Fields of older clients, which they send everywhere.
_OLDER = ("org_id", "project_id", "output_format", "version", "api_version", "source")
MOST_ITEMS = 1_000
MOST_RESULTS = 1_000


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


class Add(Body):
    """`add`."""

    without_effect = (
        *("custom_categories", "custom_instructions", "agent_custom_instructions", "timestamp"),
        *("structured_data_schema", "immutable", "includes", "excludes", "enable_graph", "async_mode"),
    )
    messages: Any
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

    without_effect = ("show_expired", "latest_only", "enable_graph")
    start_date: str | None = None
    end_date: str | None = None
    fields: list[str] | None = None


class Search(_Wanted):
    """`search`."""

    without_effect = ("show_expired", "latest_only", "rerank", "reference_date", "enable_graph", "filter_memories")
    query: str
    top_k: int | None = Field(None, ge=1, le=MOST_RESULTS)
    threshold: float | None = None
    fields: list[str] | None = None
    metadata: dict[str, Any] | None = None
    keyword_search: bool | None = None


class Update(Body):
    """`update`."""

    without_effect = ("timestamp",)
    text: str | None = None
    metadata: dict[str, Any] | None = None
    expiration_date: str | None = None


class BatchUpdate(Body):
    """`batch_update`: items {memory_id, text, metadata}."""

    memories: list[dict[str, Any]]


class BatchDelete(Body):
    """`batch_delete`: items {memory_id}."""

    memories: list[dict[str, Any]]


class Feedback(Body):
    """`feedback`."""

    memory_id: str
    feedback: str | None = None
    feedback_reason: str | None = None
