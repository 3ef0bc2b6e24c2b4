"""Writes memories with their histories, page by page, while the store is in use."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from redis import Redis

from emendo_client.exchanges.diagnosis.read import indexed_count
from emendo_client.exchanges.exchange import run
from emendo_client.exchanges.scan import memory_ids
from emendo_client.times import iso
from emendo_config import Keys, Settings
from emendo_config.embedding_space import VECTOR_PREFIX
from emendo_config.json_codec import read_json
from emendo_config.store import scripts
from emendo_config.store.formats import listed_spaces, version_entry_id
from emendo_config.store.memory_fields import SPACE_FIELD, STATE_FIELDS
from emendo_config.store.pipeline import Command, as_text
from emendo_config.store.scripts import sender_for
from emendo_ops.backup.lines import MORE, Counts, end, header, line
from emendo_ops.backup.target import Report, Target

# Keys of one SCAN call, memories of one round trip, and entries of a history that one script reads.
SCAN_COUNT = 1_000
AT_ONCE = 20
PAGE = 50
# Times that a long history is read again because an erasure or a trim came between two of its pages.
_ATTEMPTS = 10


class DamagedError(Exception):
    """A memory cannot be exported as it is stored."""


class Export:
    """One export.

    Args:
        connection: to the data Redis.
        settings: of the installation.
        project: the only one to export; None for all.
        vectors: write them, too.
    """

    def __init__(self, connection: Redis, settings: Settings, project: str | None, *, vectors: bool) -> None:
        self._connection = connection
        self._keys = Keys(settings.key_prefix)
        self._settings = settings
        self._project = project
        self._vectors = vectors
        self.damaged: list[str] = []

    def scan(self) -> dict[str, Any]:
        """The properties that an export shares with the one that it continues."""
        info: Any = self._connection.info("server")
        return {
            "prefix": self._settings.key_prefix,
            "project": self._project,
            "vectors": self._vectors,
            "run_id": info["run_id"],
        }

    def write(self, target: Target, cursor: int, counts: Counts, report: Report, *, begins: bool) -> None:
        """Writes all memories that the scan finds from the cursor on, in bounded steps and constant space.

        A memory that is added meanwhile may be missing, and one may come twice. Each is as it was at one moment.

        Raises:
            RedisError: Redis failed. The part that was noted stays.
        """
        if begins:
            target.write(line(self._header()))
        sender = {"data": sender_for(self._connection)}
        total = 0
        while True:
            cursor, found = run(sender, memory_ids(self._keys, cursor, SCAN_COUNT))
            ours = self._ours(found)
            if ours and not total:  # a store without memories may have no index
                total = run(sender, indexed_count(self._keys))
            for first in range(0, len(ours), AT_ONCE):
                self._write_some(ours[first : first + AT_ONCE], target, counts)
                report(counts.memories, max(total, counts.memories))
            if not cursor:
                break
            target.note(cursor, counts)
        target.write(line(end(counts)))
        target.finish()

    def _header(self) -> dict[str, Any]:
        seconds, microseconds = (int(part) for part in scripts.run(self._connection, [("TIME",)])[0])
        registry: Any = self._connection.hgetall(self._keys.spaces)
        return header(
            iso(seconds * 1_000_000 + microseconds),
            self._project,
            vectors=self._vectors,
            space=self._settings.space.name,
            spaces={as_text(name): read_json(document) for name, document in registry.items()},
        )

    def _ours(self, found: Sequence[str]) -> list[str]:
        if self._project is None:
            return list(found)
        owners = scripts.run_each(
            self._connection, [("HGET", self._keys.memory(memory_id), "project") for memory_id in found]
        )
        wanted = self._project.encode()
        return [memory_id for memory_id, owner in zip(found, owners, strict=True) if owner == wanted]

    def _write_some(self, ids: Sequence[str], target: Target, counts: Counts) -> None:
        replies = scripts.run(self._connection, [self._read(memory_id) for memory_id in ids])
        for memory_id, reply in zip(ids, replies, strict=True):
            memory, page = scripts.read_memory.reply(reply)
            if memory == b"none":  # it went meanwhile, which takes a hand in Redis
                continue
            try:
                fields, pages = self._whole(memory_id, memory, page)
                documents = self._documents(memory_id, fields, pages)
            except (DamagedError, UnicodeDecodeError):
                self.damaged.append(memory_id)
                continue
            target.write(b"".join(map(line, documents)))
            counts.memories += 1
            counts.entries += sum(map(len, pages))

    def _read(self, memory_id: str) -> Command:
        keys = self._keys
        return scripts.read_memory(
            memory=keys.memory(memory_id),
            history=keys.history(memory_id),
            erased_history=keys.erased_history(memory_id),
            count=PAGE,
        )

    def _whole(
        self, memory_id: str, memory: list[bytes] | bytes, page: scripts.HistoryPage
    ) -> tuple[dict[bytes, bytes], list[list[tuple[bytes, dict[bytes, bytes]]]]]:
        """The hash and the history up to its version, in pages.

        Versions are only added, so later pages are those of that moment, too. Only an erasure or a trim removes some.
        """
        for _ in range(_ATTEMPTS):
            if not isinstance(memory, list) or not isinstance(page, list) or not page:
                raise DamagedError
            fields = dict(zip(memory[::2], memory[1::2], strict=True))
            last = version_entry_id(int(fields.get(b"version", b"0"))).encode()
            pages = [page]
            while pages[-1] and pages[-1][-1][0] != last and len(pages[-1]) == PAGE:
                erased, reply = scripts.run(
                    self._connection,
                    [("HGET", self._keys.memory(memory_id), "erased"), self._next(memory_id, pages[-1][-1][0])],
                )
                following = scripts.read_history.reply(reply)
                if erased != fields.get(b"erased") or not isinstance(following, list):
                    break
                pages.append(_until(following, last))
            if pages[-1] and pages[-1][-1][0] == last and _is_contiguous(pages):
                return fields, pages
            if len(pages) == 1 and len(page) < PAGE:
                raise DamagedError  # it was read in one step, so no change came between
            memory, page = scripts.read_memory.reply(scripts.run(self._connection, [self._read(memory_id)])[0])
        raise DamagedError

    def _next(self, memory_id: str, after: bytes) -> Command:
        keys = self._keys
        return scripts.read_history(
            memory=keys.memory(memory_id),
            history=keys.history(memory_id),
            erased_history=keys.erased_history(memory_id),
            after=as_text(after),
            count=PAGE,
        )

    def _documents(
        self,
        memory_id: str,
        fields: dict[bytes, bytes],
        pages: list[list[tuple[bytes, dict[bytes, bytes]]]],
    ) -> list[dict[str, Any]]:
        texts = {name: fields[name.encode()].decode() for name in STATE_FIELDS if name.encode() in fields}
        first: dict[str, Any] = {
            "id": memory_id,
            "fields": texts,
            "entries": sum(map(len, pages)),
            "history": _entries(pages[0]),
        }
        if self._vectors:
            names = sorted(listed_spaces(as_text(fields.get(SPACE_FIELD.encode()))))
            stored = {name: fields.get(f"{VECTOR_PREFIX}{name}".encode()) for name in names}
            first["vectors"] = {name: base64.b64encode(vector).decode() for name, vector in stored.items() if vector}
        return [first, *({MORE: memory_id, "history": _entries(page)} for page in pages[1:])]


def _until(page: list[tuple[bytes, dict[bytes, bytes]]], last: bytes) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """The page without what was added after the memory was read."""
    ids = [entry_id for entry_id, _ in page]
    return page[: ids.index(last) + 1] if last in ids else page


def _is_contiguous(pages: list[list[tuple[bytes, dict[bytes, bytes]]]]) -> bool:
    """No version is missing between two."""
    versions = [int(entry_id.partition(b"-")[0]) for page in pages for entry_id, _ in page]
    return versions == list(range(versions[0], versions[0] + len(versions)))


def _entries(page: list[tuple[bytes, dict[bytes, bytes]]]) -> list[dict[str, str]]:
    return [
        {"id": entry_id.decode(), **{name.decode(): value.decode() for name, value in entry.items()}}
        for entry_id, entry in page
    ]
