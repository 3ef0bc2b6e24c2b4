"""The demo's call from outside Python: one search over HTTP, by curl where that is installed."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx2 as httpx
from rich.console import Console

from emendo_ops.demo.checks import Checks

_PATIENCE = 30.0  # seconds
_JSON = "Content-Type: application/json"


def show(stack: dict[str, Any], question: str, memory_id: str, console: Console, checks: Checks) -> None:
    """Searches ana's memories through the stack's gateway, and shows the command and its answer.

    Args:
        stack: the document of its ready file.
        question: the query.
        memory_id: the memory that must be found first.
        console: the output.
        checks: receives the claim.
    """
    url = f"{stack['gateway_url']}/api/v1/memories/search"
    body = json.dumps({"query": question, "user_id": "ana", "limit": 1})
    curl = _curl()
    note = "" if curl else " (curl is not installed here, so httpx sent the same)"
    command = f"curl -s {url} \\\n  -H \"Authorization: Bearer $KEY\" -H '{_JSON}' -d '{body}'"
    console.print(f"the same over HTTP, from any language{note}:\n{command}", soft_wrap=True, markup=False)
    answer = _by_curl(curl, url, stack["gateway_key"], body) if curl else _by_httpx(url, stack["gateway_key"], body)
    console.print(answer, soft_wrap=True, markup=False)
    checks.that(_found(answer) == [memory_id], "the gateway finds the corrected fact first")


def _curl() -> str | None:
    """The path of curl; never one in the current folder, which an empty or relative entry of PATH means."""
    places = os.pathsep.join(place for place in os.get_exec_path() if Path(place).is_absolute())
    return shutil.which("curl", path=places)


def _by_curl(curl: str, url: str, key: str, body: str) -> str:
    """The answer. The key goes through standard input: all users of a machine see the words of a command."""
    words = [*("-q", "-s", "--noproxy", "*", "--max-time", str(_PATIENCE)), *("-H", "@-", "-H", _JSON, "-d", body, url)]
    done = subprocess.run(  # noqa: S603  # our own words
        [curl, *words], input=f"Authorization: Bearer {key}\n", capture_output=True, text=True, check=False
    )
    return done.stdout or f"curl ended with {done.returncode}"


def _by_httpx(url: str, key: str, body: str) -> str:
    name, _, value = _JSON.partition(": ")
    fields = {name: value, "Authorization": f"Bearer {key}"}
    try:
        return httpx.post(url, content=body, headers=fields, timeout=_PATIENCE, trust_env=False).text
    except httpx.HTTPError as error:
        return type(error).__name__


def _found(answer: str) -> list[str]:
    """The ids of the memories that the answer lists; none for an answer of another shape."""
    try:
        return [hit["id"] for hit in json.loads(answer)["results"]]
    except (ValueError, KeyError, TypeError):
        return []
