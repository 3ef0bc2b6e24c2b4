"""Objects with sockets, locks or threads become new in a forked process, which must not share them with its parent.

Two processes that read one socket get each other's answers. A lock that another thread held at the fork is never
released in the child. So each object that holds such a thing registers here, and makes it new in every child.

Python runs hooks in the child of a fork. A server that forks in C need not run them, and uWSGI does not. So each such
object also asks at its use whether the process is still the same.
"""

from __future__ import annotations

import os
import threading
import weakref
from typing import Protocol


class Resettable(Protocol):
    """An object with something that a forked process must not share with its parent."""

    def reset_after_fork(self) -> None:
        """Replaces sockets, locks and threads, in the child; the parent's are neither used nor closed."""
        ...


_registered: weakref.WeakSet[Resettable] = weakref.WeakSet()
# The parent's connections. They stay referenced, since closing some of them would shut the parent's socket down.
_of_the_parent: list[object] = []
# The process whose sockets, locks and threads the registered objects hold.
_process = os.getpid()
_lock = threading.Lock()


def reset_in_children(holder: Resettable) -> None:
    """Calls `holder.reset_after_fork()` in each process forked from now on, for as long as the holder lives."""
    _registered.add(holder)


def leave_to_the_parent(connection: object) -> None:
    """Keeps a connection of the parent open and unused in this process."""
    if connection is not None:
        _of_the_parent.append(connection)


def notice_fork() -> None:
    """Resets every registered object if this process was forked without Python's hooks. Thread-safe."""
    if os.getpid() == _process:
        return
    with _lock:  # the second thread of the child waits until all are reset
        if os.getpid() != _process:
            _reset_all()


def _reset_all() -> None:
    global _process  # noqa: PLW0603  # a fact about the process
    for holder in list(_registered):
        holder.reset_after_fork()
    _process = os.getpid()


def _after_fork() -> None:
    global _lock  # noqa: PLW0603  # another thread of the parent may hold it
    _lock = threading.Lock()
    _reset_all()


os.register_at_fork(after_in_child=_after_fork)
