"""Generates the blocking client, `_sync/`, from the asyncio client, `_async/`.

    python tools/async_to_sync.py           # writes _sync/
    python tools/async_to_sync.py --check   # fails when _sync/ is not what _async/ gives

`async` and `await` are removed, in code and in the examples of docstrings, and names change by the rules below. If the
two clients differ in more than that, the difference is a function with two twins: `<name>_async` and `<name>`. A rule
that matches nothing is an error: it belongs to code that is gone.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "api_client/emendo_client/_async"
TARGET = ROOT / "api_client/emendo_client/_sync"
COMMAND = "python tools/async_to_sync.py"

# Patterns and what stands in their place, in this order.
RULES = [
    # Sentences that are true of one client only.
    (r"The asyncio client", "The blocking client"),
    (r"Each event loop gets its own connections\.", "Thread-safe."),
    (r"Tasks of one event loop may share a writer; .*", "Not thread-safe: each thread takes a writer of its own."),
    # The language.
    (r"\basync (?=def |with |for )", ""),
    (r"\bawait ", ""),
    (r"\b__a(enter|exit)__\b", r"__\1__"),
    # Names.
    (r"\b_async\b", "_sync"),
    (r"(?<=\w)_async\b", ""),
    (r"\baclose\b", "close"),
    (r"\bAsync(?=[A-Z])", ""),
    (r"\ban (?=`Job\b)", "a "),
]
# Fixes of ruff that the generated code needs: the order of imports, and `yield from`, which async code cannot use.
FIXES = "I,UP028"


def main() -> None:
    """Writes the generated files, or compares them with those that are there."""
    generated = {TARGET / source.name: generate(source) for source in sorted(SOURCE.glob("*.py"))}
    check_rules(source.read_text(encoding="utf-8") for source in SOURCE.glob("*.py"))
    left_over = sorted(set(TARGET.glob("*.py")) - generated.keys())
    if sys.argv[1:] == ["--check"]:
        differences = [text for path, code in generated.items() if (text := difference(path, code))]
        differences += [f"{shown(path)} has no source in _async" for path in left_over]
        if differences:
            sys.exit("\n".join([*differences, f"run {COMMAND}"]))
    elif sys.argv[1:]:
        sys.exit(__doc__)
    else:
        for path, code in generated.items():
            path.write_text(code, encoding="utf-8")
        for path in left_over:
            path.unlink()


def generate(source: Path) -> str:
    """The code of the blocking twin, formatted."""
    code = source.read_text(encoding="utf-8")
    for pattern, replacement in RULES:
        code = re.sub(pattern, replacement, code)
    head = f"# Generated from _async/{source.name} by `{COMMAND}`: change that file, then run the command.\n"
    target = TARGET / source.name
    code = ruff(["check", "--quiet", "--fix", "--unsafe-fixes", "--select", FIXES], head + code, target)
    return ruff(["format", "--quiet"], code, target)


def ruff(command: list[str], code: str, path: Path) -> str:
    """The code as ruff would leave it in that file."""
    whole = [sys.executable, "-m", "ruff", *command, "--stdin-filename", str(path), "-"]
    done = subprocess.run(whole, input=code, capture_output=True, text=True, cwd=ROOT, check=False)
    if done.returncode:
        sys.exit(f"ruff refuses what was generated for {shown(path)}:\n{done.stdout}{done.stderr}")
    return done.stdout


def check_rules(sources: Iterator[str]) -> None:
    """Exits when a rule matches nothing, applied in order."""
    code = "".join(sources)
    for pattern, replacement in RULES:
        code, count = re.subn(pattern, replacement, code)
        if not count:
            sys.exit(f"the rule {pattern!r} matches nothing in _async: remove it")


def difference(path: Path, code: str) -> str | None:
    """The first line in which the file is not the generated code, or None."""
    there = path.read_text(encoding="utf-8") if path.exists() else ""
    for number, (old, new) in enumerate(zip_longest(there.splitlines(), code.splitlines()), start=1):
        if old != new:
            return f"{shown(path)}:{number} is {old!r}, but _async gives {new!r}"
    return None


def shown(path: Path) -> str:
    """The path from the root of the repository."""
    return str(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
