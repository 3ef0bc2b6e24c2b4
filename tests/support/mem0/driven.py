"""mem0's official clients as processes of their own, unmodified, that make the calls a test asks for."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.patience import PATIENCE

HERE = Path(__file__).resolve().parent
# `make test-slow` puts both clients there.
INSTALLED = HERE.parents[2] / ".mem0-clients"
KINDS = ("sync", "async", "npm")
_OPAQUE = {"metadata"}


class ClientError(Exception):
    """The exception that a client raised: the name of its class, and what it says."""

    def __init__(self, told: dict[str, Any]) -> None:
        super().__init__(f"{told['class']}: {told['message']}")
        self.kind: str = told["class"]
        self.message: str = told["message"]
        self.details: dict[str, Any] = told.get("details") or {}
        self.debug_info: dict[str, Any] = told.get("debug_info") or {}


def command(kind: str) -> list[str]:
    """The command that runs a client; skips the test where the client is not installed."""
    if kind == "npm":
        node = shutil.which("node")
        if node is None:
            pytest.skip("node is not here, so mem0's npm client is not tried")
        if not (INSTALLED / "node_modules" / "mem0ai").exists():
            pytest.skip("mem0's npm client is not installed: make test-slow does that where npm is")
        return [node, str(HERE / "npm_driver.cjs")]
    python = INSTALLED / "bin" / "python"
    if not python.exists():
        pytest.skip("mem0's Python client is not installed: make test-slow does that")
    return [str(python), str(HERE / "python_driver.py"), kind]


class DrivenClient:
    """One client; a context manager. Calls have the Python client's names and arguments, and results its field names.

    Args:
        kind: one of KINDS.
        folder: for what the client writes.
    """

    def __init__(self, kind: str, url: str, folder: Path) -> None:
        self.kind = kind
        self._process = subprocess.Popen(
            command(kind),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(folder / f"{kind}.log").open("wb"),
            text=True,
            env={
                **{name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
                "GATEWAY": url,
                "NODE_PATH": str(INSTALLED / "node_modules"),
                "MEM0_TELEMETRY": "false",
                "MEM0_DIR": str(folder / "mem0"),
                "HOME": str(folder),
                "NO_PROXY": "127.0.0.1",
            },
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def construct(self, key: str) -> None:
        """Makes the client's object, which asks the gateway whose key it is."""
        self._ask({"method": "construct", "key": key})

    def call(self, method: str, *args: Any, **options: Any) -> Any:
        """Makes a call.

        Raises:
            ClientError: the client raised something.
        """
        if self.kind != "npm":
            return self._ask({"method": method, "args": args, "kwargs": options})
        positional = [*args, _camel(options)] if options else list(args)
        return _snake(self._ask({"method": _camel_name(method), "args": positional}))

    def _ask(self, call: dict[str, Any]) -> Any:
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        if "error" in answer:
            raise ClientError(answer["error"])
        return answer["result"]


def _camel_name(name: str) -> str:
    return re.sub(r"_([a-z])", lambda match: match[1].upper(), name)


def _camel(options: dict[str, Any]) -> dict[str, Any]:
    return {_camel_name(name): value for name, value in options.items()}


def _snake(value: Any) -> Any:
    if isinstance(value, list):
        return [_snake(each) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        re.sub(r"[A-Z]", lambda match: f"_{match[0].lower()}", name): each if name in _OPAQUE else _snake(each)
        for name, each in value.items()
    }
