"""A machine inside this one, with podman on it: namespaces of its own, all its storage in one folder.

Nothing of it is left at the end: its first process is killed, and with that go its processes, mounts and networks.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from tests.support.patience import until

ROOT = Path(__file__).resolve().parents[3]
# Debian's packages of the programs that the containers need. .ci/run installs them.
PROGRAMS = {
    "podman": "podman",
    "runc": "runc",
    "catatonit": "catatonit",
    "mmdebstrap": "mmdebstrap",
    "iptables": "iptables",
    "ip": "iproute2",
    "nsenter": "util-linux",
}
NETWORK_PROGRAMS = {
    "/usr/lib/podman/netavark": "netavark",
    "/usr/lib/podman/aardvark-dns": "aardvark-dns",
}
PODMAN_COMPOSE = ROOT / ".podman-compose" / "bin" / "podman-compose"

_CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile={files}:{files}", "nproc=4000:4000"]
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
tmp_dir = "{folder}/libpod"
"""
_STORAGE_CONF = """
[storage]
driver = "overlay"
graphroot = "{folder}/images"
runroot = "{folder}/running"
"""
_FILES = 20_000  # the most that podman may give to a container where this process has no more itself


def what_is_missing() -> str | None:
    """Why no containers run here; None if all programs are there."""
    if os.geteuid() != 0:
        return "containers of their own network need root"
    missing = [package for program, package in PROGRAMS.items() if shutil.which(program) is None]
    missing += [package for path, package in NETWORK_PROGRAMS.items() if not Path(path).exists()]
    if missing:
        return f"no containers without {', '.join(missing)} (apt-get install)"
    if not PODMAN_COMPOSE.exists():
        return "podman-compose is not installed: make test-slow does that"
    return None


class Machine:
    """A context manager.

    Args:
        folder: for everything of it; its path must be short, since sockets lie in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._first: subprocess.Popen[bytes] | None = None
        self.environment = {
            "PATH": f"{folder}/bin:{PODMAN_COMPOSE.parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "TMPDIR": f"{folder}/tmp",
            "CONTAINERS_CONF": f"{folder}/containers.conf",
            "CONTAINERS_STORAGE_CONF": f"{folder}/storage.conf",
            # No systemd runs here whose timers could start the health checks.
            "DISABLE_HC_SYSTEMD": "true",
        }

    def __enter__(self) -> Self:
        for name in ("bin", "tmp"):
            (self.folder / name).mkdir(parents=True)
        for name, text in (("containers.conf", _CONTAINERS_CONF), ("storage.conf", _STORAGE_CONF)):
            (self.folder / name).write_text(text.format(folder=self.folder, files=_FILES))
        spaces = ("--net", "--mount", "--pid", "--uts", "--ipc", "--mount-proc", "--propagation=private")
        self._first = subprocess.Popen(["unshare", *spaces, "--fork", "--kill-child", "catatonit", "-P"])
        try:
            until(self._child, "no namespace was made")
            self.run(["mount", "-t", "tmpfs", "tmpfs", "/run"])
            self.run(["ip", "link", "set", "lo", "up"])
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        assert self._first is not None
        try:
            if self._child():
                # Its control groups are the only thing that would outlive it.
                self.run(["podman", "rm", "--all", "--force", "--time", "0"], check=False)
        finally:
            self._first.kill()  # unshare's child with it, and all processes with that
            self._first.wait()
            for parent in Path("/sys/fs/cgroup").glob("*/libpod_parent"):
                with suppress(OSError):  # of somebody else's containers, too
                    parent.rmdir()
            shutil.rmtree(self.folder)

    def within(self, folder: Path, *, outer_network: bool = False) -> list[str]:
        """The beginning of a command in here; with `outer_network` it reaches what this machine reaches."""
        spaces = ["--mount", "--pid", "--uts", "--ipc", *([] if outer_network else ["--net"])]
        return ["nsenter", "--target", self._child(), *spaces, "--", "env", f"--chdir={folder}"]

    def run(
        self,
        command: Sequence[str],
        *,
        outer_network: bool = False,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Runs one command in here, and returns its output.

        Raises:
            AssertionError: its exit code is not 0, and `check` is True.
        """
        done = subprocess.run(
            [*self.within(folder or self.folder, outer_network=outer_network), *command],
            check=False,
            env={**self.environment, **(environment or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}\nended with {done.returncode}: {done.stderr}"
        return done

    def podman(self, *words: str, check: bool = True) -> str:
        """The standard output of a podman command."""
        return self.run(["podman", *words], check=check).stdout

    def kill(self, process: int) -> None:
        """Kills one process by its number in here."""
        self.run(["kill", f"-{signal.SIGKILL}", str(process)])

    def _child(self) -> str:
        """The number of unshare's child, the first process of the namespaces; empty while there is none."""
        assert self._first is not None
        assert self._first.poll() is None, "unshare ended: this process may make no namespaces"
        children = Path(f"/proc/{self._first.pid}/task/{self._first.pid}/children")
        return children.read_text().strip()
