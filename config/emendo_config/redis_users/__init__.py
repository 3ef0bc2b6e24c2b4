"""The users of Redis: what each role may do there, as rules for Redis' ACL file.

`roles` says it, once for `ops/redis/users.acl`, `emendo redis-users`, the tests and the look at one's own rights.
"""

from emendo_config.redis_users.acl import acl_file, rules_of
from emendo_config.redis_users.own_rights import missing_rights
from emendo_config.redis_users.roles import PLANES, ROLES, Names, Plane, Rights, rights_of

__all__ = [
    "PLANES",
    "ROLES",
    "Names",
    "Plane",
    "Rights",
    "acl_file",
    "missing_rights",
    "rights_of",
    "rules_of",
]
