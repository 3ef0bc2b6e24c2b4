"""The machine and the software that figures were measured on, without which they mean nothing."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Self

from redis import Redis

from emendo_config.store.pipeline import as_text

_PACKAGES = ("emendo", "celery", "kombu", "redis", "hiredis", "openai")


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine and the versions of the software.

    Attributes:
        cores: the cores this process may use.
        load: the load average of the last minute before the run. Well above 0, other programs were running.
        search: the version of Redis' search module, as the server reports it.
    """

    cores: int
    cpu: str
    memory_gb: float
    system: str
    load: float
    python: str
    redis: str
    search: str
    packages: dict[str, str]

    @classmethod
    def of(cls, connection: Redis) -> Self:
        """This machine, with the Redis behind the connection."""
        info = connection.info("server")
        return cls(
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 0,
            cpu=_cpu(),
            memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
            system=f"{platform.system()} {platform.release()}",
            load=round(os.getloadavg()[0], 2),
            python=platform.python_version(),
            redis=str(info["redis_version"]),
            search=_search_version(connection),
            packages={name: metadata.version(name) for name in _PACKAGES},
        )

    def __str__(self) -> str:
        packages = ", ".join(f"{name} {version}" for name, version in self.packages.items())
        return (
            f"{self.cores} cores of {self.cpu}, {self.memory_gb:g} GB, {self.system}, load {self.load:g} at the start; "
            f"Redis {self.redis} with search {self.search}, Python {self.python}; {packages}"
        )


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor() or platform.machine())


def _search_version(connection: Redis) -> str:
    for module in connection.module_list():
        named = {as_text(name): value for name, value in module.items()}
        if as_text(named.get("name")) == "search":
            number = int(named["ver"])
            return f"{number // 10_000}.{number // 100 % 100}.{number % 100}"
    return "unknown"


def resident_bytes(pid: int) -> int:
    """Resident memory of a process, from /proc.

    Raises:
        OSError: the process or /proc does not exist.
    """
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise OSError(f"process {pid} has no resident memory")
