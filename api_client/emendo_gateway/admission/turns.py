"""How many requests begin in one turn of the event loop, so that none of them keeps a health check waiting.

A loop works through all that is ready before it looks at its connections again. When many requests arrive at one
moment, that takes as long as all of them together. So only some begin in each turn, and the others are next.
"""

from __future__ import annotations

import asyncio
from collections import deque

# Each takes less than a millisecond. Fewer would share fewer round trips to Redis.
BEGIN_AT_ONCE = 8


class Turns:
    """Lets requests begin, in their order, some in each turn of the loop.

    Args:
        each: so many.
    """

    def __init__(self, each: int = BEGIN_AT_ONCE) -> None:
        self._each = each
        self._left = each
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_counting = False

    async def take(self) -> None:
        """Waits for a turn; it is at once, when few requests begin."""
        loop = asyncio.get_running_loop()
        if not self._is_counting:
            self._is_counting = True
            loop.call_soon(self._next)
        if self._left > 0:  # then nobody waits
            self._left -= 1
            return
        turn = loop.create_future()
        self._waiting.append(turn)
        await turn

    def _next(self) -> None:
        """Begins the next turn of the loop; called in each one as long as requests begin."""
        if self._left == self._each:  # then nobody waits
            self._is_counting = False
            return
        self._left = self._each
        while self._waiting and self._left > 0:
            turn = self._waiting.popleft()
            if not turn.done():  # its client is still there
                turn.set_result(None)
                self._left -= 1
        asyncio.get_running_loop().call_soon(self._next)
