"""The parts of a Grafana dashboard as JSON objects: queries, panels, variables and the grid that holds them."""

# ruff: noqa: INP001  # beside a script, not a package

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]

GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
RUNBOOK = "emendo-runbook"
# Grafana divides the width of a dashboard into 24.
_WIDTH = 24


def rated(metric: str, *labels: str, where: str = "", function: str = "rate") -> str:
    """A counter's rate by label. Every gateway reports the same counts, so `max` takes one of them."""
    kept = ", ".join(("job", *labels))
    matchers = ", ".join(('job="$job"', *([where] if where else [])))
    return f"max by ({kept}) ({function}({metric}{{{matchers}}}[$__rate_interval]))"


def gauge(metric: str, *labels: str, where: str = "") -> str:
    """A gauge by label; of several gateways' equal values one."""
    matchers = ", ".join(('job="$job"', *([where] if where else [])))
    return f"max by ({', '.join(('job', *labels))}) ({metric}{{{matchers}}})"


def quantile(share: float, metric: str, *labels: str, by: str = "", where: str = "") -> str:
    """A quantile of a histogram.

    Args:
        share: 0.95 for the value that 95 of 100 stay below.
        metric: the family's name.
        labels: all labels of the family.
        by: the one of them by which the result is divided; empty for none.
        where: further matchers.
    """
    buckets = rated(f"{metric}_bucket", *labels, "le", where=where)
    return f"histogram_quantile({share}, sum by ({f'{by}, ' if by else ''}le) ({buckets}))"


@dataclass(frozen=True)
class Query:
    """One query of a panel.

    Attributes:
        expr: PromQL; Grafana replaces `$job` and the other variables.
        legend: the name of each series, with labels as `{{label}}`.
    """

    expr: str
    legend: str = "__auto"
    instant: bool = False
    format: str = "time_series"


@dataclass
class Panel:
    """One panel; see the functions below."""

    kind: str
    title: str
    description: str
    queries: Sequence[Query]
    width: int
    height: int
    unit: str = "short"
    steps: Sequence[tuple[str, float | None]] = ()
    alerts: Sequence[str] = ()
    options: Json = field(default_factory=dict)
    custom: Json = field(default_factory=dict)
    defaults: Json = field(default_factory=dict)
    overrides: list[Json] = field(default_factory=list)
    transformations: list[Json] = field(default_factory=list)

    def json(self, number: int, x: int, y: int, places: dict[str, int]) -> Json:
        """The panel at a place of the grid.

        Args:
            number: its id on the dashboard.
            x: columns from the left.
            y: rows from the top.
            places: the id of each alert's panel on the runbook's dashboard.
        """
        field_config: Json = {"unit": self.unit, "custom": self.custom, **self.defaults}
        if self.steps:
            steps = [{"color": colour, "value": value} for colour, value in self.steps]
            field_config["thresholds"] = {"mode": "absolute", "steps": steps}
        shown: Json = {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.description,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "datasource": DATASOURCE,
            "fieldConfig": {"defaults": field_config, "overrides": self.overrides},
            "options": self.options,
            "targets": [_target(query, place) for place, query in enumerate(self.queries)],
            "links": [
                {
                    "title": f"When you are paged: {alert}",
                    "url": f"/d/{RUNBOOK}/{RUNBOOK}?viewPanel={places[alert]}",
                    "targetBlank": True,
                }
                for alert in self.alerts
            ],
        }
        if self.transformations:
            shown["transformations"] = self.transformations
        return shown


def _target(query: Query, place: int) -> Json:
    return {
        "refId": chr(ord("A") + place),
        "datasource": DATASOURCE,
        "expr": query.expr,
        "legendFormat": query.legend,
        "instant": query.instant,
        "range": not query.instant,
        "format": query.format,
        "editorMode": "code",
    }


def stat(title: str, description: str, expr: str, *, unit: str = "short", **more: Any) -> Panel:
    """One large number, coloured by its thresholds. Without a value it shows `empty`; `texts` stand for values."""
    steps = more.pop("steps", ((BLUE, None),))
    defaults: Json = {"noValue": more.pop("empty", "no data"), "color": {"mode": "thresholds"}}
    texts = more.pop("texts", None)
    if texts:
        mapped = {str(value): {"text": text, "index": place} for place, (value, text) in enumerate(texts.items())}
        defaults["mappings"] = [{"type": "value", "options": mapped}]
    decimals = more.pop("decimals", None)
    if decimals is not None:
        defaults["decimals"] = decimals
    trend = more.pop("trend", False)
    options = {
        "colorMode": "background",
        "graphMode": "area" if trend else "none",
        "justifyMode": "center",
        "textMode": more.pop("text_mode", "value"),
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    }
    return Panel(
        "stat",
        title,
        description,
        [Query(expr, more.pop("legend", "__auto"))],
        more.pop("width", 6),
        more.pop("height", 4),
        unit=unit,
        steps=steps,
        options=options,
        defaults=defaults,
        **more,
    )


def lines(title: str, description: str, *queries: Query, unit: str = "short", **more: Any) -> Panel:
    """Values over time. `target` draws a line at a target, and `stacked` adds the series up."""
    target, stacked = more.pop("target", None), more.pop("stacked", False)
    custom: Json = {
        "drawStyle": "line",
        "lineWidth": 1,
        "fillOpacity": 40 if stacked else 10,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
    }
    steps: Sequence[tuple[str, float | None]] = ()
    if target is not None:
        custom["thresholdsStyle"] = {"mode": "dashed"}
        steps = ((GREEN, None), (RED, target))
    options = {
        "legend": {"displayMode": "table", "placement": "bottom", "calcs": ["lastNotNull", "max"], "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    defaults: Json = {"min": 0, "color": {"mode": "palette-classic"}, "noValue": more.pop("empty", "no data")}
    return Panel(
        "timeseries",
        title,
        description,
        queries,
        more.pop("width", 12),
        more.pop("height", 8),
        unit=unit,
        steps=steps,
        options=options,
        custom=custom,
        defaults=defaults,
        **more,
    )


def table(title: str, description: str, query: Query, names: dict[str, str], **more: Any) -> Panel:
    """Rows of labels. `names` has the title of each column that is shown, by label."""
    hidden = {"Time": True, "Value": True, "job": True, "__name__": True}
    shown = {"excludeByName": hidden, "renameByName": names, "indexByName": {n: i for i, n in enumerate(names)}}
    return Panel(
        "table",
        title,
        description,
        [Query(query.expr, query.legend, instant=True, format="table")],
        more.pop("width", 12),
        more.pop("height", 8),
        options={"showHeader": True, "cellHeight": "sm"},
        defaults={"noValue": more.pop("empty", "none")},
        transformations=[{"id": "organize", "options": shown}],
        **more,
    )


def heatmap(title: str, description: str, expr: str, *, unit: str, **more: Any) -> Panel:
    """How many observations fell into each bucket of a histogram, over time."""
    options = {
        "calculate": False,
        "color": {"mode": "scheme", "scheme": "Blues", "steps": 64, "exponent": 0.5, "reverse": False},
        "yAxis": {"unit": unit, "axisPlacement": "left"},
        "cellGap": 1,
        "legend": {"show": True},
        "tooltip": {"mode": "single", "yHistogram": True},
    }
    query = Query(expr, "{{le}}", format="heatmap")
    return Panel(
        "heatmap", title, description, [query], more.pop("width", 12), more.pop("height", 8), options=options, **more
    )


def variable(name: str, label: str, query: str, *, multi: bool = False) -> Json:
    """A choice on top of the dashboard, among the values that a label has. With `multi` several, or all, are chosen."""
    chosen = {"text": ["All"], "value": ["$__all"]} if multi else {}
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "definition": query,
        "refresh": 2,
        "sort": 1,
        "multi": multi,
        "includeAll": multi,
        **({"allValue": ".*"} if multi else {}),
        "current": chosen,
    }


def dashboard(
    uid: str,
    title: str,
    description: str,
    rows: Iterable[tuple[str, Sequence[Panel]]],
    places: dict[str, int],
    *,
    variables: Sequence[Json] = (),
) -> Json:
    """A dashboard of rows, each with its title and panels from left to right."""
    panels: list[Json] = []
    y = 0
    for row, its_panels in rows:
        panels.append(
            {
                "id": len(panels) + 1,
                "type": "row",
                "title": row,
                "collapsed": False,
                "panels": [],
                "gridPos": {"x": 0, "y": y, "w": _WIDTH, "h": 1},
            }
        )
        y += 1
        x = tallest = 0
        for each in its_panels:
            if x + each.width > _WIDTH:
                x, y, tallest = 0, y + tallest, 0
            panels.append(each.json(len(panels) + 1, x, y, places))
            x, tallest = x + each.width, max(tallest, each.height)
        y += tallest
    return frame(uid, title, description, panels, variables=variables)


def frame(uid: str, title: str, description: str, panels: list[Json], *, variables: Sequence[Json] = ()) -> Json:
    """The dashboard around its panels."""
    source = {
        "type": "datasource",
        "name": "datasource",
        "label": "Prometheus",
        "query": "prometheus",
        "current": {},
        "hide": 0,
    }
    installation = variable("job", "Installation", "label_values(emendo_redis_up, job)")
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": ["emendo"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "timezone": "browser",
        "templating": {"list": [source, installation, *variables]},
        "annotations": {"list": []},
        "links": [
            {
                "type": "dashboards",
                "title": "Emendo",
                "tags": ["emendo"],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
                "targetBlank": False,
                "icon": "external link",
            }
        ],
        "panels": panels,
    }
