"""The API key that `emendo up` shows. It is kept beside the run's record, so that the next start shows the same one."""

from __future__ import annotations

import os
from pathlib import Path

from emendo_client.exchanges.exchange import run
from emendo_config import Keys, Settings
from emendo_config.store.connections import connect
from emendo_config.store.scripts import sender_for
from emendo_gateway.keys import records
from emendo_gateway.keys.api_key import read_key


def development_key(path: Path, settings: Settings) -> str:
    """A key with all rights in the settings' project: the one in the file while it is valid, else a new one.

    Args:
        path: a file that only its owner may read.

    Raises:
        NetworkError: Redis cannot be asked.
    """
    keys = Keys(settings.key_prefix)
    connection = connect(settings.control_url, settings)
    senders = {"control": sender_for(connection)}
    try:
        text = path.read_text().strip() if path.is_file() else ""
        given = read_key(text)
        if given is not None:
            record, now = run(senders, records.find(keys, given.id))
            is_good = record is not None and record.has_secret(given.secret) and record.is_valid(now)
            if is_good and record is not None and (record.project, record.scope) == (settings.project, "admin"):
                return text
        text, _ = run(senders, records.create(keys, project=settings.project, scope="admin", name="emendo-up"))
    finally:
        connection.close()
    path.unlink(missing_ok=True)  # an existing file would keep its own mode
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(f"{text}\n")
    return text
