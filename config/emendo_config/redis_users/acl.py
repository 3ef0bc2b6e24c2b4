"""Redis' ACL file of the roles."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from emendo_config.redis_users.roles import PLANES, ROLES, Names, Plane, Rights, rights_of

# A user that may log in and has no password: Redis refuses every one.
NO_PASSWORD = "resetpass"  # noqa: S105  # a word of the ACL's
# Nobody can be this user. It has every right all the same, since Redis reads its append-only file as `default`. Redis
# 8.2 drops each transaction that the user may not do then (redis/redis#14541): all that scripts wrote would be lost.
DEFAULT_USER = "user default off resetpass allkeys allchannels allcommands"


def rules_of(rights: Rights) -> str:
    """The rights as ACL rules: everything that they do not name is taken away."""
    keys = [*(f"~{each}" for each in rights.writes), *(f"%R~{each}" for each in rights.reads)]
    channels = [f"&{each}" for each in rights.channels]
    # A right to one first argument only counts while the whole command is not allowed.
    whole = {command for command in rights.commands if command.partition("|")[0] not in rights.commands - {command}}
    commands = [f"+{command}" for command in sorted(whole)]
    return " ".join(["resetkeys", *keys, "resetchannels", *channels, "-@all", *commands])


def acl_file(names: Names, planes: Iterable[Plane] = PLANES, passwords: Mapping[str, str] | None = None) -> str:
    """The file for one Redis.

    Args:
        names: of the installation.
        planes: that the Redis serves.
        passwords: by role. The file holds their SHA-256. Without one, nobody can log in as the role.
    """
    planes = tuple(planes)
    lines = [DEFAULT_USER]
    for role in ROLES:
        rights = rights_of(role, names, planes)
        if rights == Rights():
            continue
        password = (passwords or {}).get(role)
        secret = NO_PASSWORD if password is None else f"resetpass #{hashlib.sha256(password.encode()).hexdigest()}"
        lines.append(f"user {role} on {secret} {rules_of(rights)}")
    return "\n".join(lines) + "\n"
