"""How often somebody may try a password: so much for each name, so much for each address, two at the same time.

    async with attempts.at(name, address) as attempt:       # 429 with Retry-After for who has tried too often
        account = await in_store(store.verify_password, name, password)
        if account: attempt.succeeded()

An attempt is paid for before it is made, so that a thousand at once are no way around. A name that is being tried out
from everywhere is closed for strangers only: from where it logged in before it is measured apart, so that nobody can
lock another out. What is kept of a name or an address is dropped once it is whole again; and is bounded.
"""

import asyncio
import ipaddress
import math
import time
import unicodedata
from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Final

from liaoliao.server.failures import rate_limited

Clock = Callable[[], float]
_PER_NAME: Final = (10, 120.0)  # ten at once, then one in two minutes: 730 a day
_PER_ADDRESS: Final = (50, 5.0)
_AT_ONCE: Final = 2  # a password costs tens of MB and of milliseconds to check
_MAX_WAITING: Final = 50
_MAX_KEPT: Final = 20_000


class _Measure:
    """Attempts left: `most` of them, and one more each `refill_s`."""

    def __init__(self, most: int, refill_s: float, now: float) -> None:
        self.most, self.refill_s = most, refill_s
        self._empty_at = now - most * refill_s  # one number tells it all: when it would have been empty

    def wait_s(self, now: float) -> float:
        """Seconds until an attempt is there; 0 if one is."""
        return max(0.0, self._empty_at + self.refill_s - now)

    def take(self, now: float) -> None:
        self._empty_at = max(self._empty_at, now - self.most * self.refill_s) + self.refill_s

    def give_back(self) -> None:
        self._empty_at -= self.refill_s

    def is_full(self, now: float) -> bool:
        return now - self._empty_at >= self.most * self.refill_s


class Attempt:
    """One attempt that is being made."""

    def __init__(self) -> None:
        self.good = False

    def succeeded(self) -> None:
        """It was the right password: it costs nothing, and its address is known from now on."""
        self.good = True


class Attempts:
    """The attempts of one server. Its methods belong to the event loop."""

    def __init__(self, *, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._measures: dict[Hashable, _Measure] = {}
        self._known: dict[tuple[str, str], None] = {}  # where a name has logged in, oldest first
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._num_waiting = 0

    @asynccontextmanager
    async def at(self, name: str, address: str) -> AsyncIterator[Attempt]:
        """Make one attempt inside. Raises ApiError 429 where it must wait."""
        name, address = _folded(name), network_of(address)
        measures = self._pay(name, address)
        attempt = Attempt()
        async with self._place():
            yield attempt
        if attempt.good:
            for measure in measures:
                measure.give_back()
            self._know(name, address)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._num_waiting >= _MAX_WAITING:
            raise rate_limited("Too many people log in at this moment.", retry_after_s=2.0)
        self._num_waiting += 1
        try:
            async with self._places:
                yield
        finally:
            self._num_waiting -= 1

    def _pay(self, name: str, address: str) -> list[_Measure]:
        now = self._clock()
        known = (name, address) in self._known
        measures = [
            self._measure((name, address) if known else (name,), *_PER_NAME),
            self._measure(address, *_PER_ADDRESS),
        ]
        wait_s = math.ceil(max(measure.wait_s(now) for measure in measures))
        if wait_s:
            told = f"Too many attempts to log in. Try again in {wait_s} s."
            raise rate_limited(told, retry_after_s=float(wait_s))
        for measure in measures:
            measure.take(now)
        return measures

    def _measure(self, key: Hashable, most: int, refill_s: float) -> _Measure:
        if key not in self._measures:
            self._make_room()
            self._measures[key] = _Measure(most, refill_s, self._clock())
        return self._measures[key]

    def _make_room(self) -> None:
        """Drop what is whole again; where that is nothing, what has been there longest."""
        if len(self._measures) < _MAX_KEPT:
            return
        now = self._clock()
        self._measures = {key: one for key, one in self._measures.items() if not one.is_full(now)}
        while len(self._measures) >= _MAX_KEPT:
            del self._measures[next(iter(self._measures))]

    def _know(self, name: str, address: str) -> None:
        self._known.pop((name, address), None)
        self._known[name, address] = None
        while len(self._known) > _MAX_KEPT:
            del self._known[next(iter(self._known))]


def _folded(name: str) -> str:
    """One name for all spellings under which the store finds an account."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).strip()


def network_of(address: str) -> str:
    """An address as one sender: of IPv6 the first half, which is what one customer has."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
