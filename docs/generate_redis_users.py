"""Writes docs/reference/redis-users.md: what each role may do in Redis, and what Redis refuses it.

`python -m docs.generate_redis_users` in the repository's folder. `tests/security/test_redis_attacks.py` holds the
second table against a real Redis.
"""

# ruff: noqa: INP001  # a script, not a package

from __future__ import annotations

from pathlib import Path

from emendo_config.redis_users import ROLES, Names, acl_file, rights_of
from tests.security.redis_attacks import ALLOWED, ATTACKS
from tests.security.redis_attacks import ROLES as ATTACKED

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "reference" / "redis-users.md"
ACL_FILE = ROOT / "ops" / "redis" / "users.acl"

_HEAD = """\
# Redis users

`docs/generate_redis_users.py` writes this page from the code. [How to make the users](../../ops/README.md#redis-users)
shows the commands, and [the page on security](../security.md#redis-users) what they protect.

Each process has a Redis user of its own role. Redis checks the commands within a script by the rights of the user who
runs it. Key names carry no project, so these rules do not part the projects of one prefix.

## Rights

The keys begin with the prefix. `*` is any text. The worker may use every key of the prefix.
"""

_ATTACKS = """\

## Attacks

Redis refuses these commands; `-` marks one that is the role's own work.
"""


def page() -> str:
    """The page as it should be."""
    names = Names.of("emendo:")
    lines = [_HEAD]
    for role in ROLES:
        rights = rights_of(role, names)
        purpose = (ROLES[role].__doc__ or "").strip()
        lines += [f"### {role}", "", purpose, ""]
        for title, values in (
            ("writes", rights.writes),
            ("reads", rights.reads),
            ("channels", rights.channels),
            ("commands", sorted(rights.commands)),
        ):
            lines.append(f"- {title}: {', '.join(f'`{value}`' for value in values) or 'none'}")
        lines.append("")
    lines[-1:] = [_ATTACKS]
    for group, attacks in ATTACKS.items():
        lines += [f"### {group}", "", f"| attack | command | {' | '.join(ATTACKED)} |"]
        lines.append(f"| --- | --- |{' --- |' * len(ATTACKED)}")
        for name, command in attacks.items():
            cells = ["-" if role in ALLOWED.get(name, ()) else "refused" for role in ATTACKED]
            lines.append(f"| {name} | `{_shown(command)}` | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def _shown(command: tuple[object, ...]) -> str:
    """The command's name, with its subcommand or its key."""
    words = [str(word) for word in command[:2]]
    return words[0] if words[0].startswith(("EVAL", "FUNCTION")) else " ".join(words)


def main() -> None:
    """Writes the page and the ACL file."""
    PAGE.write_text(page(), encoding="utf-8")
    ACL_FILE.write_text(acl_file(Names.of("emendo:")), encoding="utf-8")


if __name__ == "__main__":
    main()
