"""The outermost middlewares: every request gets an id, ends in one line of the log, and is counted.

    x-request-id: abc-1   ->  the same id on the reply and in the log
    x-request-id: <none, or something odd>   ->  req_7d0f…

They see the ASGI messages go by and keep nothing of what these say. Whatever exception comes out of the app ends
here: as an envelope where nothing was sent yet, else as a connection that breaks off.
"""

import logging
import re
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from liaoliao.server.failures import as_api_error, error_response
from liaoliao.server.logs import log_request
from liaoliao.server.metrics import Metrics

CLIENT_GONE = 499  # nginx' status for a client that left before the reply: it is told to nobody, only logged
Clock = Callable[[], float]
_GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
_NO_ROUTE = "none"
_LOG = logging.getLogger(__name__)


class Identify:
    """ASGI middleware: an id for each request, the client's own where it is harmless, in `request.state.request_id`
    and on the reply. Anything but HTTP is turned away, so that no other protocol passes by what stands behind.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Mark the request and its reply."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = scope.setdefault("state", {})["request_id"] = _request_id(scope)

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                marks = [(b"x-request-id", request_id.encode()), (b"x-content-type-options", b"nosniff")]
                message["headers"] = [*message.get("headers", ()), *marks]
            await send(message)

        await self.app(scope, receive, marked)


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and (good := _GOOD_ID.fullmatch(value.decode("latin-1"))):
            return good[0]
    return f"req_{uuid.uuid4().hex}"


@dataclass(slots=True)
class _Seen:
    """What has been seen of one request so far; times are of the clock."""

    began: float
    status: int | None = None
    streams: bool = False
    last_event: float | None = None
    complete: bool = False
    gone: bool = False
    num_tokens: int | None = None

    def spend(self, num_tokens: int) -> None:
        self.num_tokens = (self.num_tokens or 0) + num_tokens


class Observe:
    """ASGI middleware: counts, times and logs each request, and answers for an app that fails."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, clock: Clock = time.perf_counter) -> None:
        self.app, self.metrics, self.clock = app, metrics, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve, and tell of it afterwards."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        seen = _Seen(self.clock())
        scope.setdefault("state", {})["spend"] = seen.spend

        async def received() -> Message:
            message = await receive()
            seen.gone |= message["type"] == "http.disconnect" and not seen.complete
            return message

        async def sent(message: Message) -> None:
            self._watch(scope, seen, message)
            await send(message)

        with self.metrics.in_flight.track_inprogress():
            try:
                await self._guarded(scope, received, sent, seen)
            finally:
                self._tell(scope, seen)

    async def _guarded(self, scope: Scope, receive: Receive, send: Send, seen: _Seen) -> None:
        try:
            await self.app(scope, receive, send)
        except Exception as error:  # the last place where a mistake of ours can still be answered
            if not seen.gone:
                facts = {"id": scope["state"].get("request_id")}
                _LOG.error("failed", exc_info=error, extra={"facts": facts})
            if seen.status is None:
                await error_response(as_api_error(error), scope["path"])(scope, receive, send)

    def _watch(self, scope: Scope, seen: _Seen, message: Message) -> None:
        if message["type"] == "http.response.start":
            seen.status = message["status"]
            kinds = [value for name, value in message.get("headers", ()) if name == b"content-type"]
            seen.streams = any(value.startswith(b"text/event-stream") for value in kinds)
            return
        body = message.get("body", b"")
        seen.complete = not message.get("more_body", False)
        if seen.streams and body and not body.startswith(b":"):  # a comment says nothing
            self._event(_route(scope), seen)

    def _event(self, route: str, seen: _Seen) -> None:
        now = self.clock()
        if seen.last_event is None:
            self.metrics.first_event(route, now - seen.began)
        else:
            self.metrics.next_event(route, now - seen.last_event)
        seen.last_event = now

    def _tell(self, scope: Scope, seen: _Seen) -> None:
        state, seconds = scope["state"], self.clock() - seen.began
        status = seen.status if seen.status is not None else CLIENT_GONE
        method, route = scope["method"], _route(scope)
        self.metrics.request(method, route, status, seconds, gone=seen.gone)
        key = state.get("api_key")
        log_request(
            id=state.get("request_id"), key=key.name if key else None, account=state.get("account"),
            method=method, route=route, status=status, ms=round(1000 * seconds, 1), tokens=seen.num_tokens,
            gone=seen.gone or None,
        )  # fmt: skip


def _route(scope: Scope) -> str:
    """The route's template: a path itself may hold anything."""
    return getattr(scope.get("route"), "path", _NO_ROUTE)
