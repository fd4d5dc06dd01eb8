"""Server-sent events: frames, the pings that keep a silent line open, and a client that may leave at any time.

    return await stream_response(request, frames, on_error)      # frames: an async generator of encode(...) frames

The response waits a while for the first frame, so that what is wrong with a request is told by an HTTP status;
where the queue or a long prompt takes longer, it begins with a ping. Later failures are a frame and the end.
`finish` gives the same care to an answer that comes in one piece. In both, a client that leaves cancels the
work at once, and with it the engine's.
"""

import asyncio
import itertools
import json
import logging
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterable, Mapping
from contextlib import aclosing
from typing import Any, Final, TypeVar

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

from liaoliao.server.failures import ApiError, as_api_error, envelope
from liaoliao.server.written import dumped

T = TypeVar("T")

DONE: Final = b"data: [DONE]\n\n"
PING: Final = b": ping\n\n"
PING_EVERY_S: Final = 5.0
_CLIENT_GONE: Final = 499  # seen by nobody but the log
_LOG = logging.getLogger(__name__)

Frames = AsyncGenerator[bytes, None]
OnError = Callable[[ApiError], bytes]


def encode(data: Mapping[str, Any], *, event: str | None = None, in_pieces: bool = False) -> bytes:
    """One frame, named where the protocol names its events. A large one is written `in_pieces`, see `written`."""
    name = f"event: {event}\n" if event else ""
    text = dumped(data) if in_pieces else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    return f"{name}data: {text}\n\n".encode()


def error_frame(error: ApiError) -> bytes:
    """A failure in mid-stream, in OpenAI's envelope."""
    return encode(envelope(error))


async def finish(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled if the client leaves. Raises ClientGoneError then."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientGoneError
    finally:
        await _cancel(leaving)
        await _cancel(working)


class ClientGoneError(ApiError):
    """Nobody is there any more to be answered."""

    def __init__(self) -> None:
        super().__init__("The client has left.", status=_CLIENT_GONE)


async def stream_response(
    request: Request, frames: Frames, on_error: OnError = error_frame, *, ping_every_s: float | None = None
) -> Response:
    """A response of these frames. Raises what `frames` raises before its first, if that comes in time."""
    every_s: float = (
        getattr(request.app.state, "ping_every_s", PING_EVERY_S) if ping_every_s is None else ping_every_s
    )
    stream = _EventStream(frames, on_error, every_s, asyncio.ensure_future(_left(request)))
    try:
        await stream.begin()
    except BaseException:
        await stream.close()
        raise
    return stream


class _EventStream(Response):
    """Sends frames as they come, and pings while none comes."""

    media_type = "text/event-stream"

    def __init__(
        self, frames: Frames, on_error: OnError, ping_every_s: float, leaving: asyncio.Future[None]
    ) -> None:
        super().__init__(headers={"cache-control": "no-cache", "x-accel-buffering": "no"})
        del self.headers["content-length"]
        self._frames, self._on_error, self._every_s = frames, on_error, ping_every_s
        self._leaving = leaving
        self._next = asyncio.ensure_future(_next(frames))

    async def begin(self) -> None:
        """Wait for the first frame, for as long as the line may be silent."""
        await self._wait()
        if self._next.done():
            self._next.exception() and self._next.result()  # raise what went wrong
        elif self._leaving.done():
            raise ClientGoneError

    async def close(self) -> None:
        """Leave nothing running."""
        await _cancel(self._leaving)
        await _cancel(self._next)
        await self._frames.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it all, or as much as the client waits for."""
        try:
            await send(
                {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            )
            if not self._next.done():
                await send({"type": "http.response.body", "body": PING, "more_body": True})
            while not self._leaving.done() and (frame := await self._frame()):
                await send({"type": "http.response.body", "body": frame, "more_body": True})
            if not self._leaving.done():
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await self.close()

    async def _frame(self) -> bytes | None:
        """The next frame, or a ping; None at the end."""
        await self._wait()
        if not self._next.done():
            return None if self._leaving.done() else PING
        frame = self._result()
        self._next = asyncio.ensure_future(_next(self._frames))
        return frame

    async def _wait(self) -> None:
        await asyncio.wait(
            (self._next, self._leaving), timeout=self._every_s, return_when=asyncio.FIRST_COMPLETED
        )

    def _result(self) -> bytes | None:
        try:
            return self._next.result()
        except Exception as error:  # a failure of any kind must reach the client, which has its 200 already
            shown = as_api_error(error)
            if shown.status == 500:
                _LOG.error("a stream failed", exc_info=error)
            return self._on_error(shown)


async def _next(frames: Frames) -> bytes | None:
    return await anext(frames, None)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def _cancel(future: asyncio.Future[Any]) -> None:
    """Cancel, and wait until it is over; what it had to say is of no interest any more."""
    future.cancel()
    await asyncio.wait((future,))
    if not future.cancelled():
        future.exception()


async def merge(
    streams: Iterable[AsyncGenerator[T, None]], *, at_once: int
) -> AsyncGenerator[tuple[int, T], None]:
    """Items of many streams as they come, each with the number of its stream; `at_once` of them run together, and none is
    taken before there is a place for it.

    The first failure ends all. Closing it closes all.
    """
    items: asyncio.Queue[tuple[int, T] | None] = asyncio.Queue()
    waiting = enumerate(streams)

    async def pump(mine: tuple[int, AsyncGenerator[T, None]] | None) -> None:
        while mine is not None:
            index, stream = mine
            async with aclosing(stream):
                async for item in stream:
                    items.put_nowait((index, item))
            mine = next(waiting, None)

    first = list(itertools.islice(waiting, at_once))
    tasks: list[asyncio.Future[None]] = [asyncio.ensure_future(pump(mine)) for mine in first]
    everyone = asyncio.ensure_future(_all(tasks, items))
    try:
        while (item := await items.get()) is not None:
            yield item
        await everyone
    finally:
        await _cancel(everyone)
        for task in tasks:
            await _cancel(task)


async def _all(tasks: list[asyncio.Future[None]], items: asyncio.Queue[Any]) -> None:
    """Wait for all or the first failure; then no more items will come."""
    try:
        await asyncio.gather(*tasks)
    finally:
        items.put_nowait(None)
