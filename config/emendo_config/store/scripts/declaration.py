"""How a Lua script is declared: once, for Python and for Lua.

    @script(reply=bool)
    def claim(*, wakeup: Key, owner: str, lease_ms: int) -> None:
        \"\"\"True when the drain is the shard's only reader now.\"\"\"

declares `lua/claim.lua`. `claim(wakeup=…, owner=…, lease_ms=…)` builds the command, and `claim.reply(raw)` reads the
reply of Redis. The function's body never runs.

Redis gets the script with a preamble before it, which is made from the declaration:

    wakeup: Key                   local wakeup = KEYS[1]
    migration: OptionalKey        local migration = KEYS[8], or '' when it was not given
    owner: str (int, bytes)       local owner = ARGV[1]
    is_first: bool                local is_first = ARGV[2] == '1'
    share: Number                 local share = tonumber(ARGV[3]); an OptionalNumber that is None is nil
    fields: Values                local fields_from, fields_to: the list's places in ARGV; from > to when it is empty
    applied: KeyList              for key in applied do …: the rest of KEYS
    records: Rows[Record]         for record, job, payload in records do …: one row's fields in each round

The order of the declaration is the order on the wire: keys, single arguments, lists, at most one KeyList or Rows.
A list is sent as a count and as many values. A row is a NamedTuple of keys, single arguments, at most one list. A
parameter with a default may be left out. `<records>_first_key` is the place in KEYS of the first row's first key. A
constant is a text, a number, or a function that returns several texts. The files of `lua/shared/` that a declaration
names come after the preamble.

A Redis user's rights go by key names, so no command has an empty one. An optional key that is not given, before one
that is, is sent as the first key once more. So the first key is never optional, and no other one equals it.

`@script(reads_only=True)` declares a script that writes nothing. It goes through EVALSHA_RO, for which the user of
Redis needs no right to write.

A Redis that has reached `maxmemory` refuses every script that writes, unless its first line allows it (`at_limit`).
`@script(at_limit=True)` declares such a script: it frees memory, or needs little and lets others free it.
`accept.at_limit(…)` is the same for one call of a script that usually takes memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from enum import Enum, auto
from functools import cached_property
from importlib import resources
from typing import Annotated, Any, Generic, NamedTuple, ParamSpec, TypeVar, get_args, get_type_hints

from emendo_config.store.pipeline import Command

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")
Constant = str | int | Sequence[str]


class Kind(Enum):
    """The kinds of parameters: how each is sent, and how Lua sees it."""

    KEY = auto()
    OPTIONAL_KEY = auto()
    TEXT = auto()
    FLAG = auto()
    NUMBER = auto()
    OPTIONAL_NUMBER = auto()
    VALUES = auto()
    KEY_LIST = auto()
    ROWS = auto()


Key = Annotated[str, Kind.KEY]
OptionalKey = Annotated[str | None, Kind.OPTIONAL_KEY]
Number = Annotated[float, Kind.NUMBER]
OptionalNumber = Annotated[float | None, Kind.OPTIONAL_NUMBER]
Values = Annotated[Sequence[Any], Kind.VALUES]
KeyList = Annotated[Sequence[str], Kind.KEY_LIST]
Rows = Annotated[Sequence[T], Kind.ROWS]

_LUA = {
    Kind.KEY: "KEYS[{}]",
    Kind.OPTIONAL_KEY: "KEYS[{0}] ~= KEYS[1] and KEYS[{0}] or ''",
    Kind.TEXT: "ARGV[{}]",
    Kind.FLAG: "ARGV[{}] == '1'",
    Kind.NUMBER: "tonumber(ARGV[{}])",
    Kind.OPTIONAL_NUMBER: "tonumber(ARGV[{}])",
}
# How an argument is sent that Redis does not take as it is.
_SENT = {Kind.FLAG: "int({0})", Kind.OPTIONAL_NUMBER: "('' if {0} is None else {0})"}
_TAIL = 3
# Lets a script run when Redis has reached `maxmemory`.
_AT_LIMIT = "#!lua flags=allow-oom"

# The commands that run a script. Under the second one Redis lets it only read.
RUN, RUN_READING = "EVALSHA", "EVALSHA_RO"

# Every declared script by its name.
TABLE: dict[str, Script[..., Any]] = {}


class Parameters(NamedTuple):
    """A declaration's parameters, sorted by how they are sent.

    Attributes:
        tail: the KeyList or the Rows.
        row: the fields of a row; empty for a KeyList.
    """

    keys: dict[str, Kind]
    arguments: dict[str, Kind]
    lists: list[str]
    tail: str | None
    row: dict[str, Kind]

    @property
    def row_keys(self) -> int:
        """How many keys each member of the tail adds."""
        return list(self.row.values()).count(Kind.KEY) if self.row else int(self.tail is not None)

    @property
    def row_texts(self) -> int:
        """How many single arguments each row adds."""
        return list(self.row.values()).count(Kind.TEXT)

    @property
    def has_row_lists(self) -> bool:
        """True when each row ends with a list."""
        return Kind.VALUES in self.row.values()


class Script(Generic[P, R]):
    """A declared script: it builds its commands, reads its replies and knows its text.

    Attributes:
        name: of the declaration, and of the Lua file.
        reply: turns a reply of Redis into the declared result.
        constants, shared, reads_only, runs_at_limit: as they were declared.
    """

    def __init__(
        self,
        stub: Callable[P, None],
        reply: Callable[[Any], R],
        constants: Mapping[str, Constant],
        shared: Sequence[str],
        *,
        reads_only: bool = False,
        runs_at_limit: bool = False,
    ) -> None:
        self.name = stub.__name__
        self.reply = reply
        self.__doc__ = stub.__doc__
        self._stub = stub
        self._defaults: dict[str, Any] = stub.__kwdefaults__ or {}
        self.constants = constants
        self.shared = shared
        self.reads_only = reads_only
        self.runs_at_limit = runs_at_limit

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> Command:
        """The command that runs the script.

        Raises:
            TypeError: a key or an argument is missing, has no name, or is not declared.
        """
        return self._build(*args, **kwargs)

    def replies(self, raw: Sequence[Any]) -> list[R]:
        """The replies of Redis to several commands of this script."""
        return [self.reply(each) for each in raw]

    def runs_in(self, command: Command) -> bool:
        """True when the command runs this script."""
        return command[0] in (RUN, RUN_READING) and command[1] in (self.digest, self.at_limit.digest)

    @cached_property
    def at_limit(self) -> Script[P, R]:
        """The same script, which Redis also runs when it has reached its memory limit."""
        if self.runs_at_limit:
            return self
        return Script(
            self._stub, self.reply, self.constants, self.shared, reads_only=self.reads_only, runs_at_limit=True
        )

    @cached_property
    def text(self) -> str:
        """The text that Redis gets: the preamble, the shared files, the script's own file."""
        files = [*(f"shared/{name}" for name in self.shared), self.name]
        first = [_AT_LIMIT] if self.runs_at_limit else []
        return "\n".join([*first, self.preamble, *map(_read, files)])

    @cached_property
    def digest(self) -> str:
        """The SHA-1 under which Redis keeps the text (the protocol's own digest, not a safety measure)."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    @cached_property
    def parameters(self) -> Parameters:
        """The parameters, sorted by how they are sent.

        Raises:
            TypeError: they stand in another order.
        """
        hints = get_type_hints(self._stub, include_extras=True)
        del hints["return"]
        kinds = {name: _kind(hint) for name, hint in hints.items()}
        tails = [name for name, kind in kinds.items() if _rank(kind) == _TAIL]
        if next(iter(kinds.values()), None) is Kind.OPTIONAL_KEY:
            raise TypeError(f"{self.name}: the first key stands for those that are not given, so it is not optional")
        if list(kinds.values()) != sorted(kinds.values(), key=_rank) or tails[1:]:
            raise TypeError(f"{self.name}: keys come first, then single arguments, then lists, then one tail at most")
        tail = tails[0] if tails else None
        return Parameters(
            keys={name: kind for name, kind in kinds.items() if _rank(kind) == _rank(Kind.KEY)},
            arguments={name: kind for name, kind in kinds.items() if _rank(kind) == _rank(Kind.TEXT)},
            lists=[name for name, kind in kinds.items() if kind is Kind.VALUES],
            tail=tail,
            row=_row_kinds(hints[tail]) if tail is not None and kinds[tail] is Kind.ROWS else {},
        )

    @cached_property
    def preamble(self) -> str:
        """The Lua names of the declared parameters and constants."""
        found = self.parameters
        lines = [f"local {name} = {_LUA[kind].format(at)}" for at, (name, kind) in enumerate(found.keys.items(), 1)]
        lines += [
            f"local {name} = {_LUA[kind].format(at)}" for at, (name, kind) in enumerate(found.arguments.items(), 1)
        ]
        lines += [_constant(name, value) for name, value in self.constants.items()]
        next_argument = str(len(found.arguments) + 1)
        for name in found.lists:
            lines.append(f"local {name}_from = 1 + {next_argument}")
            lines.append(f"local {name}_to = {name}_from - 1 + ARGV[{name}_from - 1]")
            next_argument = f"1 + {name}_to"
        if found.tail is not None:
            lines.append(_iterator(found.tail, found, len(found.keys) + 1, next_argument))
        return "\n".join(lines)

    @cached_property
    def _build(self) -> Callable[P, Command]:
        """The builder: one expression, made once, because it runs several times for every job."""
        found = self.parameters
        first = next(iter(found.keys), "")
        keys = [f"({name} or {first})" if kind is Kind.OPTIONAL_KEY else name for name, kind in found.keys.items()]
        count = str(len(keys))
        if not self._defaults.keys().isdisjoint(found.keys):
            count, keys = f"len(names := leave_out(({', '.join(found.keys)})))", ["*names"]
        values = [_SENT.get(kind, "{0}").format(name) for name, kind in found.arguments.items()]
        for name in found.lists:
            values += [f"len({name})", f"*{name}"]
        if found.tail is not None:
            count += f" + {found.row_keys} * len({found.tail})"
            rows, texts_at = f"for row in {found.tail} for part in", found.row_keys
            keys.append(f"*[part {rows} row[:{texts_at}]]" if found.row else f"*{found.tail}")
            if found.has_row_lists:
                values.append(f"*[part {rows} (*row[{texts_at}:-1], len(row[-1]), *row[-1])]")
            elif found.row_texts:
                values.append(f"*[part {rows} row[{texts_at}:]]")
        names = [*found.keys, *found.arguments, *found.lists, *([] if found.tail is None else [found.tail])]
        signature = ", ".join(f"{name}={self._defaults[name]!r}" if name in self._defaults else name for name in names)
        command = RUN_READING if self.reads_only else RUN
        source = f"lambda *, {signature}: ('{command}', digest, {', '.join([count, *keys, *values])})"
        build = eval(source, {"digest": self.digest, "leave_out": _leave_out})  # noqa: S307  # nothing but declared names
        build.__name__ = build.__qualname__ = self.name
        return build  # type: ignore[no-any-return]


def script(
    *,
    reply: Callable[[Any], R],
    constants: Mapping[str, Constant] | None = None,
    shared: Sequence[str] = (),
    reads_only: bool = False,
    at_limit: bool = False,
) -> Callable[[Callable[P, None]], Script[P, R]]:
    """Declares `lua/<function's name>.lua`; see the module.

    Args:
        reply: reads the reply of Redis.
        constants: values that the script is to know, by their Lua names.
        shared: files of `lua/shared/` whose functions the script calls.
        reads_only: it writes nothing.
        at_limit: Redis runs it at its memory limit, too; the script's head says why.
    """

    def declare(stub: Callable[P, None]) -> Script[P, R]:
        declared = Script(stub, reply, constants or {}, shared, reads_only=reads_only, runs_at_limit=at_limit)
        TABLE[declared.name] = declared
        return declared

    return declare


def _leave_out(names: Sequence[str | None]) -> list[str]:
    """Keys that were not given: the last ones are not sent, one among others is the first key once more."""
    kept = list(names)
    while len(kept) > 1 and not kept[-1]:
        kept.pop()
    return [name or kept[0] or "" for name in kept]


def _kind(hint: Any) -> Kind:
    if hint is bool:
        return Kind.FLAG
    marks = [mark for mark in getattr(hint, "__metadata__", ()) if isinstance(mark, Kind)]
    return marks[0] if marks else Kind.TEXT


def _rank(kind: Kind) -> int:
    """The place of a kind in a declaration."""
    if kind in (Kind.KEY, Kind.OPTIONAL_KEY):
        return 0
    return {Kind.VALUES: 2, Kind.KEY_LIST: _TAIL, Kind.ROWS: _TAIL}.get(kind, 1)


def _row_kinds(rows: Any) -> dict[str, Kind]:
    """The kinds of a row's fields.

    Raises:
        TypeError: they stand in another order, or are none that a row may have.
    """
    row = get_args(get_args(rows)[0])[0]
    kinds = {name: _kind(hint) for name, hint in get_type_hints(row, include_extras=True).items()}
    allowed = {Kind.KEY, Kind.TEXT, Kind.VALUES}
    found = list(kinds.values())
    if not allowed.issuperset(found) or found != sorted(found, key=_rank) or Kind.VALUES in found[:-1]:
        raise TypeError(f"{row.__name__}: a row has keys, then single arguments, then one list at most")
    return kinds


def _constant(name: str, value: Constant) -> str:
    if isinstance(value, int):
        return f"local {name} = {value}"
    if isinstance(value, str):
        return f"local {name} = '{value}'"
    texts = ", ".join(f"'{text}'" for text in value)
    return f"local function {name}() return {texts} end"


def _iterator(tail: str, parameters: Parameters, first_key: int, first_argument: str) -> str:
    """A function for Lua's `for … in`: one row's fields at a time, in their order, until KEYS ends."""
    keys, texts, has_lists = parameters.row_keys, parameters.row_texts, parameters.has_row_lists
    found = [f"KEYS[key + {at}]" for at in range(keys)] + [f"ARGV[argument + {at}]" for at in range(texts)]
    lines = [f"local {tail}_first_key = {first_key}", f"local next_key = {tail}_first_key"]
    if texts or has_lists:
        lines.append(f"local next_argument = {first_argument}")
    lines += [
        f"local function {tail}()",
        "  if next_key > #KEYS then return nil end",
        "  local key = next_key",
        f"  next_key = key + {keys}",
    ]
    if texts or has_lists:
        lines.append("  local argument = next_argument")
    if has_lists:
        lines += [f"  local from = argument + {texts + 1}", "  local to = from - 1 + ARGV[from - 1]"]
        lines.append("  next_argument = to + 1")
        found += ["from", "to"]
    elif texts:
        lines.append(f"  next_argument = argument + {texts}")
    return "\n".join([*lines, f"  return {', '.join(found)}", "end"])


def _read(name: str) -> str:
    return resources.files("emendo_config.store").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
