"""A plain HTTP/1.1 client on asyncio streams: it costs little, sends whatever bytes it is told to, and times events.

    async with Client("http://127.0.0.1:8000") as client:
        reply = await client.ask("POST", "/v1/completions", {"model": "town", "prompt": "hi", "stream": True})
        reply.status, reply.text, reply.first_s

A connection is used for one request after the other. Everything ends within the time that is given.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

MAX_LINE = 1 << 20


class LostError(Exception):
    """The server closed the connection."""


class HangError(LostError):
    """The server did not come to an end in time."""


@dataclass
class Reply:
    """A response. `events` are the data of server-sent events but the last; times in seconds since it was asked for."""

    status: int
    headers: dict[str, str]
    body: bytes = b""
    events: list[dict[str, Any]] = field(default_factory=list)
    done: bool = False
    first_s: float = 0.0
    seconds: float = 0.0

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        """What a completion or a chat said, whole or streamed."""
        choices = [choice for event in self.events or [self.json] for choice in event["choices"]]
        return "".join(_said(choice) for choice in choices)


def _said(choice: dict[str, Any]) -> str:
    if "text" in choice:
        return str(choice["text"])
    message = choice.get("delta") or choice.get("message") or {}
    return (message.get("reasoning_content") or "") + (message.get("content") or "")


def request_bytes(method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> bytes:
    """A request as it goes over the wire; a body that is no bytes is sent as JSON."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {
        "Host": "localhost",
        "Content-Type": "application/json",
        "Content-Length": str(len(data)),
        **(headers or {}),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + data


class Client:
    """One connection, opened when it is needed and again after it was lost."""

    def __init__(self, url: str, *, timeout_s: float = 60.0) -> None:
        parts = urlsplit(url)
        self.host, self.port, self.timeout_s = str(parts.hostname), int(parts.port or 80), timeout_s
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> "Client":  # noqa: PYI034  (as elsewhere)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self, *, reset: bool = False) -> None:
        """Leave; with `reset` as a process that was killed does."""
        if self._writer is not None:
            if reset:
                self._writer.transport.abort()
            self._writer.close()
        self._reader = self._writer = None

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        *,
        leave_after: int | None = None,
    ) -> Reply:
        """A request and all of its reply, or as many events of it as `leave_after` says."""
        return await self.send(request_bytes(method, path, body, headers), leave_after=leave_after)

    async def send(self, raw: bytes, *, leave_after: int | None = None) -> Reply:
        """Any bytes, and the reply to them. Raises LostError where there is none."""
        try:
            async with asyncio.timeout(self.timeout_s):
                return await self._exchange(raw, leave_after)
        except TimeoutError as error:  # before OSError, of which it is a kind
            self.close()
            raise HangError(f"no end of the reply within {self.timeout_s:g} s") from error
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, EOFError) as error:
            self.close()
            raise LostError(repr(error)) from error

    async def _exchange(self, raw: bytes, leave_after: int | None) -> Reply:
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(self.host, self.port, limit=MAX_LINE)
        assert self._reader is not None
        began = time.monotonic()
        self._writer.write(raw)
        await self._writer.drain()
        reply = await _head(self._reader)
        streams = reply.headers.get("content-type", "").startswith("text/event-stream")
        if streams:
            await _read_events(reply, self._pieces(reply), lambda: time.monotonic() - began, leave_after)
        else:
            bodiless = raw.startswith(b"HEAD ") or reply.status in (204, 304)
            reply.body = b"" if bodiless else b"".join([piece async for piece in self._pieces(reply)])
        reply.seconds = time.monotonic() - began
        if reply.headers.get("connection") == "close" or (streams and not reply.done):
            self.close()
        return reply

    async def _pieces(self, reply: Reply) -> AsyncIterator[bytes]:
        """The body as it comes."""
        assert self._reader is not None
        if reply.headers.get("transfer-encoding") != "chunked":
            yield await self._reader.readexactly(int(reply.headers.get("content-length", 0)))
            return
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            yield (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)


async def _head(reader: asyncio.StreamReader) -> Reply:
    """The head of the reply; "go on" (100) is none yet."""
    lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    if lines[0].split()[1] == "100":
        return await _head(reader)
    pairs = (line.partition(":") for line in lines[1:] if line)
    return Reply(int(lines[0].split()[1]), {name.lower(): value.strip() for name, _, value in pairs})


async def _read_events(
    reply: Reply, pieces: AsyncIterator[bytes], clock: Callable[[], float], leave_after: int | None
) -> None:
    pending = b""
    async for piece in pieces:
        *events, pending = (pending + piece).split(b"\n\n")
        for event in events:
            data = event.partition(b"data: ")[2]
            if not data:
                continue
            reply.first_s = reply.first_s or clock()
            if data == b"[DONE]":
                reply.done = True
            else:
                reply.events.append(json.loads(data))
        if leave_after is not None and len(reply.events) >= leave_after:
            return
