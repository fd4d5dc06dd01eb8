"""The connection itself: uvicorn's HTTP/1.1 protocol, with an end to every wait for the other side.

    half a request line, and silence   ->  408 after read_timeout_s
    nothing at all                     ->  closed after read_timeout_s
    a reply that nobody reads          ->  broken off after write_timeout_s
    headers without end, bad HTTP      ->  431, 400 in the envelope that clients expect

The parser is h11 and not the faster httptools: it refuses what is not exactly HTTP/1.1 (ambiguous lengths, folded
or bare-CR lines: what request smuggling is made of), bounds the bytes of unfinished headers, and is plain Python
without a compiled part. It costs some 20 us a token of a stream, a fiftieth of what the token itself costs.

uvicorn alone waits for ever for the second half of a request; middleware cannot help, since no app runs yet.
"""

import asyncio
import json
import sys
from http import HTTPStatus
from typing import Any, Literal

import h11
from starlette.types import Receive, Scope, Send
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from liaoliao.server.failures import ApiError, envelope, error_response, overloaded
from liaoliao.server.settings import Settings

_GRACE_S = 2.0  # BodyLimit answers a slow body with a better reply; this here is for what it does not see
_Phase = Literal["first byte", "head", "body", "nothing"]


class GuardedProtocol(H11Protocol):
    """One connection. Every wait for bytes from the client has a timer, and every wait for it to take ours."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        settings: Settings,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self.settings = settings
        self._awaited: tuple[_Phase, object] = ("nothing", None)  # what the client owes us; of which request
        self._reading: asyncio.TimerHandle | None = None
        self._writing: asyncio.TimerHandle | None = None
        self._num_read = 0  # bytes of the request that is being read

    # ------------------------------------------------------------ what asyncio and uvicorn call

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there; one too many is told so."""
        transport.set_write_buffer_limits(0)  # so that every byte that is not taken is felt as pause_writing
        super().connection_made(transport)
        if len(self.connections) > 2 * self.settings.max_connections:
            transport.abort()
        elif len(self.connections) > self.settings.max_connections:
            self.app = _too_many_connections
        self._follow()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over."""
        self._stop_reading_timer()
        self._stop_writing_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes of a request, or after its refusal, which may be in vain."""
        self._num_read += len(data)
        super().data_received(data)
        self._follow()
        if self._num_read > 2 * (self.settings.max_body_bytes + self.settings.max_header_bytes):
            self.transport.abort()

    def on_response_complete(self) -> None:
        """The reply has been handed over; the next request may have begun already."""
        super().on_response_complete()
        if self.conn.trailing_data[0]:  # a request has begun, so the pause between two is over
            self._unset_keepalive_if_required()
        self._follow()

    def pause_writing(self) -> None:
        """The client takes less than we give."""
        super().pause_writing()
        self._wait_for_taking(None)

    def resume_writing(self) -> None:
        """The client has taken all."""
        super().resume_writing()
        self._stop_writing_timer()

    def send_400_response(self, msg: str) -> None:
        """What cannot be read as HTTP is refused in the usual envelope, if a reply has not begun."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        # uvicorn calls this where it has caught h11's exception, which knows the right status
        status = getattr(sys.exc_info()[1], "error_status_hint", 400)
        self._answer(ApiError(msg, status=status))

    # ------------------------------------------------------------ the timers

    def _follow(self) -> None:
        """Set the timer anew where the client has come a phase further, and stop it where it owes us nothing."""
        phase = self._phase()
        awaited = (phase, self.cycle)
        if phase == "nothing" or (phase != "body" and awaited != self._awaited):
            self._num_read = 0
        if awaited == self._awaited:
            return
        self._awaited = awaited
        self._stop_reading_timer()
        if phase != "nothing" and not self.transport.is_closing():
            wait_s = self.settings.read_timeout_s + (_GRACE_S if phase == "body" else 0)
            self._reading = self.loop.call_later(wait_s, self._too_slow)

    def _phase(self) -> _Phase:
        """What of a request is awaited. Between two requests it is uvicorn's keep-alive timer that runs; any byte stops
        it, also one that begins no request.
        """
        if self.conn.their_state is h11.SEND_BODY:
            return "body"
        if self.conn.their_state is h11.IDLE and self.timeout_keep_alive_task is None:
            return "head" if self.conn.trailing_data[0] else "first byte"
        return "nothing"

    def _too_slow(self) -> None:
        match self._awaited[0]:
            case "head" if self.conn.our_state is h11.IDLE:
                told = f"The headers did not come to their end within {self.settings.read_timeout_s:g} s."
                self._answer(ApiError(told, status=408))
            case "first byte":
                self.transport.close()
            case _:
                self.transport.abort()

    def _wait_for_taking(self, size_before: int | None) -> None:
        """Break off where the client has taken nothing at all since the last look."""
        size = self.transport.get_write_buffer_size()
        if size_before is not None and size >= size_before:
            self.transport.abort()
            return
        self._writing = self.loop.call_later(self.settings.write_timeout_s, self._wait_for_taking, size)

    def _stop_reading_timer(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _stop_writing_timer(self) -> None:
        if self._writing is not None:
            self._writing.cancel()
            self._writing = None

    def _answer(self, error: ApiError) -> None:
        """A whole reply without any app, and the end of the connection; an app that is at work sees its client
        leave.
        """
        if self.cycle is not None:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        body = json.dumps(envelope(error)).encode()
        headers = [
            (b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), (b"connection", b"close"),
        ]  # fmt: skip
        reason = HTTPStatus(error.status).phrase.encode()
        head = h11.Response(status_code=error.status, headers=headers, reason=reason)
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


async def _too_many_connections(scope: Scope, receive: Receive, send: Send) -> None:
    """The app of a connection for which there is no room."""
    error = overloaded("There are too many connections to this server.", retry_after_s=1.0)
    error.headers["connection"] = "close"
    await error_response(error, scope["path"])(scope, receive, send)
