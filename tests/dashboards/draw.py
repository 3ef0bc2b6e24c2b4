"""A dashboard as a picture: each panel where Grafana would have it, with what Prometheus answers to its queries.

It is no Grafana. It draws the kinds of panels that ops/grafana/panels.py has, with their units, colours and texts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.dates import DateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from tests.support.dashboard_files import filled
from tests.support.prometheus import Prometheus

_COLUMN, _ROW = 0.62, 0.36  # inches of the grid's cells
_COLOURS = {"green": "#3a9a5b", "red": "#d0463b", "yellow": "#e0a21b", "blue": "#3f72af"}
_PALETTE = (
    "#3f72af",
    "#e08a3c",
    "#3a9a5b",
    "#c44e52",
    "#8d6cab",
    "#8c6d5a",
    "#d98cb3",
    "#7f7f7f",
    "#b5b04a",
    "#4fb3bf",
)
_BACKGROUND, _FRAME, _TEXT = "#f4f5f7", "#d5d8dd", "#24292f"
_INTERVAL = "10s"
_LEGEND_ROWS = 3


@dataclass(frozen=True)
class Span:
    """The time that is drawn, in seconds since 1970."""

    start: float
    end: float

    @property
    def step(self) -> float:
        """Seconds between two points."""
        return max(1.0, (self.end - self.start) / 240)


def draw(dashboard: Mapping[str, Any], prometheus: Prometheus, span: Span, path: Path) -> None:
    """Writes one PNG."""
    panels = dashboard["panels"]
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) + 1.6
    figure = Figure(figsize=(24 * _COLUMN, rows * _ROW), dpi=100, facecolor=_BACKGROUND)
    figure.text(0.006, 1 - 0.62 / rows, dashboard["title"], fontsize=15, fontweight="bold", color=_TEXT, va="center")
    figure.text(0.006, 1 - 1.3 / rows, dashboard["description"], fontsize=9, color="#57606a", va="center")
    for panel in panels:
        place = panel["gridPos"]
        left, width = place["x"] / 24, place["w"] / 24
        top = 1 - (place["y"] + 1.6) / rows
        height = place["h"] / rows
        if panel["type"] == "row":
            figure.text(
                left + 0.006,
                top - height / 2,
                panel["title"],
                fontsize=11,
                fontweight="bold",
                color="#57606a",
                va="center",
            )
            continue
        box = (left + 0.003, top - height + 0.08 / rows, width - 0.006, height - 0.16 / rows)
        _panel(figure, box, panel, prometheus, span)
    figure.savefig(path, metadata={"Software": None}, facecolor=_BACKGROUND)


def _panel(
    figure: Figure, box: tuple[float, float, float, float], panel: Mapping[str, Any], prometheus: Prometheus, span: Span
) -> None:
    frame = figure.add_axes(box)
    frame.set(xticks=[], yticks=[], facecolor="white")
    for side in frame.spines.values():
        side.set_color(_FRAME)
    inches = box[3] * figure.get_figheight()
    frame.text(
        0.01 * 6 / (box[2] * 24),
        1 - 0.15 / inches,
        panel["title"],
        transform=frame.transAxes,
        fontsize=8.5,
        fontweight="bold",
        color=_TEXT,
        va="center",
    )
    if panel["type"] == "stat":
        _stat(frame, inches, panel, prometheus, span)
    elif panel["type"] == "table":
        _table(frame, panel, prometheus, span)
    else:
        x, y, width, height = box
        across = 1 / figure.get_figwidth()
        down = 1 / figure.get_figheight()
        legend = 0.17 * _LEGEND_ROWS * down if panel["type"] == "timeseries" else 0.05 * down
        axes = figure.add_axes(
            (x + 0.62 * across, y + 0.28 * down + legend, width - 0.75 * across, height - 0.62 * down - legend)
        )
        (_lines if panel["type"] == "timeseries" else _heatmap)(axes, panel, prometheus, span)


def _stat(frame: Axes, inches: float, panel: Mapping[str, Any], prometheus: Prometheus, span: Span) -> None:
    (target,) = panel["targets"]
    defaults = panel["fieldConfig"]["defaults"]
    found = prometheus.at(filled(target["expr"], _INTERVAL), span.end)
    value = float(found[0]["value"][1]) if found else math.nan
    colour, text = "#6e7781", defaults["noValue"]
    if not math.isnan(value):
        steps = defaults["thresholds"]["steps"]
        colour = _COLOURS[
            next(step["color"] for step in reversed(steps) if step["value"] is None or value >= step["value"])
        ]
        mapped = {
            float(key): each["text"] for map_ in defaults.get("mappings", []) for key, each in map_["options"].items()
        }
        text = mapped.get(value) or _number(value, defaults["unit"], defaults.get("decimals"))
    frame.axhspan(0, 1 - 0.3 / inches, color=colour, zorder=0)
    frame.set_ylim(0, 1)
    if panel["options"]["graphMode"] == "area" and found:
        _trend(frame, inches, prometheus.over(filled(target["expr"], _INTERVAL), span.start, span.end, span.step))
    frame.text(
        0.5,
        (1 - 0.3 / inches) / 2,
        text,
        transform=frame.transAxes,
        fontsize=17,
        fontweight="bold",
        color="white",
        ha="center",
        va="center",
    )


def _trend(frame: Axes, inches: float, series: Sequence[Mapping[str, Any]]) -> None:
    points = [float(value) for _, value in series[0]["values"] if value != "NaN"]
    top = max(points, default=0.0) or 1.0
    heights = [0.55 * (1 - 0.3 / inches) * point / top for point in points]
    frame.set_xlim(0, max(1, len(points) - 1))
    frame.fill_between(range(len(points)), heights, color="white", alpha=0.25, linewidth=0)


def _table(frame: Axes, panel: Mapping[str, Any], prometheus: Prometheus, span: Span) -> None:
    (target,) = panel["targets"]
    names = panel["transformations"][0]["options"]["renameByName"]
    rows = [each["metric"] for each in prometheus.at(filled(target["expr"], _INTERVAL), span.end)]
    lines = [names.values(), *([row.get(label, "") for label in names] for row in rows)]
    if not rows:
        frame.text(0.5, 0.45, panel["fieldConfig"]["defaults"]["noValue"], transform=frame.transAxes, ha="center")
        return
    for place, cells in enumerate(lines):
        for column, cell in enumerate(cells):
            frame.text(
                0.03 + 0.6 * column,
                0.76 - 0.13 * place,
                cell,
                transform=frame.transAxes,
                fontsize=9,
                color=_TEXT,
                fontweight="bold" if not place else "normal",
            )


def _lines(axes: Axes, panel: Mapping[str, Any], prometheus: Prometheus, span: Span) -> None:
    defaults = panel["fieldConfig"]["defaults"]
    custom, unit = defaults["custom"], defaults["unit"]
    series = [
        (_legend(target["legendFormat"], each["metric"]), _points(each["values"], span))
        for target in panel["targets"]
        for each in prometheus.over(filled(target["expr"], _INTERVAL), span.start, span.end, span.step)
    ]
    series = [(name, points) for name, points in series if not all(map(math.isnan, points.values()))]
    _frame_axes(axes, span, unit)
    if not series:
        axes.text(0.5, 0.5, defaults["noValue"], transform=axes.transAxes, ha="center", va="center", color="#6e7781")
        return
    if custom["stacking"]["mode"] == "normal":
        moments = list(series[0][1])
        axes.stackplot(
            [_date(moment) for moment in moments],
            [[_or_zero(value) for value in points.values()] for _, points in series],
            labels=[name for name, _ in series],
            colors=[_PALETTE[place % len(_PALETTE)] for place in range(len(series))],
            alpha=0.75,
            linewidth=0,
        )
    else:
        for place, (name, points) in enumerate(series):
            colour = _PALETTE[place % len(_PALETTE)]
            axes.plot(
                [_date(moment) for moment in points], list(points.values()), label=name, color=colour, linewidth=1.3
            )
    top = axes.get_ylim()[1]
    if "thresholdsStyle" in custom:
        target = defaults["thresholds"]["steps"][-1]["value"]
        if target < 4 * top:
            axes.axhline(target, color=_COLOURS["red"], linestyle="--", linewidth=1)
            top = max(top, 1.1 * target)
    axes.set_ylim(0, top or 1)
    last = [f"{name}  {_number(_last(points), unit)}" for name, points in series]
    handles, _ = axes.get_legend_handles_labels()
    shown = min(len(last), 3 * _LEGEND_ROWS)
    axes.legend(
        handles[:shown],
        last[:shown],
        loc="upper left",
        bbox_to_anchor=(-0.02, -0.13),
        ncols=max(1, math.ceil(shown / _LEGEND_ROWS)),
        fontsize=6.8,
        frameon=False,
        handlelength=1.2,
        borderpad=0.1,
        labelspacing=0.25,
        columnspacing=1.2,
    )


def _heatmap(axes: Axes, panel: Mapping[str, Any], prometheus: Prometheus, span: Span) -> None:
    (target,) = panel["targets"]
    found = prometheus.over(filled(target["expr"], _INTERVAL), span.start, span.end, span.step)
    buckets = sorted(found, key=lambda each: float(each["metric"]["le"].replace("+Inf", "inf")))
    columns = [_points(each["values"], span) for each in buckets]
    moments = list(columns[0]) if columns else []
    _frame_axes(axes, span, "none")
    if len(moments) < 2:  # a mesh needs an edge
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color="#6e7781")
        return
    below, cells = [0.0] * len(moments), []
    for points in columns:
        upto = [_or_zero(value) for value in points.values()]
        cells.append([math.sqrt(max(0.0, high - low)) for high, low in zip(upto, below, strict=True)])
        below = upto
    axes.pcolormesh([_date(moment) for moment in moments], range(len(cells)), cells, cmap="Blues", shading="nearest")
    labels = [_number(float(each["metric"]["le"].replace("+Inf", "inf")), "s") for each in buckets]
    axes.set_yticks(range(0, len(labels), 2), labels[::2])


def _frame_axes(axes: Axes, span: Span, unit: str) -> None:
    axes.set_xlim(_date(span.start), _date(span.end))
    axes.xaxis.set_major_formatter(DateFormatter("%H:%M:%S"))
    axes.locator_params(axis="x", nbins=5)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _number(value, unit)))
    axes.locator_params(axis="y", nbins=5)
    axes.tick_params(labelsize=6.8, colors="#57606a", length=2)
    axes.grid(visible=True, color="#e8eaed", linewidth=0.6)
    axes.set_axisbelow(True)
    for side in axes.spines.values():
        side.set_visible(False)


def _points(values: Sequence[tuple[float, str]], span: Span) -> dict[float, float]:
    """The value at each step of the time; NaN where there is none, so that a line has a gap."""
    known = {round((moment - span.start) / span.step): float(value) for moment, value in values}
    places = range(int((span.end - span.start) / span.step) + 1)
    found = {span.start + place * span.step: known.get(place, math.nan) for place in places}
    return {moment: math.nan if math.isinf(value) else value for moment, value in found.items()}


def _last(points: Mapping[float, float]) -> float:
    return next(value for value in reversed(points.values()) if not math.isnan(value))


def _or_zero(value: float) -> float:
    return 0.0 if math.isnan(value) else value


def _date(moment: float) -> float:
    return moment / 86_400  # matplotlib counts days


def _legend(form: str, labels: Mapping[str, str]) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda found: labels.get(found[1], ""), form).strip()


def _number(value: float, unit: str, decimals: int | None = None) -> str:
    """The value as Grafana writes it in this unit."""
    if math.isinf(value):
        return "∞"
    if unit == "percentunit":
        return f"{100 * value:.{decimals or 3}g} %" if value else "0 %"
    if unit == "s":
        return _seconds(value)
    if unit == "decbytes":
        return _scaled(value, (" B", " kB", " MB", " GB", " TB"))
    if unit in {"none", "locale"}:
        return f"{value:,.0f}" if decimals == 0 or value >= 100 or value == int(value) else f"{value:.3g}"
    return _scaled(value, ("", " K", " Mil", " Bil"))


def _seconds(value: float) -> str:
    if value == 0:
        return "0 s"
    if value < 1:
        return f"{1_000 * value:.3g} ms"
    return f"{value:.3g} s" if value < 120 else f"{value / 60:.3g} min"


def _scaled(value: float, units: Sequence[str]) -> str:
    place = 0
    while value >= 1_000 and place < len(units) - 1:
        value, place = value / 1_000, place + 1
    return f"{value:.3g}{units[place]}"
