"""Steps of a periodic task that are no concern of each other: one that fails is logged, and the others run."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from redis.exceptions import RedisError

from emendo_client.errors import EmendoError

logger = logging.getLogger(__name__)
T = TypeVar("T")


def run_step(task: str, step: Callable[[], T]) -> T | None:
    """The result of the step; None when it failed.

    Args:
        task: what it is a step of, for the log.
        step: called once.
    """
    try:
        return step()
    except (RedisError, EmendoError) as error:
        logger.warning("a step of %s failed", task, extra={"error": type(error).__name__})
    except Exception:  # any defect or damaged value: the other steps are needed all the same
        logger.exception("a step of %s failed", task)
    return None
