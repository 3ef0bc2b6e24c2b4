"""The formats of what releases leave for each other in Redis, and the refusal of what is too new to be read safely.

An entry of the registry of spaces, a payload and a job's record may each state a `format`. Without one it is of format
1, which every release reads. A change that a reader may ignore, such as a further field, keeps the number. Any other
one, such as a further kind of operation, raises it. A writer states the lowest number that fits, so that older releases
read as much as they can.
"""

from __future__ import annotations

from typing import Any

from emendo_config.error_codes import ErrorCode
from emendo_config.errors import ConfigurationError

# The field that states the format.
FORMAT = "format"
# Since this format, an entry of the registry may say in which form texts are sent (`passage`, `query`).
REGISTRY_WITH_FORMS = 2
# Since this format, a plan may hold updates that wait for a person (`hold_update`).
PAYLOAD_WITH_PENDING_UPDATES = 2
# The newest formats that this release reads.
REGISTRY, PAYLOAD, RECORD = REGISTRY_WITH_FORMS, PAYLOAD_WITH_PENDING_UPDATES, 1


def require_readable(stated: Any, newest: int, name: str) -> None:
    """Refuses a format that is newer than what this release reads.

    Args:
        stated: the value of FORMAT: a number, its digits, or None where there is none.
        newest: one of REGISTRY, PAYLOAD and RECORD.
        name: of what it is, for the error.

    Raises:
        ConfigurationError: (RELEASE_TOO_OLD) it is newer.
        ValueError, TypeError: it is no format.
    """
    if stated is None or stated == newest:
        return
    if isinstance(stated, float):
        raise TypeError(FORMAT)
    if int(stated) > newest:
        raise too_old(f"{name} has format {int(stated)}, and this release reads none above {newest}")


def too_old(message: str) -> ConfigurationError:
    """The error of a release that is too old for what it found."""
    return ConfigurationError(
        message,
        error_code=ErrorCode.RELEASE_TOO_OLD,
        suggestion="a newer release wrote it: upgrade this process, see docs/how-to/upgrade.md",
    )
