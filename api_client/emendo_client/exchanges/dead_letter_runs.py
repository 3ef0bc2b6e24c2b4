"""Runs over many dead letters: replay or discard all that match a filter.

A run takes the dead letters that exist when it begins, oldest first, and holds one page of them at a time. A job that
fails again during the run is younger than the run, and stays. Two runs at the same time share the dead letters:
`replay.lua` and `discard.lua` let one of them win each.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from emendo_client.exchanges.dead_letter_selection import DeadLetterFilter, DeadLetterPage, lists, matching, read_page
from emendo_client.exchanges.dead_letters import discard_command, replay_command, shards_to_notify
from emendo_client.exchanges.exchange import Exchange, RoundTrip
from emendo_client.models import DeadLetterProgress
from emendo_config import Keys, Settings
from emendo_config.store import scripts


@dataclass(slots=True)
class Run:
    """One run over many dead letters: its filter and its progress.

    Attributes:
        lowest, highest: the remaining time range, as ZRANGE takes it.
        total: the project's dead letters in the time range when the run began. Those that an earlier release listed
            count for every project, until housekeeping has moved them.
    """

    wanted: DeadLetterFilter
    lowest: str
    highest: str
    total: int
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    examined: int = 0
    done: int = 0
    ended: bool = False

    @property
    def progress(self) -> DeadLetterProgress:
        """The argument of the caller's `on_progress`."""
        return DeadLetterProgress(examined=self.examined, total=self.total, done=self.done)

    def advance(self, page: DeadLetterPage, done: int) -> None:
        """Moves the run past a page. Call it after the page's commands succeeded, so that a failed page is repeated."""
        self.examined += len(page.entries)
        self.done += done
        self.ended = page.is_last
        if page.entries:
            self.lowest = page.end


def begin(keys: Keys, project: str, wanted: DeadLetterFilter) -> Exchange[Run]:
    """A run over the current dead letters; call `replay_page` or `discard_page` until it has ended."""
    (time,) = yield RoundTrip("control", [("TIME",)])  # the clock that dates dead letters
    now = int(time[0]) * 1_000_000 + int(time[1])
    highest = wanted.highest if wanted.before is not None and wanted.before <= now else str(now)
    counts = yield RoundTrip("control", [("ZCOUNT", name, wanted.lowest, highest) for name in lists(keys, project)])
    return Run(wanted, wanted.lowest, highest, sum(map(int, counts)))


def replay_page(settings: Settings, keys: Keys, project: str, run: Run) -> Exchange[list[str]]:
    """Queues the dead letters of the run's next page again, in the order of submission; the shards to notify."""
    page = yield from read_page(keys, project, run.lowest, run.highest, newest_first=False)
    chosen = yield from matching(keys, project, run.wanted, page.entries)
    letters = sorted(chosen, key=lambda letter: letter.submitted)
    wakeup_id = uuid.uuid4().hex  # one for each page: a shard that the last page notified needs no second wake-up
    replies = yield RoundTrip(
        "control",
        [
            replay_command(
                settings,
                keys,
                project,
                letter.record_id,
                shard=letter.shard,
                run_id=run.id,
                wakeup_id=wakeup_id,
                failed_at=letter.failed_at,
            )
            for letter in letters
        ],
    )
    replayed = scripts.replay.replies(replies)
    run.advance(page, sum(each.outcome == "replayed" for each in replayed))
    return shards_to_notify([letter.shard for letter in letters], replayed)


def discard_page(settings: Settings, keys: Keys, project: str, run: Run) -> Exchange[None]:
    """Discards the dead letters of the run's next page."""
    page = yield from read_page(keys, project, run.lowest, run.highest, newest_first=False)
    chosen = yield from matching(keys, project, run.wanted, page.entries)
    replies = yield RoundTrip(
        "control",
        [
            discard_command(settings, keys, project, letter.record_id, run_id=run.id, failed_at=letter.failed_at)
            for letter in chosen
        ],
    )
    run.advance(page, scripts.discard.replies(replies).count("discarded"))
