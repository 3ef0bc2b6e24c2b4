"""`emendo keys`: the API keys of the HTTP gateway."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import click

from emendo_client.exchanges.exchange import Exchange, run
from emendo_config import Keys, Settings
from emendo_config.store.connections import connect
from emendo_config.store.scripts import sender_for
from emendo_gateway.keys import records
from emendo_gateway.keys.api_key import SCOPES, ApiKey
from emendo_ops.console.examples import examples
from emendo_ops.console.options import json_option
from emendo_ops.console.output import echo, print_entries, print_json

T = TypeVar("T")
_SPAN = re.compile(r"([0-9]{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_SHOWN_ONCE = "The key is shown this once; only its hash is stored."


def _span(_: click.Context, __: click.Parameter, value: str | None) -> float | None:
    if value is None:
        return None
    found = _SPAN.fullmatch(value)
    if found is None:
        raise click.BadParameter("write it like 90d (s, m, h, d, w)")
    return float(int(found[1]) * _SECONDS[found[2]])


@click.group(epilog=examples("emendo keys create --project acme --scope write --name web", "emendo keys list"))
def keys() -> None:
    """Make, list and end the API keys of the HTTP gateway."""


@keys.command(epilog=examples("emendo keys create --project acme --scope write --expires 90d --name web"))
@click.option("--project", required=True, help="The one project that the key opens.")
@click.option("--scope", type=click.Choice(SCOPES), required=True, help="Each scope includes those before it.")
@click.option("--expires", callback=_span, help="Its time to live, such as 90d; default: it does not expire.")
@click.option("--user", help="The only user whose memories it may touch; default: all of the project.")
@click.option("--name", help="A word for people: what uses the key.")
@click.option(
    "--rate",
    type=click.IntRange(0, 1_000_000_000),
    help="Requests in a minute; 0: no limit. Default: EMENDO_GATEWAY_REQUESTS_PER_MINUTE.",
)
@json_option
def create(
    *,
    project: str,
    scope: str,
    expires: float | None,
    user: str | None,
    name: str | None,
    rate: int | None,
    as_json: bool,
) -> None:
    """Make a key. It is shown once."""
    with _control() as (names, call):
        text, record = call(
            records.create(names, project=project, scope=scope, expires_in=expires, user_id=user, name=name, rate=rate)
        )
    _show_new(text, record, as_json=as_json)


@keys.command("list", epilog=examples("emendo keys list --project acme"))
@click.option("--project", help="Default: all of them.")
@json_option
def list_keys(project: str | None, as_json: bool) -> None:
    """List the keys, newest first, without their secrets."""
    with _control() as (names, call):
        found, now = call(records.find_all(names, project))
    if as_json:
        print_json([_document(record, now) for record in found])
        return
    print_entries([_entry(record, now) for record in found], nothing="no keys; emendo keys create makes one")


@keys.command(epilog=examples("emendo keys revoke KEY_ID"))
@click.argument("key_id")
def revoke(key_id: str) -> None:
    """End a key; gateways notice within 5 seconds. KEY_ID is the middle part of em_<id>_<secret>."""
    with _control() as (names, call):
        record = call(records.revoke(names, key_id))
    echo(f"revoked {record.id}; gateways refuse it within 5 seconds")


@keys.command(epilog=examples("emendo keys rotate KEY_ID --grace 1d"))
@click.argument("key_id")
@click.option("--grace", callback=_span, default="1d", show_default=True, help="How long the old key still opens.")
@json_option
def rotate(key_id: str, grace: float, as_json: bool) -> None:
    """Make a key that may do the same, and end the old one after a while."""
    with _control() as (names, call):
        text, record = call(records.rotate(names, key_id, grace=grace))
    _show_new(text, record, as_json=as_json)


class _Call:
    def __init__(self, sender: Any) -> None:
        self._senders = {"control": sender}

    def __call__(self, exchange: Exchange[T]) -> T:
        return run(self._senders, exchange)


@contextmanager
def _control() -> Iterator[tuple[Keys, _Call]]:
    """The key names, and how an exchange runs on the control Redis."""
    settings = Settings()
    connection = connect(settings.control_url, settings)
    try:
        yield Keys(settings.key_prefix), _Call(sender_for(connection))
    finally:
        connection.close()


def _show_new(text: str, record: ApiKey, *, as_json: bool) -> None:
    if as_json:
        print_json({"key": text, **_document(record, record.created)})
        return
    echo(text)
    echo(f"{_SHOWN_ONCE} Send it as: Authorization: Bearer em_…", err=True)


def _document(record: ApiKey, now: float) -> dict[str, Any]:
    return {
        "id": record.id,
        "project": record.project,
        "scope": record.scope,
        "user_id": record.user_id or None,
        "name": record.name or None,
        "rate": record.rate,
        "state": record.state(now),
        "created": _time(record.created),
        "expires": _time(record.expires),
        "revoked": _time(record.revoked),
        "last_used": _time(record.last_used),
    }


def _entry(record: ApiKey, now: float) -> tuple[str, str]:
    """The key's two lines in the list."""
    name = f"  {record.name}" if record.name else ""
    user = f", user {record.user_id} only" if record.user_id else ""
    more = [f"made {_day(record.created)}"]
    if record.expires:
        more.append(f"expires {_day(record.expires)}")
    more.append(f"last used {_day(record.last_used)}" if record.last_used else "never used")
    return f"{record.id}  {record.state(now)}{name}", f"{record.scope} in {record.project}{user}; {', '.join(more)}"


def _time(seconds: float) -> str | None:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else None


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
