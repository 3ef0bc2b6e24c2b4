"""Asks feeds of known vulnerabilities about each pinned version: `python tools/audit.py LOCK ...`.

It runs pip-audit, by itself green when a feed knows none of the packages. So this script counts the answers. It exits:

- 0: each version was looked up, and none has a known vulnerability
- 1: some version has one; they are printed
- 2: no feed gave an answer for some version, so nothing is known about it
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

FEEDS = ("pypi", "osv")
SECONDS = 300
CLEAN, VULNERABLE, UNKNOWN = 0, 1, 2


def ask(feed: str, locks: Sequence[str]) -> list[dict[str, Any]]:
    """pip-audit's answer for each package of the lock files; empty if the feed gave none."""
    files = [part for lock in locks for part in ("--requirement", lock)]
    command = [sys.executable, "-m", "pip_audit", *files, "--no-deps", "--disable-pip"]
    try:
        answer = subprocess.run(
            [*command, "--format", "json", "--progress-spinner", "off", "--vulnerability-service", feed],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        found: list[dict[str, Any]] = json.loads(answer.stdout)["dependencies"]
    except subprocess.TimeoutExpired:
        print(f"{feed}: no answer within {SECONDS} s")
        return []
    except (ValueError, KeyError):  # pip-audit says on stderr what went wrong, at the end of a traceback
        print(f"{feed}: {(answer.stderr.strip().splitlines() or ['no answer'])[-1]}")
        return []
    return found


def summary(answers: Mapping[str, Sequence[Mapping[str, Any]]]) -> tuple[int, list[str]]:
    """The exit code and the lines to print, from the answers of each feed.

    A package that a feed skipped has no answer of this feed.
    """
    asked, looked_up, lines = set[str](), set[str](), set[str]()
    for feed, packages in answers.items():
        for package in packages:
            name = str(package["name"])
            asked.add(name)
            if "skip_reason" in package:
                continue
            looked_up.add(name)
            for hole in package["vulns"]:
                fixed = ", ".join(hole.get("fix_versions") or ["no release"])
                lines.add(f"{name} {package['version']}: {hole['id']} ({feed}), fixed in {fixed}")
    if lines:
        return VULNERABLE, sorted(lines)
    if not looked_up:
        return UNKNOWN, ["NOT AUDITED: no feed of known vulnerabilities was reached, so nothing is known"]
    if missing := sorted(asked - looked_up):
        return UNKNOWN, [f"NOT AUDITED: no feed knows {', '.join(missing)}; the other {len(looked_up)} are clean"]
    return CLEAN, [f"{len(looked_up)} packages, none with a known vulnerability"]


def main(locks: Sequence[str]) -> int:
    """Asks one feed after the other until each package has an answer; see the module's text for the result."""
    answers: dict[str, list[dict[str, Any]]] = {}
    for feed in FEEDS:
        answers[feed] = ask(feed, locks)
        code, lines = summary(answers)
        if code != UNKNOWN:
            break
    print("\n".join(lines))
    return code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or ["requirements.lock"]))
