"""How much each key or account may ask: requests and tokens a minute, and how many requests at once.

    bucket = Bucket(60, clock)              # sixty at once, then one a second
    bucket.wait_s()  ->  0.0;  bucket.take(1)

Requests are paid for when they come, tokens when they have been used (the route tells how many there were through
`request.state.spend`), so a bucket of tokens may go below zero and the key waits until it is paid back. A key that
is over its measure gets 429 with Retry-After and OpenAI's `x-ratelimit-*` headers, which every other reply has too.
"""

import math
import time
from collections.abc import Callable, Iterator

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from liaoliao.server.auth import OPEN_PATHS, Clock, People
from liaoliao.server.failures import ApiError, error_response, rate_limited
from liaoliao.server.settings import ApiKey, Settings

_NOBODY = ""  # all callers of a server without keys
_LOOKS = frozenset({"GET", "HEAD", "OPTIONS"})
_BUSY_RETRY_S = 1.0  # how long a request takes is not known; ask again soon


class Bucket:
    """Holds a minute's worth at most, and fills up evenly. `clock` gives seconds."""

    def __init__(self, per_minute: int, clock: Clock = time.monotonic) -> None:
        self.per_minute, self._clock = per_minute, clock
        self._level = self._most = float(per_minute)
        self._at = clock()

    @property
    def level(self) -> float:
        """What is there now; below zero after more was used than there was."""
        now = self._clock()
        self._level = min(self._most, self._level + (now - self._at) * self.per_minute / 60)
        self._at = now
        return self._level

    def take(self, amount: float) -> None:
        """Use up an amount, whether it is there or not."""
        self._level = self.level - amount

    def wait_s(self, amount: float = 1.0) -> float:
        """Seconds until so much is there; 0 if it is."""
        return max(0.0, (amount - self.level) * 60 / self.per_minute)

    def reset_s(self) -> float:
        """Seconds until it is full again."""
        return self.wait_s(self._most)


class Allowance:
    """What one key has left. A measure that is not limited is None."""

    def __init__(self, key: ApiKey | None, settings: Settings, clock: Clock) -> None:
        requests = (key and key.requests_per_minute) or settings.requests_per_minute
        tokens = (key and key.tokens_per_minute) or settings.tokens_per_minute
        self.requests = Bucket(requests, clock) if requests else None
        self.tokens = Bucket(tokens, clock) if tokens else None
        self.max_concurrent = (key and key.max_concurrent) or settings.max_concurrent
        self.num_running = 0

    def admit(self) -> None:
        """Count one request in. Raises ApiError 429 that says which measure is full and when to come again."""
        if self.max_concurrent is not None and self.num_running >= self.max_concurrent:
            message = f"Rate limit reached: {self.max_concurrent} requests of this key at once are the most."
            raise rate_limited(message, retry_after_s=_BUSY_RETRY_S)
        for bucket, unit in ((self.requests, "requests"), (self.tokens, "tokens")):
            wait_s = math.ceil(bucket.wait_s()) if bucket else 0
            if bucket and wait_s:
                told = f"Rate limit reached: {bucket.per_minute} {unit} per minute. Try again in {wait_s} s."
                raise rate_limited(told, retry_after_s=float(wait_s))
        if self.requests:
            self.requests.take(1.0)
        self.num_running += 1

    def spend(self, num_tokens: int) -> None:
        """Pay for tokens that were used."""
        if self.tokens:
            self.tokens.take(float(num_tokens))

    def headers(self) -> Iterator[tuple[bytes, bytes]]:
        """What is left, in OpenAI's words."""
        for bucket, unit in ((self.requests, "requests"), (self.tokens, "tokens")):
            if bucket:
                left = max(0, math.floor(bucket.level))
                yield f"x-ratelimit-limit-{unit}".encode(), b"%d" % bucket.per_minute
                yield f"x-ratelimit-remaining-{unit}".encode(), b"%d" % left
                yield f"x-ratelimit-reset-{unit}".encode(), f"{bucket.reset_s():.3f}s".encode()


class Limit:
    """ASGI middleware: every request but those of OPEN_PATHS is counted against its key's allowance.

    All keys of an account share one with its page, where only what changes something is counted: a page that is looked
    at asks often and costs little. Nor is the way in counted here, which `page/throttle.py` watches. The allowances live
    as long as the app: there are as many as keys and accounts, whose number no client decides.
    """

    def __init__(
        self,
        app: ASGIApp,
        settings: Settings,
        page: People | None = None,
        *,
        clock: Clock = time.monotonic,
    ) -> None:
        self.app, self.settings, self.page, self.clock = app, settings, page, clock
        self._allowances: dict[str, Allowance] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count in, serve, count out; or answer 429."""
        if scope["type"] != "http" or scope["path"] in OPEN_PATHS or self._is_free(scope):
            await self.app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        allowance = self._allowance(state.get("api_key"), state.get("account"))
        state["spend"] = _both(state.get("spend"), allowance.spend)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *allowance.headers()]
            await send(message)

        try:
            allowance.admit()
        except ApiError as error:
            await error_response(error, scope["path"])(scope, receive, with_headers)
            return
        try:
            await self.app(scope, receive, with_headers)
        finally:
            allowance.num_running -= 1

    def _is_free(self, scope: Scope) -> bool:
        """Of the page: its files, who is not logged in, and what is only looked at."""
        if self.page is None or not self.page.guards(scope["path"]):
            return False
        return scope["method"] in _LOOKS or "account" not in scope.get("state", {})

    def _allowance(self, key: ApiKey | None, account: str | None = None) -> Allowance:
        # A key that was given other limits, or made anew under an old name, has another hash or other numbers.
        name = f"{key.name} {key.hash} {_numbers(key)}" if key else f" {account}" if account else _NOBODY
        if name not in self._allowances:
            self._forget(key)
            self._allowances[name] = Allowance(key, self.settings, self.clock)
        return self._allowances[name]

    def _forget(self, key: ApiKey | None) -> None:
        """Drop the allowance of an earlier key of the same name."""
        if key:
            for name in [name for name in self._allowances if name.startswith(f"{key.name} ")]:
                del self._allowances[name]


def _numbers(key: ApiKey) -> tuple[int | None, ...]:
    return (key.requests_per_minute, key.tokens_per_minute, key.max_concurrent)


def _both(first: Callable[[int], None] | None, second: Callable[[int], None]) -> Callable[[int], None]:
    """One function that calls two."""
    if first is None:
        return second

    def spend(num_tokens: int) -> None:
        first(num_tokens)
        second(num_tokens)

    return spend
