"""Checks that no other user can change a folder: servers would load, and people would trust, what lies there."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from emendo_config.errors import ConfigurationError

_ROOT = 0
_MOST_LINKS = 40
_ALL_IDS = ["0", "0", "4294967295"]


def require_own(folder: Path) -> None:
    """Checks that no other user can write into the folder, or put another one in its place.

    The whole way to it counts, links included. A folder for everybody, such as /tmp, may be on the way when its sticky
    bit keeps entries from other users. Missing folders are not checked.

    Raises:
        ConfigurationError: the folder or the way to it belongs to another user, or others may write there.
    """
    for place, info, is_last in _way(folder.absolute()):
        problem = _problem(info, is_last=is_last)
        if problem is not None:
            raise ConfigurationError(
                f"the folder {folder} is not safe: {place} {problem}",
                suggestion="give a folder of your own, into which only you can write, with --dir",
            )


def _problem(info: os.stat_result, *, is_last: bool) -> str | None:
    trusted = {os.geteuid()} if is_last else {os.geteuid(), _ROOT, *_unmapped()}
    if info.st_uid not in trusted:
        return f"belongs to user {info.st_uid}"
    if stat.S_ISLNK(info.st_mode) or (info.st_mode & stat.S_ISVTX and not is_last):
        return None
    if info.st_mode & stat.S_IWOTH:
        return "can be written to by every user (chmod o-w)"
    if info.st_mode & stat.S_IWGRP and not _is_private_group(info.st_gid):
        return f"can be written to by group {info.st_gid} (chmod g-w)"
    return None


def _way(path: Path) -> Iterator[tuple[Path, os.stat_result, bool]]:
    """Every folder and link that leads to the path, from the root on, and whether it is the end."""
    here, left, links = Path("/"), list(reversed(path.parts[1:])), 0
    yield here, here.lstat(), not left
    while left:
        part = left.pop()
        if part == "..":
            here = here.parent
            continue
        place = here / part
        try:
            info = place.lstat()
        except OSError:  # missing, or closed to us: its use says so
            return
        if not stat.S_ISLNK(info.st_mode):
            yield place, info, not left
            here = place
            continue
        yield place, info, False
        links += 1
        if links > _MOST_LINKS:
            return
        target = place.readlink()
        here = Path("/") if target.is_absolute() else here
        left.extend(reversed(target.parts[1:] if target.is_absolute() else target.parts))


def _is_private_group(group: int) -> bool:
    """True for the group that a user has alone: many systems let it write by default."""
    try:
        user = pwd.getpwuid(os.geteuid())
        found = grp.getgrgid(group)
    except KeyError:
        return False
    return user.pw_gid == group and found.gr_name == user.pw_name and set(found.gr_mem) <= {user.pw_name}


@cache
def _unmapped() -> frozenset[int]:
    """The id that the host's own users have in a container that does not know them; empty elsewhere."""
    try:
        maps = [line.split() for line in Path("/proc/self/uid_map").read_text().splitlines()]
        overflow = int(Path("/proc/sys/kernel/overflowuid").read_text())
    except (OSError, ValueError):  # not Linux
        return frozenset()
    return frozenset() if maps == [_ALL_IDS] else frozenset({overflow})
