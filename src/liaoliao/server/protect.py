"""What stands between a socket and the routes, put into an app by `install`.

    Identify      an id for the request, no other protocol than HTTP      observe.py
    Observe       one line of the log, metrics, the last answer           observe.py
    CORS          pages from elsewhere, where some are allowed            starlette
    HeaderLimit   431 for too many or too large headers
    Authenticate  401 without a good key, where there are keys            auth.py
    LocalOnly     403 for foreign pages and names, where there are none
    Door          401 and 403 for the page's interface, where there is one    page/door.py
    Limit         429 for a key over its measure                          limits.py
    Shed          503 at once, where the queue is full anyway
    BodyLimit     413, 408, 503 for bodies too large, too slow, too many

in this order, so that nothing is read of a body before its sender is known. All of them are plain ASGI: they pass
on every message at once, so a stream flows, and a client that leaves is felt by the route.
"""

import asyncio
import re
from collections.abc import Mapping

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from liaoliao.server.auth import Authenticate, KeyRing
from liaoliao.server.failures import ApiError, error_response, overloaded
from liaoliao.server.headers import LOCAL_NAMES, host_name, is_own_page, only
from liaoliao.server.limits import Limit
from liaoliao.server.metrics import CountedModel, Metrics, Models
from liaoliao.server.observe import Identify, Observe
from liaoliao.server.page.door import Door, Entry
from liaoliao.server.routes import health
from liaoliao.server.routes import metrics as metrics_route
from liaoliao.server.settings import Settings

_GENERATES = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"})
_ROOM_S = 1.0  # a place becomes free with every reply that ends
_EXPOSED = ["x-request-id", "retry-after"] + [
    f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")
]


def install(app: FastAPI, settings: Settings, entry: Entry | None = None) -> None:
    """Put all of the above around an app, with /health, /ready and /metrics in it; `entry` is that of its page.

    `app.state` gets `keys` (a KeyRing, if keys are asked for), `metrics` and `draining`. Raises UsageError or
    ConfigError for a key file that is not there or cannot be read.
    """
    app.state.draining = False

    def models() -> Mapping[str, CountedModel]:
        return getattr(app.state, "models", {})

    app.state.metrics = Metrics(models)
    app.state.keys = KeyRing(settings.api_keys, settings.api_key_file) if settings.needs_key else None
    app.include_router(health.router)
    app.include_router(metrics_route.router)
    app.add_middleware(BodyLimit, settings=settings)  # the last one added is the first one passed
    app.add_middleware(Shed, models=models, settings=settings)
    app.add_middleware(Limit, settings=settings, page=entry)
    if entry is not None:
        app.add_middleware(Door, entry=entry)
    if app.state.keys is None:
        app.add_middleware(LocalOnly, settings=settings)
    else:
        app.add_middleware(Authenticate, ring=app.state.keys, people=entry)
    app.add_middleware(HeaderLimit, settings=settings)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=settings.cors_origins, allow_methods=["GET", "POST"],
            allow_headers=["*"], expose_headers=_EXPOSED,
        )  # fmt: skip
    app.add_middleware(Observe, metrics=app.state.metrics)
    app.add_middleware(Identify)


class HeaderLimit:
    """ASGI middleware: 431 for more headers than a client has reason to send."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count names and bytes."""
        headers, most = scope.get("headers", ()), self.settings
        size = sum(len(name) + len(value) for name, value in headers)
        if len(headers) > most.max_headers or size > most.max_header_bytes:
            told = f"A request may have {most.max_headers} headers of {most.max_header_bytes} bytes in all."
            await _refuse(ApiError(told, status=431), scope, receive, send)
            return
        await self.app(scope, receive, send)


class LocalOnly:
    """ASGI middleware for a server that asks for no key: only this machine's own programs and pages may use it.

    Any web page can make its reader's browser send requests to 127.0.0.1. It betrays itself by its Origin; and one
    whose own name was made to point to 127.0.0.1 (DNS rebinding), so that to the browser it is no foreign page at
    all, by its name in the Host header.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.origins = app, frozenset(settings.cors_origins)
        own = (settings.host, f"[{settings.host}]", *settings.allowed_hosts)
        self.hosts = LOCAL_NAMES | {name.lower() for name in own}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through, or answer 403."""
        if scope["type"] == "http":
            try:
                self._check(scope)
            except ApiError as error:
                await _refuse(error, scope, receive, send)
                return
        await self.app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        host = only(scope, b"host") or ""
        if host_name(host) not in self.hosts:
            raise ApiError(
                f"This server is not called {host[:100]!r}. If that is its name, start it with --allow-host, or "
                "with an API key.",
                status=403, code="host_not_allowed",
            )  # fmt: skip
        origin = only(scope, b"origin")
        if origin is None or origin in self.origins or "*" in self.origins:
            return
        if not is_own_page(scope):
            raise ApiError(
                f"Pages of {origin[:100]!r} may not use this server; start it with --cors-origin to let them.",
                status=403, code="origin_not_allowed",
            )  # fmt: skip


class Shed:
    """ASGI middleware: while the queue of every model is full, turns requests for replies away unread.

    The engine refuses them too, but only once they are read, checked and tokenized, which costs ten times as much;
    and with many more requests than can be answered, what refusing costs is taken from those who are answered.
    """

    def __init__(self, app: ASGIApp, models: Models, settings: Settings) -> None:
        self.app, self.models, self.max_waiting = app, models, settings.max_waiting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let through, or answer 503."""
        if scope["type"] == "http" and scope["path"] in _GENERATES and self._full():
            told = f"{self.max_waiting} requests are waiting already; try again later."
            await _refuse(overloaded(told, retry_after_s=_ROOM_S), scope, receive, send)
            return
        await self.app(scope, receive, send)

    def _full(self) -> bool:
        models = self.models().values()
        return bool(models) and all(model.engine.stats().num_waiting >= self.max_waiting for model in models)


class BodyLimit:
    """ASGI middleware: reads a body to its end before any route begins, as far as it is allowed to go.

    Too large, by its own account or as it comes, is 413; too slow is 408; more than all bodies together may hold is
    503. What the route then does cannot be held up by a sender any more.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self.num_held = 0  # bytes of all bodies that are being read or served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Read, then serve."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = _Body()
        try:
            await self._serve(body, scope, receive, send)
        finally:
            self.num_held -= body.size

    async def _serve(self, body: "_Body", scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._check_declared(scope)
            arrived = await self._read(body, receive)
        except ApiError as error:
            await _refuse(error, scope, receive, send)
            return
        if arrived:
            await self.app(scope, body.replay(receive), send)

    def _check_declared(self, scope: Scope) -> None:
        declared = only(scope, b"content-length")
        if declared is not None and not re.fullmatch(r"\d{1,18}", declared):
            raise ApiError("The content-length is no number of bytes.")
        self._check_size(int(declared or 0))

    def _check_size(self, size: int) -> None:
        if size > self.settings.max_body_bytes:
            message = f"The request is larger than {self.settings.max_body_bytes} bytes."
            raise ApiError(message, status=413, code="request_too_large")

    async def _read(self, body: "_Body", receive: Receive) -> bool:
        """All that comes; False where the client left before the end."""
        try:
            async with asyncio.timeout(self.settings.read_timeout_s):
                more = True
                while more:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return False
                    self._take(body, message.get("body", b""))
                    more = message.get("more_body", False)
        except TimeoutError:
            told = f"The request did not come to its end within {self.settings.read_timeout_s:g} s."
            raise ApiError(told, status=408, headers={"connection": "close"}) from None
        return True

    def _take(self, body: "_Body", chunk: bytes) -> None:
        self._check_size(body.size + len(chunk))
        if self.num_held + len(chunk) > self.settings.max_bodies_bytes:
            raise overloaded("The requests being served hold all the memory there is.", retry_after_s=1.0)
        self.num_held += len(chunk)
        body.add(chunk)


class _Body:
    """The bytes of a body until the route takes them, and their number until the request has ended."""

    def __init__(self) -> None:
        self._data, self.size = bytearray(), 0

    def add(self, chunk: bytes) -> None:
        self._data += chunk
        self.size += len(chunk)

    def replay(self, receive: Receive) -> Receive:
        """A `receive` that gives the whole body once, and then what really comes: nothing, or the client's
        leaving.
        """
        waiting = [bytes(self._data)]
        self._data = bytearray()

        async def replayed() -> Message:
            if waiting:
                return {"type": "http.request", "body": waiting.pop(), "more_body": False}
            return await receive()

        return replayed


async def _refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    await error_response(error, scope["path"])(scope, receive, send)
