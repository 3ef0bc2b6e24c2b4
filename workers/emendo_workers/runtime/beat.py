"""Beat's schedule: kept in memory, since its one entry is in the code."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from celery.beat import Scheduler

_LONG_AGO = datetime.fromtimestamp(0, UTC)


class MemoryScheduler(Scheduler):
    """Sends what is due. It touches a file now and then: a container's health check looks at its age.

    Celery's own scheduler unpickles its file, so a file that another user planted would run programs here.
    """

    def __init__(self, *args: Any, schedule_filename: str, **more: Any) -> None:
        self._sign = Path(schedule_filename)
        super().__init__(*args, **more)

    def setup_schedule(self) -> None:
        """Takes the entries from the code; each is due at once.

        Nothing says when they last ran. A beat that counts a whole interval from each start would never send anything
        if it is restarted more often than that.
        """
        super().setup_schedule()
        for entry in self.schedule.values():
            entry.last_run_at = _LONG_AGO
        self.sync()

    def sync(self) -> None:
        """Leaves the sign of life; Celery calls this every three minutes and at the end."""
        draft = self._sign.with_name(f"{self._sign.name}.new")
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        draft.replace(self._sign)
