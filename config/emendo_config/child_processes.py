"""How this installation's own programs are started: from a safe path, with the variables that each one needs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal

# A program of the installation; `stack` starts all the others.
Role = Literal["stack", "worker", "beat", "flower", "gateway", "redis"]

# Any program needs these. Others may hold secrets: a process gets only those that it has a use for.
_PLAIN = {
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "TERM", "NO_COLOR", "VIRTUAL_ENV"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR"),
}
_PLAIN_BEGINNINGS = ("LC_", "LD_", "DYLD_", "PYTHON", "COVERAGE_", "MALLOC_")
_EMBEDDING = ("EMENDO_EMBEDDING_", "OPENAI_")
_CHAT = ("EMENDO_CHAT_",)
_FLOWER = ("EMENDO_FLOWER_", "FLOWER_")


def python_module(name: str, *words: str) -> list[str]:
    """`python -m name …` by this interpreter. The current folder is not on its path: anybody may have written there."""
    return [sys.executable, "-P", "-m", name, *words]


def environment_for(role: Role) -> dict[str, str]:
    """The variables of this process that a program of this role needs.

    Workers get all but Flower's, since their providers may need any. The gateway embeds search queries. The others
    get no key of a provider.
    """
    variables = {name: value for name, value in os.environ.items() if _needs(role, name)}
    places = variables.pop("PYTHONPATH", "").split(os.pathsep)
    path = os.pathsep.join(each for each in places if Path(each).is_absolute())
    return {**variables, "PYTHONSAFEPATH": "1", **({"PYTHONPATH": path} if path else {})}


def _needs(role: Role, name: str) -> bool:
    if role == "stack" or name in _PLAIN or name.startswith(_PLAIN_BEGINNINGS):
        return True
    if name.startswith(_FLOWER):
        return role == "flower"
    if role == "worker":
        return True
    if name.startswith(_EMBEDDING):
        return role == "gateway"
    return role != "redis" and name.startswith("EMENDO_") and not name.startswith(_CHAT)
