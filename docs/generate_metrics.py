"""Writes docs/reference/metrics.md from the metric families: `python docs/generate_metrics.py`.

With `--check` it writes nothing and exits 1 when the page is stale.
"""

# ruff: noqa: INP001  # a script, not a package

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from generated_page import write_or_check

from emendo_config.metric_families import COUNTED, SECONDS, SIZES, STAGES, Family, Type
from emendo_gateway.gauges import READ


def _numbers(bounds: tuple[float, ...]) -> str:
    return ", ".join(f"{bound:g}" for bound in bounds)


PAGE = Path(__file__).resolve().parent / "reference" / "metrics.md"

INTRODUCTION = """\
# Metrics

This page is generated from `emendo_config.metric_families` and `emendo_gateway.gauges`; change these, then run
`python docs/generate_metrics.py`.

`GET /metrics` of the gateway answers in Prometheus' text format. Each scrape reads Redis in ten round trips at most,
within 3 seconds. It always answers 200. If Redis is down, it returns `emendo_redis_up 0` and nothing else, since zeros
would look like an empty backlog.

- All metrics cover every project and are the same on every gateway. So aggregate them with `max`, never with `sum` over
  instances.
- Redis holds the counters and histograms, so no restart resets them.
- No label holds memory text, a key, or an id of a memory, user or job. `emendo_open_jobs` names projects. Metrics show
  how busy you are, so keep `/metrics` inside.

`ops/prometheus/prometheus.yml` scrapes them, and `ops/prometheus/rules.yml` has the alerts;
[When you are paged](../how-to/when-paged.md) explains each. `client.health()` and `GET /health` have the numbers of the
health without Prometheus. So does `emendo doctor`, except those of inference. Each result has the cost of its own add.
Flower has times and outcomes of single jobs: it serves `flower_task_runtime_seconds` and `flower_events_total` at its
own `/metrics`, behind its login (`basic_auth` in Prometheus).

## Counted by workers

A drain adds its counts to one Redis hash, with its last round trip. So they are right for threads, for prefork, and for
any number of workers. A process that dies loses the counts of its last batch at most. If the connection breaks just
then, this batch may be missing, too. Nothing is counted twice.
"""

STAGES_AND_BUCKETS = f"""\
- Stages: {", ".join(f"`{stage}`" for stage in STAGES)}.
- Buckets of seconds: {_numbers(SECONDS)}. They stand close together around 0.1, the target for an update.
- Buckets of sizes: {_numbers(SIZES)}."""

COST = """\

## What inference costs

```
sum by (kind) (max by (job, kind) (increase(emendo_inference_tokens_total[1d])))   # tokens of a day
sum(max by (job, kind) (increase(emendo_inference_requests_total{kind="chat"}[1h])))
  / sum(max by (job, event) (increase(emendo_inference_decisions_total[1h])))      # chat requests for each fact
max by (job) (increase(emendo_inference_degraded_jobs_total[1h])) > 0              # a worker lacks the chat model
```

The last one is no alert, since an installation may do without a chat model on purpose. Otherwise it finds a worker that
was started without `EMENDO_CHAT_…`.
"""


def page() -> str:
    """The whole page, as it should stand in docs/reference/metrics.md."""
    return "\n".join(
        (
            INTRODUCTION,
            *_table(COUNTED.values()),
            "",
            STAGES_AND_BUCKETS,
            "",
            "## Read at each scrape",
            "",
            *_table(READ.values()),
            COST,
        )
    )


def _table(families: Iterable[Family]) -> list[str]:
    rows = ["| metric | type | labels | meaning |", "| --- | --- | --- | --- |"]
    for family in families:
        labels = ", ".join(f"`{label}`" for label in family.labels)
        kind = family.type.value
        if family.type is Type.HISTOGRAM:
            kind += f", {'seconds' if family.bounds == SECONDS else 'sizes'}"
        rows.append(f"| `{family.name}` | {kind} | {labels} | {family.meaning} |")
    return rows


if __name__ == "__main__":
    sys.exit(write_or_check(PAGE, page(), "python docs/generate_metrics.py"))
