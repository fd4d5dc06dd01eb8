"""A small app behind the protection, ways to ask it, and a real server on loopback to ask over a socket."""

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from liaoliao.server.failures import install_failures
from liaoliao.server.protect import install
from liaoliao.server.serve import Server, bind, url_of
from liaoliao.server.settings import Settings

WAIT_S = 10.0  # for what must happen; far longer than it takes, so that a busy machine does not matter


def plain_app(settings: Settings | None = None) -> FastAPI:
    """Routes that echo, stream and fail; `app.state.left` counts streams whose reader left."""
    app = FastAPI()
    app.state.left = 0
    app.state.models = {}
    install_failures(app)

    @app.post("/echo")
    async def echo(request: Request) -> dict[str, int]:
        body = await request.body()
        request.state.spend(len(body))
        return {"size": len(body)}

    @app.get("/words/{count}")
    async def words(count: int, pause_s: float = 0.01, size: int = 10) -> StreamingResponse:
        async def say() -> AsyncIterator[bytes]:
            try:
                yield b": hello\n\n"
                for i in range(count):
                    yield b"data: " + str(i).encode() * (size // len(str(i))) + b"\n\n"
                    await asyncio.sleep(pause_s)
                yield b"data: [DONE]\n\n"
            except (asyncio.CancelledError, GeneratorExit):
                app.state.left += 1
                raise

        return StreamingResponse(say(), media_type="text/event-stream")

    @app.get("/broken")
    async def broken(said: str) -> None:
        raise RuntimeError(said)

    install(app, settings or Settings())
    return app


def ask(app: FastAPI, path: str = "/health", *, method: str = "GET", **more: Any) -> httpx.Response:
    """One request straight into the app."""

    async def go() -> httpx.Response:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.request(method, path, **more)

    return asyncio.run(go())


@contextmanager
def running(app: FastAPI, settings: Settings) -> Iterator[str]:
    """The app on a free port of loopback, in a thread: its URL."""
    listener = bind(settings)
    server = Server(app, settings, lambda line: None)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    until(lambda: server.started)
    try:
        yield url_of(listener)
    finally:
        server.should_exit = True  # whether a drain keeps to its time is asked in test_serve.py
        thread.join(settings.drain_timeout_s + WAIT_S)


def until(true: Callable[[], object], within_s: float = WAIT_S) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "this should have happened by now"
        time.sleep(0.005)


def connect(url: str) -> socket.socket:
    """A plain connection, whose reads end after WAIT_S."""
    address = httpx.URL(url)
    return socket.create_connection((address.host, address.port), timeout=WAIT_S)


def read_all(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def read_reply(connection: socket.socket) -> bytes:
    """One reply of a known length, and the connection is ready for the next."""
    reply = b""
    while b"\r\n\r\n" not in reply:
        reply += connection.recv(1)
    length = int(reply.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
    while length:
        part = connection.recv(length)
        reply, length = reply + part, length - len(part)
    return reply
