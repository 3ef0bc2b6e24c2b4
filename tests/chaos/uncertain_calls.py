"""Requests that the network failed: whether they were accepted after all, found out from what Redis holds."""

from __future__ import annotations

import redis

from emendo_client import MemoryClient
from emendo_config import Keys
from tests.chaos.invariants import Report
from tests.chaos.traffic import Submission, Traffic, Uncertain


def clear_up(client: MemoryClient, traffic: Traffic, report: Report) -> list[Submission]:
    """The jobs nobody was told of, each with the uncertain request it comes from; one that has none is a phantom."""
    known = {submission.job_id for submission in traffic.submissions}
    candidates = list(traffic.uncertain)
    found = []
    with redis.Redis.from_url(client.settings.control_url, protocol=2) as control:
        existing = [name.decode() for name in control.zrange(Keys(client.settings.key_prefix).jobs("default"), 0, -1)]
    for job_id in existing:
        if job_id in known:
            continue
        results = client.job(job_id).wait(1).results
        texts = {item.memory for item in results if item.event == "UPDATE"}
        ids = [item.memory_id for item in results]
        origin = next((each for each in candidates if _fits(each, ids, texts)), None)
        if origin is None:
            report.blame("duplicated", f"job {job_id} comes from no request")
            continue
        candidates.remove(origin)
        found.append(Submission(job_id, origin.asks))
    return found


def _fits(uncertain: Uncertain, ids: list[str], texts: set[str]) -> bool:
    asked = {ask.text for ask in uncertain.asks}
    return [ask.memory_id for ask in uncertain.asks] == ids and texts <= asked
