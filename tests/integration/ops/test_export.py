"""`emendo export`: every memory whole, with its history, in a file that says whether it is whole."""

from __future__ import annotations

import base64
import json
import stat
import threading
from contextlib import closing

import pytest

from emendo_client import MemoryClient
from emendo_config.store.memory_fields import STATE_FIELDS
from emendo_config.store.pipeline import as_text
from emendo_ops.backup import export, target
from tests.support.intake import drain, drain_all


def lines(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def memories_of(text: str) -> dict[str, dict]:
    """The memories of an export by id, each with its whole history."""
    found: dict[str, dict] = {}
    for line in lines(text):
        if "id" in line:
            found[line["id"]] = line
        elif "more" in line:
            found[line["more"]]["history"] += line["history"]
    return found


def stored(services, memory_id: str) -> tuple[dict[str, str], list[dict[str, str]]]:
    """The fields of a memory, and its history, as an export should have them."""
    keys, data = services.keys, services.data
    fields = {as_text(name): value for name, value in data.hgetall(keys.memory(memory_id)).items()}
    history = data.xrange(keys.history(memory_id))
    entries = [{"id": as_text(at), **{as_text(n): as_text(v) for n, v in raw.items()}} for at, raw in history]
    return {name: as_text(fields[name]) for name in STATE_FIELDS if name in fields}, entries


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(export, "PAGE", 2)
    monkeypatch.setattr(export, "AT_ONCE", 2)
    monkeypatch.setattr(export, "SCAN_COUNT", 50)  # other tests have keys there, too
    monkeypatch.setattr(target, "_INTERVAL", 0)


@pytest.mark.usefixtures("small_pages")
def test_every_memory_is_there_whole_with_its_history(services, client, cli, tmp_path, store):
    changed = store[0]
    for number in range(5):
        drain(services, client.update(changed, f"text {number}", {"n": number}))
    with MemoryClient(services.settings, project="another") as other:
        other.add("of another project", user_id="bob", infer=False)
        drain_all(services)
    file = tmp_path / "backup.jsonl"
    code, out, err = cli(services.settings, "export", str(file), "--vectors")
    assert (code, out, err) == (0, "", "5 memories with 12 history entries\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [file.name]
    text = file.read_text(encoding="utf-8")
    header, *_, end = lines(text)
    assert (header["emendo_export"], header["projects"], header["vectors"]) == (1, ["default"], True)
    assert end == {"emendo_export_end": {"memories": 5, "entries": 12}}
    found = memories_of(text)
    space = services.settings.space
    for memory_id, line in found.items():
        assert (line["fields"], line["history"]) == stored(services, memory_id)
        assert (line["fields"]["project"], line["entries"]) == ("default", len(line["history"]))
        vector = services.data.hget(services.keys.memory(memory_id), space.field)
        told = {name: base64.b64decode(value) for name, value in line["vectors"].items()}
        assert told == ({space.name: vector} if vector else {})
    assert len(found[changed]["history"]) == 6
    assert found[store[3]]["fields"]["is_deleted"] == "1"
    (erased,) = [line for line in found.values() if "erased" in line["fields"]]
    assert "memory" not in erased["fields"]
    code, out, err = cli(services.settings, "export", "-", "--all-projects")
    assert (code, err) == (0, "6 memories with 13 history entries\n")
    assert "of another project" in out
    assert not any("vectors" in line for line in memories_of(out).values())
    assert "of another project" not in text


@pytest.mark.usefixtures("small_pages")
def test_an_interrupted_export_goes_on_wherever_it_stopped(services, client, cli, tmp_path, store):
    for number in range(4):
        drain(services, client.update(store[0], f"text {number}"))
    settings = services.settings
    whole = memories_of(cli(settings, "export", "-")[1])
    file = tmp_path / "backup.jsonl"

    class Killed(BaseException):
        pass

    def attempt(writes: int) -> bool:
        """Exports until so many writes are done, and half of the next one; True when it ends."""
        made = export.Export(services.data, settings, "default", vectors=False)
        with closing(target.File(file, made.scan(), resume=True)) as written:
            write, left = written.write, [writes]

            def dying(data: bytes) -> None:
                left[0] -= 1
                if left[0] < 0:
                    write(data[: len(data) // 2])
                    raise Killed
                write(data)

            written.write = dying
            try:
                made.write(written, written.cursor, written.counts, lambda *_: None, begins=written.begins)
            except Killed:
                return False
            return True

    for writes in range(9):
        file.unlink(missing_ok=True)
        (tmp_path / "backup.jsonl.cursor").unlink(missing_ok=True)
        if attempt(writes):
            break
        cut = file.read_text(encoding="utf-8", errors="replace")
        assert 'emendo_export_end":{' not in cut or not cut.endswith("\n")
        code, _, err = cli(settings, "export", str(file))
        assert code == 1, "a file that is there is never overwritten"
        assert "--resume" in err
        code, _, err = cli(settings, "export", str(file), "--resume")
        assert code == 0, err
        text = file.read_text(encoding="utf-8")
        assert memories_of(text) == whole
        assert lines(text)[-1]["emendo_export_end"]["memories"] == len(whole)
    assert writes > len(whole)
    code, _, err = cli(settings, "export", str(file), "--resume")
    assert (code, "is complete" in err) == (0, True)


def test_an_export_that_was_begun_with_other_options_is_not_continued(services, cli, tmp_path, store):
    file = tmp_path / "backup.jsonl"
    made = export.Export(services.data, services.settings, "default", vectors=False)
    scan = made.scan()
    begun = b'{"emendo_export":1}\n'
    file.write_bytes(begun)
    note = {"scan": scan, "cursor": 7, "size": len(begun), "counts": {"memories": 1, "entries": 1}}
    beside = tmp_path / "backup.jsonl.cursor"
    beside.write_text(json.dumps(note), encoding="utf-8")
    code, _, err = cli(services.settings, "export", str(file), "--resume", "--all-projects")
    assert (code, "other options" in err) == (1, True)
    # A cursor of another process of Redis says nothing: the export begins again.
    beside.write_text(json.dumps({**note, "scan": {**scan, "run_id": "another"}}), encoding="utf-8")
    assert cli(services.settings, "export", str(file), "--resume")[0] == 0
    assert len(memories_of(file.read_text(encoding="utf-8"))) == 5


def test_a_memory_and_its_history_agree_while_it_changes(services, client, small_pages, store):
    changed, stop = store[0], threading.Event()

    def keep_changing() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            drain(services, client.update(changed, f"text {number}"))

    writer = threading.Thread(target=keep_changing)
    writer.start()
    try:
        for _ in range(15):
            made = export.Export(services.data, services.settings, "default", vectors=False)
            read = made._read(changed)
            memory, page = export.scripts.read_memory.reply(export.scripts.run(services.data, [read])[0])
            fields, pages = made._whole(changed, memory, page)
            last_id, last = pages[-1][-1]
            assert last_id == fields[b"version"] + b"-0"
            assert last[b"commit_id"] == fields[b"commit_id"]
            assert last[b"new_memory"] == fields[b"memory"]
    finally:
        stop.set()
        writer.join()


@pytest.mark.usefixtures("small_pages")
@pytest.mark.parametrize("erases", [True, False], ids=["an erasure", "an update"])
def test_a_change_between_two_pages_leaves_the_memory_whole(  # noqa: PLR0917
    services, client, cli, monkeypatch, store, erases
):
    for number in range(4):
        drain(services, client.update(store[0], f"text {number}"))
    following = export.Export._next
    changes = [lambda: client.delete(store[0], hard=True) if erases else client.update(store[0], "later")]

    def with_a_change(made, memory_id, after):
        if changes:
            drain(services, changes.pop()())
        return following(made, memory_id, after)

    monkeypatch.setattr(export.Export, "_next", with_a_change)
    code, out, _ = cli(services.settings, "export", "-")
    found = memories_of(out)[store[0]]
    assert (code, found["entries"], len(found["history"])) == (0, 6 if erases else 5, 6 if erases else 5)
    assert found["history"][-1]["version"] == found["fields"]["version"]
    assert ("text 0" in out) is not erases
    assert "later" not in out


def test_a_damaged_memory_is_named_and_the_others_are_exported(services, cli, store):
    services.data.hset(services.keys.memory(store[0]), "version", 9)
    services.data.hset(services.keys.memory(store[1]), "memory", b"\xff")
    code, out, err = cli(services.settings, "export", "-")
    assert code == 1
    assert "2 damaged memories" in err
    assert all(name in err for name in store[:2])
    assert len(memories_of(out)) == 3
