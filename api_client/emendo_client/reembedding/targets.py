"""Which embedding space a caller means; checked before anything is asked of Redis or the provider. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from emendo_client import validation
from emendo_client.errors import ValidationError
from emendo_config import Settings
from emendo_config.registry import SpaceRecord, SpaceState, next_generation
from emendo_config.settings import LOCAL_DIMENSIONS, LOCAL_MODEL, OPENAI_MODEL
from emendo_config.spaces import EmbeddingSpace

PROVIDERS = ("openai", "local")
ALGORITHMS = ("flat", "hnsw", "svs-vamana")
METRICS = ("cosine", "ip", "l2")
DATATYPES = ("float32", "float16")
MAX_DIMENSIONS = 16_384
# The fewest and the most dimensions OpenAI's models give; the most is what they give when nobody asks.
_KNOWN = {
    "text-embedding-3-small": (1, 1_536),
    "text-embedding-3-large": (1, 3_072),
    "text-embedding-ada-002": (1_536, 1_536),
}
_CHOICES = {"provider": PROVIDERS, "algorithm": ALGORITHMS, "metric": METRICS, "datatype": DATATYPES}


def checked_space(**given: Any) -> dict[str, Any]:
    """What was given of provider, model, dimensions, algorithm, metric and datatype, each checked by itself.

    Raises:
        ValidationError: one of them is none that exists.
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
        wanted: what `checked_space` gave; nothing means the space the settings name.
        active: the space that is searched now; what is not given stays as it is there.
        records: the registry.
        settings: see above.

    Raises:
        ValidationError: the model cannot give those dimensions, or the store is in that space already.
    """
    provider, model, dimensions = _text_space(wanted, active.space, settings)
    index = {name: wanted.get(name, getattr(active, name)) for name in ("algorithm", "metric", "datatype")}
    space = EmbeddingSpace(provider, model, dimensions, next_generation(records))
    is_same = (provider, model, dimensions) == (active.space.provider, active.space.model, active.space.dimensions)
    if is_same and all(getattr(active, name) == value for name, value in index.items()):
        raise ValidationError(
            f"the store is in that space already: {active.name}",
            suggestion="name another model, dimension or index setting, or mend memories by filters",
        )
    # What float16 has lost does not come back.
    keeps_vectors = is_same and not (active.datatype == "float16" and index["datatype"] == "float32")
    copy_of = active.embedded_as if keeps_vectors else ""
    return SpaceRecord(space, **index, state=SpaceState.FILLING, copy_of=copy_of)


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
        raise ValidationError("dimensions is missing", suggestion="say how many the model gives")
    _check_known(model, dimensions)
    return provider, model, dimensions


def _check_known(model: str | None, dimensions: int | None) -> None:
    if model not in _KNOWN or dimensions is None:
        return
    fewest, most = _KNOWN[model]
    if not fewest <= dimensions <= most:
        allowed = f"{fewest} to {most}" if fewest < most else f"{most}"
        raise ValidationError(f"{model} gives {allowed} dimensions, not {dimensions}")
