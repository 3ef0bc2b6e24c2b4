"""The curves as PNG. matplotlib is part of the `[dev]` extra and needed for nothing else."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from emendo_client.errors import ConfigurationError

_AXES = {"store_size": ("memories stored", "log"), "concurrency": ("threads of the worker", "log")}
_PANELS = (
    ("updates/s, one worker process", (("updates_per_second", "single updates"),)),
    (
        "milliseconds, p50",
        (("visible_p50_ms", "call → visible, provider subtracted"), ("search_p50_ms", "scoped search")),
    ),
)


def require_matplotlib() -> None:
    """Before anything is measured.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    if find_spec("matplotlib") is None:
        raise ConfigurationError("plots need matplotlib", suggestion="make install, or leave --plots out")


def draw(curves: dict[str, list[dict[str, Any]]], directory: Path) -> list[Path]:
    """One PNG for each curve: throughput left, latency right, bars from the least to the greatest round."""
    from matplotlib.figure import Figure

    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, points in curves.items():
        label, scale = _AXES[name]
        figure = Figure(figsize=(10, 4), dpi=120, layout="constrained")
        for axes, (title, series) in zip(figure.subplots(1, 2), _PANELS, strict=True):
            for metric, what in series:
                axes.errorbar(*_series(points, metric), marker="o", capsize=3, label=what)
            axes.set(xlabel=label, title=title, xscale=scale)
            axes.set_xticks([point["x"] for point in points], [_short(point["x"]) for point in points], minor=False)
            axes.minorticks_off()
            axes.set_ylim(bottom=0)
            axes.grid(visible=True, alpha=0.3)
            axes.legend()
        path = directory / f"{name}.png"
        figure.savefig(path, metadata={"Software": None})
        written.append(path)
    return written


def _short(count: int) -> str:
    """`200k`: beside each other on a logarithmic axis, longer ones would touch."""
    return f"{count // 1_000}k" if count >= 1_000 and count % 1_000 == 0 else str(count)


def _series(points: list[dict[str, Any]], metric: str) -> tuple[list[float], list[float], list[list[float]]]:
    """x, medians, and the distances down to the least and up to the greatest sample."""
    spreads = [point[metric] for point in points]
    medians = [spread["median"] for spread in spreads]
    down = [spread["median"] - spread["low"] for spread in spreads]
    up = [spread["high"] - spread["median"] for spread in spreads]
    return [point["x"] for point in points], medians, [down, up]
