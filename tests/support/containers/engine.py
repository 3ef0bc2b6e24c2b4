"""Podman with images, networks and volumes of its own: another podman of this machine sees none of them."""

from __future__ import annotations

import fcntl
import importlib.util
import json
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.patience import LONG_PATIENCE, until

# The images stay there, so that a second run builds only what has changed.
_FOLDER = "emendo-containers"
_PROGRAMS = ("podman", "runc", "catatonit", "mmdebstrap", "iptables")
# Podman's helpers look for programs of the administrator, which a user's PATH need not have.
_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
_HELPERS = ("netavark", "aardvark-dns")
_HELPERS_ARE_IN = ("/usr/lib/podman", "/usr/libexec/podman", "/usr/local/lib/podman", "/usr/local/libexec/podman")
# The same holds for processes. docker-compose.yml allows fewer still.
_PROCESSES = "nproc=4000:4000"
# Images that no run has used for so long are removed.
_OLD = "168h"


def missing() -> str:
    """Says what this machine lacks for a container; empty if it lacks nothing."""
    namespaces = ["unshare", "--mount", "--net", "--pid", "--fork", "true"]
    if os.geteuid() != 0 or subprocess.run(namespaces, capture_output=True, check=False).returncode:
        return "the user root, with the right to make namespaces"
    lacking = [name for name in _PROGRAMS if shutil.which(name, path=_PATH) is None]
    lacking += [name for name in _HELPERS if not any(Path(place, name).is_file() for place in _HELPERS_ARE_IN)]
    lacking += ["podman-compose"] if importlib.util.find_spec("podman_compose") is None else []
    return ", ".join(lacking)


class Engine:
    """Podman as the tests call it.

    Attributes:
        environment: with which any program that calls podman uses this one.
    """

    def __init__(self, folder: Path, run: Path) -> None:
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("EMENDO_", "OPENAI_"))},
            "PATH": _PATH,
            "CONTAINERS_CONF": str(_written(folder / "containers.conf", _configuration(folder, run))),
            "CONTAINERS_STORAGE_CONF": str(_written(folder / "storage.conf", _storage(folder, run))),
        }

    def __call__(self, *words: str, timeout: float = LONG_PATIENCE, **more: Any) -> str:
        """The output of `podman …`, which has to succeed."""
        code, said = self.ask(*words, timeout=timeout, **more)
        assert code == 0, f"podman {' '.join(words)}: {said}"
        return said.strip()

    def ask(self, *words: str, timeout: float = LONG_PATIENCE, **more: Any) -> tuple[int, str]:
        """The exit code of `podman …`, and its output with the errors."""
        done = subprocess.run(
            ["podman", *words],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
            **{"stdin": subprocess.DEVNULL, **more},
        )
        return done.returncode, done.stdout.decode(errors="replace")

    def look(self, container: str) -> Mapping[str, Any]:
        """The document that podman has of a container."""
        (found,) = json.loads(self("container", "inspect", container))
        return dict(found)

    def has_image(self, name: str) -> bool:
        """Whether the image is here."""
        return self.ask("image", "exists", name)[0] == 0

    def _leave_only_images(self) -> None:
        # Podman removes some containers before those that depend on them, and complains.
        remove = ("rm", "--all", "--force", "--time", "0")
        until(lambda: self.ask(*remove)[0] == 0, lambda: self.ask(*remove)[1])
        for words in (
            ("pod", "rm", "--all", "--force"),
            ("volume", "prune", "--force"),
            ("network", "prune", "--force"),
            ("image", "prune", "--force", "--filter", f"until={_OLD}"),
        ):
            self(*words)


@contextmanager
def own_engine() -> Iterator[Engine]:
    """Podman for one user at a time: another run waits here until this one has ended."""
    folder = Path(tempfile.gettempdir(), _FOLDER)
    folder.mkdir(mode=0o700, exist_ok=True)
    assert folder.stat().st_uid == os.geteuid(), f"{folder} is somebody else's"
    run = Path("/run", _FOLDER)  # podman has to find it empty after the machine was started again
    run.mkdir(mode=0o700, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        until(lambda: _is_ours(lock), "another run keeps podman", LONG_PATIENCE)
        engine = Engine(folder, run)
        engine._leave_only_images()  # of a run that was killed
        try:
            yield engine
        finally:
            engine._leave_only_images()


def _is_ours(lock: Any) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def build_limits() -> str:
    """This process's own limit of open files: podman asks for more by itself, which not every machine grants."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return f"nofile={hard}:{hard}"


def _configuration(folder: Path, run: Path) -> str:
    # The process that starts a dead container again gets no storage.conf. It looks for containers below the storage.
    limits = [build_limits(), _PROCESSES]
    return f"""
[containers]
default_ulimits = {json.dumps(limits)}
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
static_dir = "{folder}/storage/libpod"
volume_path = "{folder}/volumes"
tmp_dir = "{run}/engine"
[network]
network_backend = "netavark"
network_config_dir = "{folder}/networks"
"""


def _storage(folder: Path, run: Path) -> str:
    return f"""
[storage]
driver = "overlay"
graphroot = "{folder}/storage"
runroot = "{run}/storage"
"""
