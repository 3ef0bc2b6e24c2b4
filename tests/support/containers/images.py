"""Stand-ins for the public images that docker-compose.yml names, and what a build of our own image has to know."""

from __future__ import annotations

import ast
import hashlib
import os
import re
import shutil
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from emendo_client.testing.redis_servers import find_server
from tests.support.containers.engine import Engine, build_limits

_PYTHON = ("python3", "python3-venv", "python-is-python3", "ca-certificates")
_OTHERS = ("libgomp1", "libssl3", "redis-tools", "wget")  # for Redis, and for the health checks

_REDIS = """
FROM {python}
RUN (id redis || useradd --system --user-group redis) && install --directory --owner redis --group redis /data
COPY files/ /usr/local/bin/
VOLUME /data
WORKDIR /data
"""
# The public image loads its modules by itself, too.
_REDIS_SERVER = """#!/bin/sh
exec /usr/local/bin/redis-server-alone "$@" {modules}
"""
_PROMETHEUS = """
FROM {python}
COPY files/ /bin/
RUN install --directory --owner nobody --group nogroup /prometheus
USER nobody
VOLUME /prometheus
WORKDIR /prometheus
ENTRYPOINT ["/bin/prometheus"]
CMD ["--config.file=/etc/prometheus/prometheus.yml", "--storage.tsdb.path=/prometheus"]
"""


class PublicImages(NamedTuple):
    """The names of the public images, or of what takes their places. An empty one cannot be had here."""

    python: str
    redis: str
    prometheus: str
    grafana: str

    def variables(self) -> dict[str, str]:
        """As docker-compose.yml has them."""
        return {f"EMENDO_{name.upper()}_IMAGE": image for name, image in self._asdict().items() if image}


def public_images(engine: Engine, folder: Path) -> PublicImages:
    """Those that this process's own variables name, such as EMENDO_REDIS_IMAGE, else stand-ins.

    Args:
        engine: gets the images.
        folder: for the files of a build.
    """
    given = {name: os.environ.get(f"EMENDO_{name.upper()}_IMAGE", "") for name in PublicImages._fields}
    debian = _debian(engine)
    return PublicImages(
        python=given["python"] or debian,
        redis=given["redis"] or _redis(engine, folder / "redis", debian),
        prometheus=given["prometheus"] or _prometheus(engine, folder / "prometheus", debian),
        grafana=given["grafana"],
    )


def _debian(engine: Engine) -> str:
    """A small Debian of this machine's release with Python, from where this machine has its own packages."""
    release = re.findall(r"^VERSION_CODENAME=(\S+)$", Path("/etc/os-release").read_text(), re.MULTILINE)[0]
    form = "$(TARGET_OF) $(REPO_URI) $(CODENAME) $(COMPONENT)"
    asked = subprocess.run(
        ["apt-get", "indextargets", "--format", form, "Created-By: Packages", "Origin: Debian"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    sources = [line for line in dict.fromkeys(asked.splitlines()) if re.fullmatch(rf"deb \S+ {release}\S* main", line)]
    name = _name("python", release, *_PYTHON, *_OTHERS)
    if not engine.has_image(name):
        make = [
            "mmdebstrap",
            "--quiet",
            "--variant=minbase",
            f"--include={','.join((*_PYTHON, *_OTHERS))}",
            *_apt_options(),
        ]
        with subprocess.Popen([*make, release, "-", *sources], stdout=subprocess.PIPE) as made:
            engine("import", "--change", 'CMD ["python"]', "-", name, stdin=made.stdout)
        assert made.returncode == 0, "mmdebstrap failed"
    return name


def _apt_options() -> list[str]:
    """How this machine's apt gets packages: through a proxy, say."""
    said = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    chosen = re.findall(r'^(Acquire::(?:Check-|https?|Retries).* ".+";)$', said, re.MULTILINE)
    return [f"--aptopt={line}" for line in chosen]


def _redis(engine: Engine, folder: Path, debian: str) -> str:
    server, *modules = find_server().files
    options = " ".join(f"--loadmodule /usr/local/bin/{module.name}" for module in modules)
    files = {"redis-server-alone": server, **{each.name: each for each in modules}}
    return _built(
        engine, folder, _REDIS.format(python=debian), files, {"redis-server": _REDIS_SERVER.format(modules=options)}
    )


def _prometheus(engine: Engine, folder: Path, debian: str) -> str:
    program = shutil.which("prometheus")
    return (
        _built(engine, folder, _PROMETHEUS.format(python=debian), {"prometheus": Path(program)}, {}) if program else ""
    )


def _built(engine: Engine, folder: Path, recipe: str, files: dict[str, Path], written: dict[str, str]) -> str:
    """Builds an image of a recipe and programs, unless it is here."""
    contents = [each.read_bytes() for each in files.values()]
    name = _name(
        folder.name, recipe, *files, *written.values(), *(hashlib.sha256(each).hexdigest() for each in contents)
    )
    if not engine.has_image(name):
        (folder / "files").mkdir(parents=True)
        (folder / "Dockerfile").write_text(recipe)
        for program, content in zip(files, contents, strict=True):
            (folder / "files" / program).write_bytes(content)
        for program, text in written.items():
            (folder / "files" / program).write_text(text)
        for path in (folder / "files").iterdir():
            path.chmod(0o755)
        engine("build", "--ulimit", build_limits(), "--tag", name, str(folder))
    return name


def _name(what: str, *content: str) -> str:
    return f"localhost/emendo-stand-in-{what}:{hashlib.sha256(repr(content).encode()).hexdigest()[:16]}"


# Where pip finds packages, and whom it trusts. The lock says which packages.
_PLACES = frozenset({"index-url", "extra-index-url", "find-links", "cert", "client-cert", "proxy", "trusted-host"})
_PATIENCE = frozenset({"timeout", "default-timeout", "retries"})


def build_options(folder: Path) -> list[str]:
    """Options of `podman build` with which pip in the build asks whom pip asks here, and trusts whom it trusts.

    Podman itself passes the variables of a proxy on.

    Args:
        folder: for pip's configuration.
    """
    said = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True
    ).stdout
    own = ConfigParser(interpolation=None)
    own.add_section("global")
    mounted = set()
    # The environment comes first in pip's list, and counts most.
    for section, option, value in reversed(re.findall(r"^(\S+?)\.'?([\w-]+)'?=(.*)$", said, re.MULTILINE)):
        name, text = option.strip("."), str(ast.literal_eval(value))
        if section not in {"global", ":env:", "download"} or name not in _PLACES | _PATIENCE:
            continue
        own.set("global", name, text)
        paths = [unquote(urlsplit(word).path) if word.startswith("file:") else word for word in text.split()]
        mounted |= {str(_whole(Path(path))) for path in paths if path.startswith("/") and Path(path).exists()}
    trusted = Path("/etc/ssl/certs/ca-certificates.crt")  # a newer pip trusts it without being told
    mounted |= {str(trusted)} if trusted.is_file() else set()
    configuration = folder / "pip.conf"
    with configuration.open("w") as file:
        own.write(file)
    volumes = [f"{configuration}:/etc/pip.conf:ro", *(f"{path}:{path}:ro" for path in sorted(mounted))]
    return ["--ulimit", build_limits(), *(word for each in volumes for word in ("--volume", each))]


def _whole(path: Path) -> Path:
    """The folder of an index's files lies beside that of its pages."""
    return path.parent if path.name == "simple" else path
