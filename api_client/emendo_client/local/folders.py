"""Folders that processes keep their data in."""

from __future__ import annotations

from pathlib import Path

from emendo_config.errors import ConfigurationError


def make_folder(folder: Path) -> None:
    """Makes the folder, and those it lies in, unless it is there.

    Raises:
        ConfigurationError: it names the folder that cannot be made, and why.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"the folder {folder} cannot be made ({error.strerror})",
            suggestion="give one that you may write to with --dir",
        ) from error
