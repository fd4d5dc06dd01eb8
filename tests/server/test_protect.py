"""What the middlewares let through, what they refuse, and that a stream and a disconnect pass them unhindered."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from liaoliao.server.auth import make_key
from liaoliao.server.protect import BodyLimit
from liaoliao.server.settings import Settings
from tests.server.plain import ask, connect, plain_app, running, until

APP = plain_app()
ENVELOPE = {"message", "type", "param", "code"}


def refused(response: httpx.Response, status: int) -> dict[str, Any]:
    """The error of a response with this status, in OpenAI's envelope."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error.keys() == ENVELOPE
    return dict(error)


# Ids


@pytest.mark.parametrize("good", ["abc", "A.b_c-9", "x" * 128])
def test_a_harmless_id_of_the_clients_is_kept(good: str) -> None:
    assert ask(APP, headers={"x-request-id": good}).headers["x-request-id"] == good


@pytest.mark.parametrize("bad", ["", "a b", "x" * 129, 'a"b', "a;b", "%0d%0a", "é"])
def test_any_other_id_is_replaced(bad: str) -> None:
    given = ask(APP, headers={"x-request-id": bad.encode("latin-1")}).headers["x-request-id"]
    assert given.startswith("req_")


def test_every_reply_has_an_id_of_its_own_refusals_included() -> None:
    replies = [
        ask(APP),
        ask(APP, "/nosuch"),
        ask(APP, headers={"host": "evil.example"}),
        ask(APP, "/broken?said=x"),
    ]
    assert [reply.status_code for reply in replies] == [200, 404, 403, 500]
    assert len({reply.headers["x-request-id"] for reply in replies}) == 4
    assert {reply.headers["x-content-type-options"] for reply in replies} == {"nosniff"}


def test_an_exception_is_a_500_that_tells_nothing() -> None:
    assert "sesame" not in refused(ask(APP, "/broken?said=sesame"), 500)["message"]


def test_no_other_protocol_gets_in() -> None:
    sent = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    asyncio.run(APP({"type": "websocket", "path": "/", "headers": []}, None, send))  # type: ignore[arg-type]
    assert [message["type"] for message in sent] == ["websocket.close"]


# Only this machine, where no key is asked for


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "localhost:8000", "LOCALHOST:1", "[::1]:80"]
)
def test_the_names_of_this_machine(host: str) -> None:
    assert ask(APP, headers={"host": host}).status_code == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:8000", "127.0.0.1.evil.example", "localhost.evil.example", "localhost@evil",
        "evil@localhost", "", "localhost:x", "localhost.", "127.0.0.1:80:80", "[::1", "0.0.0.0", "localhost evil",
    ],
)  # fmt: skip
def test_a_name_that_was_made_to_point_here_is_refused(host: str) -> None:
    assert refused(ask(APP, headers={"host": host}), 403)["code"] == "host_not_allowed"


def test_a_name_may_be_allowed() -> None:
    app = plain_app(Settings(allowed_hosts=("box.lan",)))
    assert ask(app, headers={"host": "box.lan:8000"}).status_code == 200
    assert ask(app, headers={"host": "other.lan"}).status_code == 403


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost", 200), ("https://localhost", 200), ("http://evil.example", 403), ("null", 403),
        ("http://localhost:5173", 403), ("http://127.0.0.1", 403), ("", 403), ("localhost", 403),
    ],
)  # fmt: skip
def test_pages_from_elsewhere_are_refused(origin: str, status: int) -> None:
    assert ask(APP, "/echo", method="POST", headers={"origin": origin}).status_code == status


def test_two_hosts_or_origins_are_none() -> None:
    for name in ("host", "origin"):
        twice = [(name, "localhost"), (name, "localhost")]
        assert ask(APP, headers=twice).status_code == 400


def test_a_page_may_be_allowed_and_reads_the_reply_refusals_included() -> None:
    app = plain_app(Settings(cors_origins=("https://chat.example",), requests_per_minute=1))
    headers = {"origin": "https://chat.example"}
    preflight = ask(
        app, "/echo", method="OPTIONS",
        headers={**headers, "access-control-request-method": "POST", "access-control-request-headers": "authorization"},
    )  # fmt: skip
    assert preflight.status_code == 200
    for status in (200, 429):
        reply = ask(app, "/echo", method="POST", headers=headers)
        assert reply.status_code == status
        assert reply.headers["access-control-allow-origin"] == "https://chat.example"
        assert "retry-after" in reply.headers["access-control-expose-headers"]
    assert ask(app, "/echo", method="POST", headers={"origin": "https://evil.example"}).status_code == 403


def test_with_keys_the_name_does_not_matter() -> None:
    key, record = make_key("anna")
    headers = {"host": "chat.example", "origin": "https://elsewhere.example", "x-api-key": key}
    reply = ask(plain_app(Settings(api_keys=(record,))), "/echo", method="POST", headers=headers)
    assert reply.status_code == 200
    assert "access-control-allow-origin" not in reply.headers


# Sizes


def test_too_many_or_too_large_headers() -> None:
    app = plain_app(Settings(max_headers=20, max_header_bytes=2000))
    refused(ask(app, headers=[(f"x-{i}", "1") for i in range(21)]), 431)
    refused(ask(app, headers={"x-large": "x" * 2000}), 431)
    assert ask(app, headers={"x-large": "x" * 1500}).status_code == 200


async def _pieces(sizes: Sequence[int]) -> AsyncIterator[bytes]:
    for size in sizes:
        yield b"x" * size


def test_a_body_may_be_so_large_and_no_larger() -> None:
    app = plain_app(Settings(max_body_bytes=1000))
    for ok in (b"", b"x" * 1000, _pieces([400, 600])):
        assert ask(app, "/echo", method="POST", content=ok).status_code == 200
    for large in (b"x" * 1001, _pieces([400, 601]), _pieces([1] * 1001)):
        assert refused(ask(app, "/echo", method="POST", content=large), 413)["code"] == "request_too_large"


def test_a_body_that_lies_about_its_size() -> None:
    for declared in ("99999999999", "1" * 30, "-1", "x", "1, 1"):
        reply = ask(APP, "/echo", method="POST", content=b"hi", headers={"content-length": declared})
        assert reply.status_code in (400, 413)


def test_what_is_refused_by_size_is_not_read() -> None:
    read = []

    async def endless() -> AsyncIterator[bytes]:
        while True:
            read.append(1)
            yield b"x" * 100

    app = plain_app(Settings(max_body_bytes=1000))
    assert ask(app, "/echo", method="POST", content=endless()).status_code == 413
    assert len(read) <= 11


def _body_limit(app: FastAPI) -> BodyLimit:
    inner: Any = app.middleware_stack or app.build_middleware_stack()
    while not isinstance(inner, BodyLimit):
        inner = inner.app
    return inner


def test_all_bodies_together_are_bounded_and_given_back() -> None:
    app = plain_app(Settings(max_bodies_bytes=1500))
    gate = asyncio.Event()

    async def waiting(sizes: Sequence[int]) -> AsyncIterator[bytes]:
        async for piece in _pieces(sizes):
            yield piece
        await gate.wait()

    async def go() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            first = asyncio.create_task(client.post("/echo", content=waiting([1000])))
            await asyncio.sleep(0.05)
            second = await client.post("/echo", content=b"x" * 600)
            assert second.status_code == 503
            assert second.headers["retry-after"] == "1"
            assert (await client.post("/echo", content=b"x" * 500)).status_code == 200
            gate.set()
            assert (await first).json() == {"size": 1000}
            assert (await client.post("/echo", content=b"x" * 600)).status_code == 200

    asyncio.run(go())
    assert _body_limit(app).num_held == 0


def test_a_body_that_does_not_come_to_its_end_is_given_up() -> None:
    app = plain_app(Settings(read_timeout_s=0.1))

    async def stuck() -> AsyncIterator[bytes]:
        yield b"half"
        await asyncio.sleep(60)

    reply = ask(app, "/echo", method="POST", content=stuck())
    refused(reply, 408)
    assert reply.headers["connection"] == "close"
    assert _body_limit(app).num_held == 0


# Over a socket


def test_a_stream_flows_and_its_end_is_seen() -> None:
    app, settings = plain_app(), Settings(port=0)
    with running(app, settings) as url, httpx.stream("GET", f"{url}/words/5?pause_s=0.05") as reply:
        came = [(time.monotonic(), line) for line in reply.iter_lines() if line.startswith("data")]
    assert [line[-6:] for _, line in came][-1] == "[DONE]"
    assert len(came) == 6
    assert came[-1][0] - came[0][0] > 0.15, "the pieces come one by one, not all at the end"
    assert app.state.left == 0


def test_a_client_that_leaves_is_felt_by_the_route() -> None:
    app, settings = plain_app(), Settings(port=0)
    with running(app, settings) as url:
        connection = connect(url)
        connection.sendall(b"GET /words/100000?pause_s=0.01 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200" in connection.recv(1000)
        connection.close()
        until(lambda: app.state.left == 1)
