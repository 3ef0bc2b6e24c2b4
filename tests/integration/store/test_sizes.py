"""docs/sizing.md: its rows are what a real Redis says, and its examples follow from them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emendo_client import MemoryClient
from emendo_client.testing.fixtures import settings_for
from tests.support.inferring import started
from tests.support.intake import drain_all
from tests.support.patience import PATIENCE
from tests.support.weights import index_weight, weight

PAGE = (Path(__file__).resolve().parents[3] / "docs" / "sizing.md").read_text(encoding="utf-8")
ROWS = {
    name: tuple(float(number.replace(",", "")) for number in numbers)
    for name, *numbers in re.findall(r"^\| ([\w ]+) \| ([\d,]+) \| ([\d.]+) \| (\d+) \| ", PAGE, re.MULTILINE)
}
COUNT = 100
CHANGES = 3


def predicted(name: str, text: int, dimensions: int) -> float:
    constant, by_text, by_dimension = ROWS[name]
    return constant + by_text * text + by_dimension * dimensions


def measured(settings, length: int) -> dict[str, float]:
    """Bytes of each part, for each memory, change or job."""
    services = started(settings)
    keys, control, data = services.keys, services.control, services.data

    def text(number: int, state: int) -> str:
        return f"fact {number} state {state} {'lives by the sea ' * length}"[:length]

    try:
        with MemoryClient(settings) as client:
            jobs = [client.add(text(number, 0), user_id=f"user-{number % 5}", infer=False) for number in range(COUNT)]
            lists = [*control.scan_iter(f"{keys.inbox('')}*"), keys.jobs("default"), keys.open_jobs("default")]
            records = [keys.job(job.id) for job in jobs]
            waiting = weight(control, records) + len(lists) * weight(control, lists) / COUNT
            drain_all(services)
            ids = [job.wait(PATIENCE).results[0].memory_id for job in jobs]
            finished = weight(control, records) + weight(control, [keys.jobs("default")]) / COUNT
            for state in range(1, CHANGES):
                for number, memory_id in enumerate(ids):
                    client.update(memory_id, text(number, state))
                drain_all(services)
            return {
                "memory": weight(data, [keys.memory(each) for each in ids]),
                "history": weight(data, [keys.history(each) for each in ids]) / CHANGES,
                # Its copy of the vectors grows by blocks of 1,024, which FT.INFO counts as a whole.
                "index": index_weight(data, keys) + 4 * settings.space.dimensions,
                "waiting job": waiting,
                "finished job": finished,
                "applied key": weight(data, list(data.scan_iter(f"{settings.key_prefix}applied:*"))),
            }
    finally:
        services.stop()


@pytest.mark.slow
@pytest.mark.parametrize(("length", "dimensions"), [(50, 256), (1_000, 1_536), (8_000, 256)])
def test_a_real_redis_uses_what_the_rows_say(emendo_redis, openai_server, length, dimensions):
    settings = settings_for(emendo_redis.url, openai_server.base_url, embedding_dimensions=dimensions)
    found = measured(settings, length)
    assert found.keys() == ROWS.keys()
    for name, size in found.items():
        assert size == pytest.approx(predicted(name, length, dimensions), rel=0.2), name


def test_the_example_follows_from_the_rows():
    for shown, dimensions in (("512 (local)", 512), ("1,536", 1_536)):
        parts = [predicted("memory", 200, dimensions), 5 * predicted("history", 200, 0)]
        parts.append(predicted("index", 0, dimensions))
        cells = " | ".join(f"{size / 1_000:.1f} GB" for size in (*parts, sum(parts)))
        assert f"| {shown} | {cells} |" in PAGE
    said = " ".join(PAGE.split())
    for seconds, words in ((86_400, "add {:.1f} GB to the control Redis, and their applied keys {:.1f} GB to the data"),
                           (3_600, "`EMENDO_JOB_TTL=3600` they add {:.1f} and {:.1f} GB")):  # fmt: skip
        sizes = [100 * seconds * predicted(name, 0, 0) / 1e9 for name in ("finished job", "applied key")]
        assert words.format(*sizes) in said
    assert f"100,000 jobs takes {100_000 * predicted('waiting job', 200, 0) / 1e9:.1f} GB" in said


def test_the_cpu_is_that_of_the_performance_page():
    performance = (Path(__file__).resolve().parents[3] / "docs" / "performance.md").read_text(encoding="utf-8")
    for first, name in (("single update, 64 calls in flight", "single update, many at once"),
                        ("single update, one after the other",) * 2, ("item of a batch",) * 2,
                        ("item of a batch, metadata only",) * 2):  # fmt: skip
        (numbers,) = re.findall(rf"^\| {first} \| (\d+ \| \d+ \| \d+) \|", performance, re.MULTILINE)
        assert f"| {name} | {numbers} |" in PAGE
