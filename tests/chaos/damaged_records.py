"""The scenario of damaged records: payloads, other fields, whole records and inbox entries become garbage under load.

A damaged record is a dead letter after its first attempt. A damaged entry is acknowledged and logged. Neighbours
never notice.
"""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

from tests.chaos.invariants import Invariants, Report
from tests.chaos.storm import Storm
from tests.chaos.traffic import Ask

CODE = "PAYLOAD_UNREADABLE"
GARBAGE = (b"", b"{", b"[]", b"null", b"7", b"\xff\xfe", b"[[[[")
# The values that overwrite a field of a record; `None` removes it.
DAMAGES: dict[str, tuple[bytes | None, ...]] = {
    "payload": (None, *GARBAGE, b"{}", b'{"operations": "text"}'),
    "settled": (b"{", b"7", b"[1]", b"\xff"),
    "submitted": (None, b"x", b"1e400", b"\xff"),
    "project": (None, b"", b"\xff"),
    "id": (None,),
    "record": (None,),  # the key holds another type
}
# Entries that name no job, or none that there is.
ENTRIES = ({b"nothing": b"x"}, {b"job": b""}, {b"job": b"\xff\xfe"}, {b"job": b"of another store"}, {b"job": b":"})
# How often an entry is added.
SHARE_OF_ENTRIES = 0.4
# Damages a record that no attempt has begun yet: 1, or 0 when it is too late.
_DAMAGE = """
if redis.call('TYPE', KEYS[1]).ok ~= 'hash' or redis.call('HGET', KEYS[1], 'status') ~= 'queued'
  or redis.call('HEXISTS', KEYS[1], 'started') == 1 then return 0 end
if ARGV[1] == 'record' then
  redis.call('DEL', KEYS[1])
  redis.call('RPUSH', KEYS[1], 'what', 'is', 'this')
elseif ARGV[2] then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
else
  redis.call('HDEL', KEYS[1], ARGV[1])
end
return 1
"""


def damaged_records(directory: Path, seed: int, jobs: int) -> Report:
    """Every 50-150 ms a waiting record, or an entry of an inbox, is overwritten with garbage."""
    with Storm("damaged-records", directory, seed, chunk_items=10).running(workers=2) as storm:
        storm.provider.latency_ms = 50  # so that records wait
        ids = storm.traffic.add(40)
        damaged: dict[str, str] = {}
        entries: list[str] = []
        with storm.raw() as control:
            damage = control.register_script(_DAMAGE)

            def strike() -> None:
                shards = [name.decode() for name in sorted(control.smembers(storm.keys.shards))]
                stream = storm.keys.inbox(storm.random.choice(shards))
                if storm.random.random() < SHARE_OF_ENTRIES:
                    entries.append(control.xadd(stream, storm.random.choice(ENTRIES)).decode())
                waiting = [entry for shard in shards for entry in control.xrevrange(storm.keys.inbox(shard), count=1)]
                for _, fields in storm.random.sample(waiting, min(2, len(waiting))):
                    record_id = fields.get(b"job", b"").decode(errors="replace")
                    field = storm.random.choice(list(DAMAGES))
                    value = storm.random.choice(DAMAGES[field])
                    if damage([storm.keys.job(record_id)], [field, *([] if value is None else [value])]):
                        damaged[record_id] = field

            with storm.happening(strike, pause=(0.05, 0.15)):
                storm.traffic.flow(ids, jobs, "uuuumbU", rate=150, batch=(15, 30))
            storm.wait()
        storm.report.faults = len(damaged) + len(entries)
        storm.report.notes.append(f"{len(damaged)} records and {len(entries)} entries damaged")
        logs = "".join(log.read_text() for log in sorted(directory.glob("worker-*.log")))
        if unlogged := [entry for entry in entries if entry not in logs]:
            storm.report.blame("wrong", f"{len(unlogged)} entries were acknowledged without a word", len(unlogged))
        return storm.check(invariants=partial(_Neighbours, damaged))


class _Neighbours(Invariants):
    """The invariants for all but the damaged records, each of which must be a dead letter that tells nothing."""

    def __init__(self, damaged: dict[str, str], *more: Any) -> None:
        super().__init__(*more)
        self._damaged = damaged
        self._jobs = {record_id.partition(":")[0] for record_id in damaged}

    def _check_payload(self, record: dict[str, str]) -> None:
        codes = {(item.get("error") or {}).get("code") for item in json.loads(record.get("results", "[]"))}
        if record.get("id") not in self._damaged:
            if CODE in codes:
                self._report.blame("wrong", f"{record.get('id')} was not damaged, and cannot be read")
            return super()._check_payload(record)
        record_id = record["id"]
        listed = self._control.zscore(self._keys.dead(self._client.project), record_id) is not None
        if codes != {CODE} or not listed or record.get("attempts", "1") != "1":
            note = f"{record_id}, {self._damaged[record_id]} damaged, ended with {codes}, listed as dead: {listed}"
            self._report.blame("wrong", f"{note}, attempts: {record.get('attempts')}")
        return None

    def _note_item(self, job_id: str, ask: Ask, submitted: int, item: dict[str, Any]) -> None:
        is_damaged = (item.get("error") or {}).get("code") == CODE
        if not (is_damaged and job_id in self._jobs):
            super()._note_item(job_id, ask, submitted, item)
