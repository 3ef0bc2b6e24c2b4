"""Celery's remote control, reduced to what a dashboard reads, unless `EMENDO_REMOTE_CONTROL` says otherwise.

A program that can write to the broker can send commands: end all workers, shrink their pools, revoke tasks. So a worker
obeys only the commands that Flower's pages need. A command that is malformed, unknown or not obeyed is dropped
with a warning that holds nothing of it. Celery would log it whole, and end the worker in some cases.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from kombu import pidbox

from emendo_workers.runtime.task_messages import MalformedMessageError

logger = logging.getLogger(__name__)

# The commands that change nothing, with the arguments that they may have. Not `hello`, which revokes tasks; not
# `report`, which shows settings; not `objgraph` and `memdump`, which take minutes.
READ: Mapping[str, frozenset[str]] = {
    "active": frozenset({"safe"}),
    "active_queues": frozenset(),
    "clock": frozenset(),
    "conf": frozenset({"with_defaults"}),
    "enable_events": frozenset(),
    "heartbeat": frozenset(),
    "ping": frozenset(),
    "query_task": frozenset({"ids"}),
    "registered": frozenset(),
    "reserved": frozenset({"safe"}),
    "revoked": frozenset(),
    "scheduled": frozenset({"safe"}),
    "stats": frozenset(),
}
# The facts of the broker that a reply may have; its URL and options hold passwords.
_BROKER_FACTS = ("hostname", "port", "transport", "virtual_host", "heartbeat")
_MAX_NAMES = 1_000
_MAX_NAME_CHARS = 512


class ReadingNode(pidbox.Node):
    """A worker's mailbox that obeys only `READ`, and survives every message."""

    obeyed: Mapping[str, frozenset[str]] | None = READ

    def handle_message(self, body: Any, _message: Any = None) -> Any:
        """Carries out the command of a message that is meant for this worker.

        The clock of the message is not taken over: no step of the worker needs it, and a huge one would break events.
        """
        try:
            method, arguments = self._checked(body)
            if method is None:
                return None
        except MalformedMessageError as problem:
            logger.warning("a command of remote control was dropped", extra={"reason": str(problem)})
            return None
        return self.dispatch(method, arguments, reply_to=body.get("reply_to"), ticket=body.get("ticket"))

    dispatch_from_message = handle_message  # type: ignore[assignment]  # Any, not None

    def dispatch(self, method: str, arguments: Any = None, reply_to: Any = None, ticket: Any = None, **_: Any) -> Any:
        """Runs a command, and sends its result to the mailbox that asked."""
        try:
            reply = self.handlers[method](self.state, **(arguments or {}))  # type: ignore[index]  # never None
        except Exception as error:  # noqa: BLE001  # any: the arguments are not ours
            logger.warning(
                "a command of remote control failed", extra={"command": method, "error": type(error).__name__}
            )
            reply = {"error": type(error).__name__}
        if reply_to:
            answer = {self.hostname: _without_secrets(method, reply)}
            try:
                self.reply(answer, exchange=reply_to["exchange"], routing_key=reply_to["routing_key"], ticket=ticket)
            except (ValueError, TypeError):  # kombu cannot read its list of mailboxes
                logger.warning("a command of remote control cannot be answered", extra={"command": method})
        return reply

    def _checked(self, body: Any) -> tuple[str | None, dict[str, Any]]:
        """The command and its arguments; None when it is meant for other workers.

        Raises:
            MalformedMessageError: it is no command, or none that is obeyed here.
        """
        if not isinstance(body, dict):
            raise MalformedMessageError("it is no command")
        method, arguments = body.get("method"), body.get("arguments") or {}
        destination, reply_to, ticket = body.get("destination"), body.get("reply_to"), body.get("ticket")
        if body.get("pattern") or body.get("matcher"):
            raise MalformedMessageError("it chooses workers by a pattern; name them")
        if destination is not None and not _are_names(destination):
            raise MalformedMessageError("its destination is no list of workers")
        if not isinstance(method, str) or method not in (self.handlers or {}):
            raise MalformedMessageError("it names no command of Celery")
        if not isinstance(arguments, dict):
            raise MalformedMessageError("its arguments have no names")
        if not _is_name(ticket, or_none=True) or not self._is_mailbox(reply_to):
            raise MalformedMessageError("its answer would go to no mailbox of remote control")
        if destination and self.hostname not in destination:
            return None, {}
        if self.obeyed is not None:
            if method not in self.obeyed:
                raise MalformedMessageError("workers obey it only with EMENDO_REMOTE_CONTROL=all")
            arguments = {name: value for name, value in arguments.items() if name in self.obeyed[method]}
        return method, arguments

    def _is_mailbox(self, reply_to: Any) -> bool:
        if not reply_to:
            return True
        return (
            isinstance(reply_to, dict)
            and reply_to.get("exchange") == self.mailbox.reply_exchange.name  # type: ignore[union-attr]  # never None
            and _is_name(reply_to.get("routing_key"))
        )


class ObeyingNode(ReadingNode):
    """A mailbox that obeys every command of Celery."""

    obeyed = None


def limit(app: Any, *, obeys_all: bool) -> None:
    """Gives the app's workers such a mailbox."""
    app.control.mailbox.node_cls = ObeyingNode if obeys_all else ReadingNode


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and len(value) <= _MAX_NAMES and all(map(_is_name, value))


def _is_name(value: Any, *, or_none: bool = False) -> bool:
    return (or_none and value is None) or (isinstance(value, str) and len(value) <= _MAX_NAME_CHARS)


def _without_secrets(method: str, reply: Any) -> Any:
    if not isinstance(reply, dict):
        return reply
    if method == "stats" and isinstance(reply.get("broker"), dict):
        return {**reply, "broker": {name: reply["broker"].get(name) for name in _BROKER_FACTS}}
    if method == "conf":
        return {name: value for name, value in reply.items() if not name.startswith(("broker_", "redis_", "result_"))}
    return reply
