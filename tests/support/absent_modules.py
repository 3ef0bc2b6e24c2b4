"""A Python process in which some modules are not installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping

from tests.support.patience import LONG_PATIENCE

# Asks the usual finders, except for the absent modules: both `import` and `find_spec` find nothing.
_PRELUDE = """
import sys
from importlib.machinery import PathFinder

absent, finders = set({absent!r}), sys.meta_path[:]


class Finder:
    find_distributions = PathFinder.find_distributions

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in absent:
            return None
        return next(filter(None, (finder.find_spec(name, path, target) for finder in finders)), None)


sys.meta_path[:] = [Finder]
for name in [name for name in sys.modules if name.partition(".")[0] in absent]:
    del sys.modules[name]
"""


def run_without(
    absent: Iterable[str], program: str, *arguments: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs Python source in a process that cannot find the absent modules."""
    source = _PRELUDE.format(absent=sorted(absent)) + program
    return subprocess.run(
        [sys.executable, "-c", source, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=LONG_PATIENCE,
        env=None if env is None else dict(env),
    )
