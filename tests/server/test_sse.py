"""Streams: frames and pings, failures before and after the first byte, clients that leave."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest
from fastapi import FastAPI, Request, Response
from starlette.responses import JSONResponse

from liaoliao.errors import RequestError
from liaoliao.server.failures import install_failures
from liaoliao.server.sse import DONE, PING, encode, finish, merge, stream_response
from tests.server.conftest import failure
from tests.server.plain import ask

PING_S = 0.05


def app_of(frames: Callable[[], AsyncGenerator[bytes, None]]) -> FastAPI:
    app = FastAPI()
    install_failures(app)

    @app.get("/")
    async def route(request: Request) -> Response:
        return await stream_response(request, frames(), ping_every_s=PING_S)

    return app


def test_a_frame_is_one_line_of_json() -> None:
    assert encode({"a": "猫\n\n"}) == 'data: {"a":"猫\\n\\n"}\n\n'.encode()
    assert encode({}, event="ping") == b"event: ping\ndata: {}\n\n"


def test_frames_come_in_order_and_silence_is_filled() -> None:
    async def frames() -> AsyncGenerator[bytes, None]:
        yield b"1"
        await asyncio.sleep(2.5 * PING_S)
        yield b"2"
        yield DONE

    response = ask(app_of(frames), "/")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-cache" and response.headers["x-accel-buffering"] == "no"
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "content-length" not in response.headers
    assert response.content.replace(PING, b"") == b"12" + DONE
    assert response.content.startswith(b"1" + PING)


def test_a_stream_that_waits_for_its_first_frame_begins_with_a_ping() -> None:
    async def frames() -> AsyncGenerator[bytes, None]:
        await asyncio.sleep(1.5 * PING_S)
        yield b"1"

    assert ask(app_of(frames), "/").content.startswith(PING)


def test_a_failure_before_the_first_frame_is_a_status() -> None:
    async def frames() -> AsyncGenerator[bytes, None]:
        for wrong in ("not like this",):
            raise RequestError(wrong)
        yield b""

    response = ask(app_of(frames), "/")
    assert response.status_code == 400 and failure(response)["message"] == "not like this"


@pytest.mark.parametrize("wait", [0.0, 1.5 * PING_S])
def test_a_later_failure_is_a_frame_and_the_end(wait: float) -> None:
    async def frames() -> AsyncGenerator[bytes, None]:
        if not wait:
            yield b"1"
        await asyncio.sleep(wait)
        raise RuntimeError("a secret")

    response = ask(app_of(frames), "/")
    last = response.content.replace(PING, b"").removeprefix(b"1")
    assert response.status_code == 200 and b"secret" not in last
    assert json.loads(last.removeprefix(b"data: "))["error"]["type"] == "server_error"


def leave_after(app: FastAPI, num_messages: int) -> list[Any]:
    """Ask, and be gone once so many messages have come."""
    sent: list[Any] = []

    async def go() -> None:
        gone = asyncio.Event()
        begun = False

        async def receive() -> dict[str, Any]:
            nonlocal begun
            if not begun:
                begun = True
                return {"type": "http.request", "body": b"", "more_body": False}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)
            if len(sent) >= num_messages:
                gone.set()

        scope = {
            "type": "http", "method": "GET", "path": "/", "raw_path": b"/", "query_string": b"", "headers": [],
            "http_version": "1.1", "scheme": "http", "server": ("x", 80), "client": ("y", 1), "root_path": "",
        }  # fmt: skip
        if num_messages == 0:
            asyncio.get_running_loop().call_later(PING_S / 2, gone.set)
        await asyncio.wait_for(app(scope, receive, send), 10)

    asyncio.run(go())
    return sent


@pytest.mark.parametrize("num_messages", [0, 2])
def test_a_client_that_leaves_closes_the_frames(num_messages: int) -> None:
    closed: list[bool] = []

    async def frames() -> AsyncGenerator[bytes, None]:
        try:
            if num_messages:
                yield b"1"
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            closed.append(True)

    leave_after(app_of(frames), num_messages)
    assert closed == [True]


def test_a_client_that_leaves_ends_work_in_one_piece() -> None:
    app, ended = FastAPI(), []
    install_failures(app)

    async def work() -> int:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(True)
        return 1

    @app.get("/")
    async def route(request: Request) -> Response:
        return JSONResponse(await finish(request, work()))

    leave_after(app, 0)
    assert ended == [True]


def test_work_in_one_piece_gives_its_result_or_its_failure() -> None:
    app = FastAPI()
    install_failures(app)

    async def double(x: int) -> int:
        if x < 0:
            raise RequestError("too small")
        return 2 * x

    @app.get("/{x}")
    async def route(x: int, request: Request) -> Response:
        return JSONResponse(await finish(request, double(x)))

    assert ask(app, "/21").json() == 42
    assert failure(ask(app, "/-1"))["message"] == "too small"


async def counting(count: int, log: list[str], name: str) -> AsyncGenerator[int, None]:
    try:
        for i in range(count):
            await asyncio.sleep(0.001)
            yield i
    finally:
        log.append(name)


def run(work: Awaitable[Any]) -> Any:
    async def main() -> Any:
        return await work

    return asyncio.run(main())


async def collect(items: AsyncIterator[Any], limit: int | None = None) -> list[Any]:
    found: list[Any] = []
    async for item in items:
        found.append(item)
        if len(found) == limit:
            break
    if limit is not None:
        await items.aclose()  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize("at_once", [1, 2, 9])
def test_merged_streams_keep_their_order(at_once: int) -> None:
    log: list[str] = []
    found = run(
        collect(merge([counting(3, log, "a"), counting(0, log, "b"), counting(2, log, "c")], at_once=at_once))
    )
    assert [item for index, item in found if index == 0] == [0, 1, 2]
    assert [item for index, item in found if index == 2] == [0, 1] and len(found) == 5
    assert sorted(log) == ["a", "b", "c"]
    if at_once == 1:
        assert found == sorted(found)


def test_the_first_failure_of_merged_streams_ends_all() -> None:
    log: list[str] = []

    async def fails() -> AsyncGenerator[int, None]:
        yield 7
        raise RequestError("no")

    with pytest.raises(RequestError, match="no"):
        run(collect(merge([counting(10**6, log, "a"), fails()], at_once=2)))
    assert log == ["a"]


def test_no_stream_is_taken_before_there_is_a_place_for_it() -> None:
    taken: list[int] = []
    log: list[str] = []

    async def fails() -> AsyncGenerator[int, None]:
        for wrong in ("no",):
            raise RequestError(wrong)
        yield 0

    def streams(begun: Callable[[], AsyncGenerator[int, None]]) -> Iterator[AsyncGenerator[int, None]]:
        for index in range(9):
            taken.append(index)
            yield begun()

    with pytest.raises(RequestError, match="no"):
        run(collect(merge(streams(fails), at_once=4)))
    assert taken == [0, 1, 2, 3]
    taken.clear()
    assert len(run(collect(merge(streams(lambda: counting(2, log, "a")), at_once=4)))) == 18
    assert taken == list(range(9)) and len(log) == 9


def test_leaving_merged_streams_closes_them() -> None:
    log: list[str] = []
    streams = [counting(10**6, log, "a"), counting(10**6, log, "b")]
    assert len(run(collect(merge(streams, at_once=2), limit=5))) == 5
    assert sorted(log) == ["a", "b"]
