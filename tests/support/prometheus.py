"""A Prometheus of the tests' own: a child process that scrapes one gateway, where the machine has Prometheus."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Self

import yaml

from emendo_client.testing.ports import LOOPBACK, free_port
from tests.support.patience import PATIENCE, until

FOLDER = Path(__file__).resolve().parents[2] / "ops" / "prometheus"
PROGRAM = "prometheus"  # of Debian's package of the same name


def program() -> str | None:
    """The program; None if the machine has none."""
    return shutil.which(PROGRAM)


class Prometheus:
    """The configuration and the rules of ops/prometheus with another target and interval; a context manager.

    Args:
        directory: of its data and log; created if missing.
        gateway: the gateway's URL.
        interval: seconds between two scrapes, and between two runs of the rules.
    """

    def __init__(self, directory: Path, gateway: str, interval: float = 1.0) -> None:
        self._directory = directory
        self._target = gateway.removeprefix("http://")
        self._interval = f"{int(interval * 1_000)}ms"
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://{LOOPBACK}:{free_port()}"

    def __enter__(self) -> Self:
        self._directory.mkdir(exist_ok=True)
        found = program()
        assert found is not None, "prometheus is missing"
        command = [
            *(found, f"--config.file={self._configure()}", f"--storage.tsdb.path={self._directory / 'data'}"),
            f"--web.listen-address={self.url.removeprefix('http://')}",
        ]
        with (self._directory / "output.log").open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
        try:
            until(self._answers, self._log, PATIENCE)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(PATIENCE)

    def at(self, expression: str, moment: float | None = None) -> list[dict[str, Any]]:
        """The series of an expression, each with `metric` and `value`, at a moment or now."""
        found: list[dict[str, Any]] = self._ask("query", query=expression, time=moment or time.time())
        return found

    def over(self, expression: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The same over time, each with `values`."""
        found: list[dict[str, Any]] = self._ask("query_range", query=expression, start=start, end=end, step=step)
        return found

    def _ask(self, path: str, **parameters: Any) -> Any:
        address = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with urllib.request.urlopen(address, timeout=PATIENCE) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{parameters['query']}: {error.read().decode(errors='replace')}") from None

    def _configure(self) -> Path:
        configuration = yaml.safe_load((FOLDER / "prometheus.yml").read_text(encoding="utf-8"))
        configuration["global"] = {"scrape_interval": self._interval, "evaluation_interval": self._interval}
        configuration["rule_files"] = [str(FOLDER / name) for name in configuration["rule_files"]]
        (scrape,) = configuration["scrape_configs"]
        scrape["scrape_timeout"] = self._interval
        scrape["static_configs"] = [{"targets": [self._target]}]
        path = self._directory / "prometheus.yml"
        path.write_text(yaml.safe_dump(configuration), encoding="utf-8")
        return path

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log()
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=5):
                return True
        except OSError:
            return False

    def _log(self) -> str:
        return (self._directory / "output.log").read_text(errors="replace")[-2_000:]
