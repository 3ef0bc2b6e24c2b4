"""Builds the stand-ins of the public images, of Debian's packages and the embedded Redis: see Containerfile."""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

from emendo_client.testing.redis_servers import find_server
from tests.support.containers.machine import Machine

_HERE = Path(__file__).resolve().parent
# The real images have these, too. redis-tools brings redis-cli, busybox wget, and the embedded Redis needs libstdc++.
_PACKAGES = (
    "base-files,base-passwd,bash,busybox,ca-certificates,coreutils,dash,findutils,grep,gzip,hostname,libc-bin,libstdc++6,"
    "login,netbase,passwd,python3,python3-venv,redis-tools,sed,tar,tzdata,util-linux"
)
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")


_BUILD = ("podman", "build", "--quiet", "--ulimit", "nofile=20000:20000")


def have_debian(machine: Machine, folder: Path) -> str | None:
    """Makes what all stand-ins begin with; the problem, if Debian's packages cannot be had or podman runs nothing.

    Args:
        machine: gets the image.
        folder: gets what goes into this image and into the others.
    """
    folder.mkdir()
    codename = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    bootstrap = ["mmdebstrap", "--quiet", "--mode=root", "--variant=extract", f"--include={_PACKAGES}", codename]
    shutil.copy(_HERE / "Containerfile", folder)
    for command, outer_network in (
        ([*bootstrap, str(folder / "debian.tar")], True),
        ([*_BUILD, "--target", "debian", str(folder)], False),
    ):
        done = machine.run(command, outer_network=outer_network, check=False)
        if done.returncode != 0:
            return f"{command[0]} ended with {done.returncode}: {done.stderr.strip()[-300:]}"
    return None


def build_stand_ins(machine: Machine, folder: Path) -> list[str]:
    """Makes the images under the names of docker-compose.yml, and returns those names.

    Args:
        machine: gets the images.
        folder: that of `have_debian`; removed at the end.
    """
    shutil.copy(_HERE / "docker-entrypoint.sh", folder)
    server, module = find_server().files
    shutil.copy(server, folder / "redis-server")
    shutil.copy(module, folder / "redisearch.so")
    (folder / "pip.conf").write_text(f"[global]\ncert = /etc/{_CERTIFICATES.name}\n")
    shutil.copy(_CERTIFICATES, folder)
    images = {"python": "python:3.12-slim", "redis": "redis:8"}
    if (prometheus := shutil.which("prometheus")) is not None:
        shutil.copy(prometheus, folder)
        images["prometheus"] = "prom/prometheus"
    for target, name in images.items():
        machine.run([*_BUILD, "--target", target, "--tag", name, str(folder)])
    shutil.rmtree(folder)
    return list(images.values())
