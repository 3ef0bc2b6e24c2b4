"""Checks before the stack starts: installed extras, and the user's own Redis."""

from __future__ import annotations

import os

from emendo_client.testing.given_redis import require_search
from emendo_client.testing.redis_servers import find_server, pip_has_one
from emendo_config import Settings
from emendo_config.errors import ConfigurationError
from emendo_ops import extras


def own_redis_url() -> str:
    """The URL of the user's own Redis; empty if the stack starts one."""
    return os.environ.get("EMENDO_REDIS_URL", "").strip()


def require_components(settings: Settings, *, own_redis: bool) -> None:
    """Checks that the stack can run on this machine.

    Args:
        own_redis: the user brings a Redis, so none has to be found here.

    Raises:
        ConfigurationError: packages, or a Redis with search, are missing; it names all of them.
    """
    needed = ["worker", "flower", "gateway", *(["local"] if settings.space.provider == "local" else [])]
    lacking = extras.missing(needed)
    problems = [f"{module} is not installed" for module in lacking]
    to_install = set(lacking.values())
    more = ""
    if not own_redis:
        try:
            find_server()
        except ConfigurationError as error:
            if not lacking:
                raise
            problems.append(error.message)
            if pip_has_one():
                to_install.add("local")
            else:
                more = f"; {error.suggestion}"
    if problems:
        advice = f"{extras.advice(to_install)} (or 'emendo[all]'){more}"
        raise ConfigurationError("; ".join(problems), suggestion=advice)


def require_answer(settings: Settings) -> None:
    """Asks the user's own Redis once.

    Raises:
        ConfigurationError: it does not answer, refuses the user or password, or has no search module.
    """
    require_search(settings.redis_url, otherwise="unset it to let emendo up start its own Redis")
