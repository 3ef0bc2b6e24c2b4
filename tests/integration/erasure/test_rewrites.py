"""After erasures Redis rewrites its append-only file: the text leaves the disk, and the doctor says when."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from emendo_client.testing.fixtures import settings_for
from emendo_ops.doctor.control_redis import check_jobs
from emendo_workers.maintenance.housekeeping import keep_house
from tests.support.erasing import SECRET, erase
from tests.support.intake import added
from tests.support.patience import until


@pytest.fixture
def settings(redis_alone, openai_server):
    # With words to index, housekeeping notes a time that is no whole number.
    return settings_for(redis_alone.url, openai_server.base_url, broker_url=redis_alone.url, index_text=True)


def is_on_disk(directory: Path) -> bool:
    """Whether any file of Redis has the secret; a rewrite replaces files meanwhile."""
    while True:
        try:
            return any(SECRET.encode() in path.read_bytes() for path in directory.rglob("*") if path.is_file())
        except FileNotFoundError:
            continue


def erased_text(services) -> list[tuple[str, bool]]:
    """The doctor's finding, and whether it says that something is still to be done."""
    found = [each for each in check_jobs(services.settings) if each.check == "erased text"]
    return [(each.found, bool(each.mend)) for each in found]


def test_housekeeping_has_the_text_leave_the_disk_and_the_doctor_shows_when(services, client, tmp_path):
    assert erased_text(services) == [], "nothing was erased"
    erase(services, client, added(services, client, SECRET))
    assert is_on_disk(tmp_path / "redis"), "the file still has what was written"
    ((found, is_to_be_done),) = erased_text(services)
    assert (is_to_be_done, "rewrite" in found) == (True, False)
    assert keep_house(services.store, services.notifier, time.time() + 1)["aof_rewrites"] == 1
    until(lambda: not is_on_disk(tmp_path / "redis"))
    ((found, is_to_be_done),) = erased_text(services)
    assert (is_to_be_done, "the last rewrite of the append-only file began at" in found) == (False, True)
    assert keep_house(services.store, services.notifier, time.time() + 1)["aof_rewrites"] == 0
