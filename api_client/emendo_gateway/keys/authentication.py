"""Checks a request's key or token. A checked key is remembered for 5 seconds, so it ends that long after revocation."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import NamedTuple, TypeVar
from weakref import WeakValueDictionary

from emendo_client.errors import AuthenticationError, EmendoError, RateLimitError, TransientError
from emendo_client.exchanges.exchange import run_async
from emendo_config import Keys
from emendo_config.error_codes import ErrorCode
from emendo_config.store.scripts import AsyncSender
from emendo_gateway.callers import Caller
from emendo_gateway.keys import records
from emendo_gateway.keys.api_key import ApiKey, GivenKey, digest, read_key
from emendo_gateway.keys.tokens import Tokens, looks_like_token
from emendo_gateway.rates import Rates

REMEMBERED = 5.0  # seconds
_MOST_REMEMBERED = 10_000
_NOTED_EVERY = 300.0  # seconds between two notes that a key was used
_LONGEST_TURN = 5.0  # seconds that an attempt waits for others of its address
_SCHEMES = frozenset({"bearer", "token"})
T = TypeVar("T")


class _Known(NamedTuple):
    """A record, whom it stands for, and when it was read, by Redis and by this process's monotonic clock."""

    record: ApiKey
    caller: Caller
    redis_time: float
    read_at: float

    def now(self) -> float:
        """The time of Redis, as far as it is known."""
        return self.redis_time + time.monotonic() - self.read_at


class _Attempt:
    """Whether an attempt failed: until it is known, it did."""

    def __init__(self) -> None:
        self.is_failure = True

    def opened(self, found: T | None) -> T | None:
        """Notes what was found."""
        self.is_failure = found is None
        return found


class Authenticator:
    """Finds out who makes a request.

    Args:
        control: the sender of the control Redis.
        failed_logins: how many wrong keys one address may send in a minute.
        tokens: None where no issuer of tokens is set.
    """

    def __init__(
        self, control: AsyncSender, keys: Keys, rates: Rates, failed_logins: int, tokens: Tokens | None = None
    ) -> None:
        self._senders = {"control": control}
        self._keys = keys
        self._rates = rates
        self._failed_logins = failed_logins
        self._tokens = tokens
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._noted: dict[str, float] = {}
        # Held while a key is asked for. A thousand waits that begin at one moment would else ask a thousand times.
        self._turns: WeakValueDictionary[GivenKey, asyncio.Lock] = WeakValueDictionary()
        self._attempts: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()  # by address

    async def caller(self, authorization: Iterable[bytes], address: str) -> Caller:
        """The caller that these `Authorization` fields stand for.

        Args:
            address: the client's.

        Raises:
            AuthenticationError: (KEY_REFUSED) there is no key, or it opens nothing.
            RateLimitError: (TOO_MANY_FAILED_LOGINS)
            NetworkError: Redis cannot be asked, or the keys of the tokens' issuer are not known.
        """
        fields = list(authorization)
        if not fields:  # no attempt, so nothing is counted
            raise _refused("the request has no key")
        text = _text(fields)
        if self._tokens is not None and looks_like_token(text):
            return await self._caller_of_token(self._tokens, text, _bucket(address))
        given = read_key(text)
        known = self._remembered(given)
        if known is None:
            async with self._turn(given):
                known = self._remembered(given) or await self._asked(given, _bucket(address))
        await self._note_use(known)
        return known.caller

    async def still_opens(self, authorization: Iterable[bytes]) -> bool:
        """False once the key or token of a long answer has expired or was revoked.

        It is no attempt to get in, so it is not counted. While nobody can be asked, the answer goes on.
        """
        text = _text(list(authorization))
        try:
            if self._tokens is not None and looks_like_token(text):
                return (self._tokens.remembered(text) or await self._tokens.caller(text)) is not None
            given = read_key(text)
            async with self._turn(given):
                return (self._remembered(given) or await self._look_up(given)) is not None
        except EmendoError:
            return True

    async def _asked(self, given: GivenKey | None, bucket: str) -> _Known:
        async with self._attempt(bucket) as attempt:
            known = attempt.opened(await self._look_up(given))
        if known is None:
            raise _refused("the key is malformed, unknown, expired or revoked")
        return known

    async def _caller_of_token(self, tokens: Tokens, text: str, bucket: str) -> Caller:
        caller = tokens.remembered(text)
        if caller is None:
            async with self._attempt(bucket) as attempt:
                caller = attempt.opened(await tokens.caller(text))
        if caller is None:
            raise _refused("the token is malformed, expired, of another issuer or audience, or lacks a claim")
        return caller

    def _turn(self, given: GivenKey | None) -> AbstractAsyncContextManager[None]:
        return nullcontext() if given is None else self._turns.setdefault(given, asyncio.Lock())

    def _remembered(self, given: GivenKey | None) -> _Known | None:
        known = self._known.get(given.id) if given else None
        if given is None or known is None or time.monotonic() - known.read_at >= REMEMBERED:
            return None
        return known if known.record.has_secret(given.secret) and known.record.is_valid(known.now()) else None

    async def _look_up(self, given: GivenKey | None) -> _Known | None:
        if given is None:
            return None
        read_at = time.monotonic()  # before the question, so that nothing is remembered for longer
        record, redis_time = await run_async(self._senders, records.find(self._keys, given.id))
        if record is None:
            digest(given.secret)  # as much work as for a key that exists
            return None
        if not record.has_secret(given.secret) or not record.is_valid(redis_time):
            return None
        caller = Caller(record.project, record.scope, record.user_id or None, record.id, record.rate)
        known = self._known[given.id] = _Known(record, caller, redis_time, read_at)
        self._known.move_to_end(given.id)
        if len(self._known) > _MOST_REMEMBERED:
            forgotten, _ = self._known.popitem(last=False)
            self._noted.pop(forgotten, None)
        return known

    @asynccontextmanager
    async def _attempt(self, bucket: str) -> AsyncIterator[_Attempt]:
        """One attempt with a key or token that is not known yet.

        It is counted as a failure before it is checked, and given back if it was none. So attempts at one moment cannot
        pass the limit together. At most half of the limit are checked at once here. So many right keys that are new, as
        after a restart, are not refused for one another's sake.

        Raises:
            RateLimitError: (TOO_MANY_FAILED_LOGINS)
            TransientError: (OVERLOADED) too many attempts from the address are being checked.
        """
        turn = self._attempts.setdefault(bucket, asyncio.Semaphore(max(1, self._failed_logins // 2)))
        try:
            async with asyncio.timeout(_LONGEST_TURN):
                await turn.acquire()
        except TimeoutError:
            raise TransientError(
                "many keys from this address are being checked",
                error_code=ErrorCode.OVERLOADED,
                suggestion="send it again in some seconds",
            ) from None
        try:
            used = await self._rates.count("login", bucket, self._failed_logins)
            if not used.is_within:
                raise RateLimitError(
                    "too many requests with a wrong key came from this address",
                    error_code=ErrorCode.TOO_MANY_FAILED_LOGINS,
                    retry_after=float(max(1, math.ceil(used.reset))),
                    suggestion="correct the key, and wait",
                )
            attempt = _Attempt()
            try:
                yield attempt
            except EmendoError:  # nothing is known of the key
                attempt.is_failure = False
                raise
            finally:
                if used.is_counted and not attempt.is_failure:
                    await self._rates.give_back("login", bucket, self._failed_logins)
        finally:
            turn.release()

    async def _note_use(self, known: _Known) -> None:
        key_id, now = known.record.id, known.now()
        if now - self._noted.get(key_id, known.record.last_used) >= _NOTED_EVERY:
            self._noted[key_id] = now
            await run_async(self._senders, records.touch(self._keys, known.record, now))


def _text(fields: list[bytes]) -> str:
    """The key or token in the fields; empty unless there is exactly one field, with a known scheme."""
    if len(fields) != 1:
        return ""
    scheme, _, text = fields[0].decode("latin-1").strip().partition(" ")
    return text.strip() if scheme.lower() in _SCHEMES else ""


def _bucket(address: str) -> str:
    """The name under which failures are counted: an address, or the network that one IPv6 customer gets."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv4Address):
        return str(parsed)
    return str(parsed.ipv4_mapped or ipaddress.ip_network((parsed, 64), strict=False).network_address)


def _refused(problem: str) -> AuthenticationError:
    return AuthenticationError(
        problem,
        error_code=ErrorCode.KEY_REFUSED,
        suggestion="send Authorization: Bearer em_… with a key that emendo keys create made",
    )
