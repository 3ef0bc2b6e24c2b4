"""The embedding space that a caller asks for, checked before Redis or the provider is asked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from emendo_client.errors import ValidationError
from emendo_client.requests import validation
from emendo_config import Settings
from emendo_config.embedding_space import EmbeddingSpace, InputForm
from emendo_config.settings import LOCAL_DIMENSIONS, LOCAL_MODEL, OPENAI_MODEL
from emendo_config.spaces.registry import SpaceRecord, SpaceState, next_generation

PROVIDERS = ("openai", "local")
ALGORITHMS = ("flat", "hnsw", "svs-vamana")
METRICS = ("cosine", "ip", "l2")
DATATYPES = ("float32", "float16")
MAX_DIMENSIONS = 16_384
# The fewest and the most dimensions of OpenAI's models; the most is their default.
_KNOWN = {
    "text-embedding-3-small": (1, 1_536),
    "text-embedding-3-large": (1, 3_072),
    "text-embedding-ada-002": (1_536, 1_536),
}
_CHOICES = {"provider": PROVIDERS, "algorithm": ALGORITHMS, "metric": METRICS, "datatype": DATATYPES}


def checked_space(**given: Any) -> dict[str, Any]:
    """The given ones of provider, model, dimensions, algorithm, metric and datatype, each checked by itself.

    Raises:
        ValidationError: one of them does not exist.
    """
    checked: dict[str, Any] = {}
    for name, value in given.items():
        if value is None:
            continue
        if name == "dimensions":
            checked[name] = validation.positive(value, name, MAX_DIMENSIONS)
        elif name == "model":
            checked[name] = validation.scope_id(value, name)
        else:
            checked[name] = validation.one_of(value, name, _CHOICES[name])
    _check_known(checked.get("model"), checked.get("dimensions"))
    return checked


def target_space(
    wanted: Mapping[str, Any], active: SpaceRecord, records: Iterable[SpaceRecord], settings: Settings
) -> SpaceRecord:
    """The space to make, as it will be registered.

    Args:
        wanted: the result of `checked_space`; empty means the space that the settings name.
        active: the active space; a property that is not given stays as it is there.
        records: the registry.
        settings: name the space if nothing is given.

    Raises:
        ValidationError: the model does not have those dimensions, or the space is active already.
    """
    provider, model, dimensions = _text_space(wanted, active.space, settings)
    index = {name: wanted.get(name, getattr(active, name)) for name in ("algorithm", "metric", "datatype")}
    passage, query = _forms(wanted, (provider, model), active.space, settings)
    space = EmbeddingSpace(provider, model, dimensions, next_generation(records), passage, query)
    if space.is_like(active.space) and all(getattr(active, name) == value for name, value in index.items()):
        raise ValidationError(
            f"that space is active already: {active.name}",
            suggestion="name another model, dimension or index setting, or repair memories by filters",
        )
    # float32 vectors cannot be made from float16 ones: the lost digits do not come back.
    keeps_vectors = space.embeds_like(active.space) and not (
        active.datatype == "float16" and index["datatype"] == "float32"
    )
    copy_of = active.embedded_as if keeps_vectors else ""
    return SpaceRecord(space, **index, state=SpaceState.FILLING, copy_of=copy_of)


def _forms(
    wanted: Mapping[str, Any], model: tuple[str, str], active: EmbeddingSpace, settings: Settings
) -> tuple[InputForm, InputForm]:
    """How memories and queries are sent: as asked for, as until now for the same model, or as the settings say."""
    if "passage" in wanted:
        return InputForm(**wanted["passage"]), InputForm(**wanted["query"])
    own = settings.space
    if wanted and model == (active.provider, active.model):
        return active.passage, active.query
    return (own.passage, own.query) if model == (own.provider, own.model) else (InputForm(), InputForm())


def _text_space(wanted: Mapping[str, Any], active: EmbeddingSpace, settings: Settings) -> tuple[str, str, int]:
    if not wanted:
        space = settings.space
        return space.provider, space.model, space.dimensions
    provider = wanted.get("provider", active.provider)
    if provider == "local":
        model = wanted.get("model", LOCAL_MODEL)
        dimensions = wanted.get("dimensions", LOCAL_DIMENSIONS)
        if (model, dimensions) != (LOCAL_MODEL, LOCAL_DIMENSIONS):
            raise ValidationError(
                f"the local embedder is {LOCAL_MODEL} with {LOCAL_DIMENSIONS} dimensions",
                suggestion="leave model and dimensions out, or give another provider",
            )
        return provider, model, dimensions
    model = wanted.get("model", active.model if provider == active.provider else OPENAI_MODEL)
    if "dimensions" in wanted:
        dimensions = wanted["dimensions"]
    elif (provider, model) == (active.provider, active.model):
        dimensions = active.dimensions
    elif model in _KNOWN:
        dimensions = _KNOWN[model][1]
    else:
        raise ValidationError("dimensions is missing", suggestion="give the number of dimensions that the model has")
    _check_known(model, dimensions)
    return provider, model, dimensions


def _check_known(model: str | None, dimensions: int | None) -> None:
    if model not in _KNOWN or dimensions is None:
        return
    fewest, most = _KNOWN[model]
    if not fewest <= dimensions <= most:
        allowed = f"{fewest} to {most}" if fewest < most else f"{most}"
        raise ValidationError(f"{model} gives {allowed} dimensions, not {dimensions}")
