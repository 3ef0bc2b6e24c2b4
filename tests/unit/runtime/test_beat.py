"""Beat's schedule: what it has is due when beat starts, and then again after an interval."""

from __future__ import annotations

from emendo_config import Settings
from emendo_config.celery_app import HOUSEKEEPING_INTERVAL, create_app
from emendo_workers.runtime.beat import MemoryScheduler


def test_a_beat_that_is_often_restarted_starts_housekeeping_all_the_same(tmp_path):
    app = create_app(Settings(redis_url="redis://h/0"))
    for _ in range(2):
        scheduler = MemoryScheduler(app, schedule_filename=str(tmp_path / "alive"))
        entry = scheduler.schedule["housekeeping"]
        assert entry.is_due().is_due
        due, seconds = scheduler.reserve(entry).is_due()
        assert not due
        assert HOUSEKEEPING_INTERVAL - 10 < seconds <= HOUSEKEEPING_INTERVAL
