"""Connections that a real client would never make: each comes to its end, and the others do not feel it."""

import json
import socket
import time
from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI

from liaoliao.server.settings import Settings
from tests.server.plain import connect, plain_app, read_all, read_reply, running, until

READ_S, KEEP_S = 0.4, 0.5
SETTINGS = Settings(
    port=0, read_timeout_s=READ_S, keep_alive_s=KEEP_S, write_timeout_s=0.3, max_header_bytes=4096,
    max_body_bytes=100_000,
)  # fmt: skip
GET = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
POST = b"POST /echo HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def app() -> FastAPI:
    return plain_app(SETTINGS)


@pytest.fixture(scope="module")
def url(app: FastAPI) -> Iterator[str]:
    with running(app, SETTINGS) as url:
        yield url


def said(url: str, *parts: bytes, pause_s: float = 0.0) -> tuple[int, dict[str, object], float]:
    """Status and body of what comes back until the server closes, and after how many seconds it closes."""
    began = time.monotonic()
    with connect(url) as connection:
        for part in parts:
            try:
                connection.sendall(part)
            except (BrokenPipeError, ConnectionResetError):
                break
            time.sleep(pause_s)
        reply = read_all(connection)
    head, _, body = reply.partition(b"\r\n\r\n")
    status = int(head.split()[1]) if head else 0
    is_json = b"application/json" in head and body.startswith(b"{")
    told = json.JSONDecoder().raw_decode(body.decode())[0] if is_json else {}
    return status, told, time.monotonic() - began


@pytest.mark.parametrize(
    "half",
    [
        b"G",
        b"GET /health HT",
        b"GET /health HTTP/1.1\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX-A: 1",
    ],
)
def test_half_a_head_gets_408(url: str, half: bytes) -> None:
    status, body, seconds = said(url, half)
    assert status == 408
    assert body["error"].keys() == {"message", "type", "param", "code"}  # type: ignore[attr-defined]
    assert READ_S <= seconds < READ_S + 2


def test_half_a_body_gets_408(url: str) -> None:
    for framing in (b"Content-Length: 10\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"):
        status, body, seconds = said(url, POST + framing)
        assert status == 408
        assert "error" in body
        assert READ_S <= seconds < READ_S + 2


def test_dripping_does_not_help(url: str) -> None:
    drops = [GET[i : i + 1] for i in range(len(GET) - 1)]
    status, _, seconds = said(url, *drops, pause_s=0.1)
    assert status in (0, 408)  # 0: the drop after the reply has reset the connection
    assert seconds < 2 * READ_S + 2
    with connect(url) as connection:
        connection.sendall(POST + b"Content-Length: 1000\r\n\r\n")
        began = time.monotonic()
        reply = b""
        connection.settimeout(0.05)
        while time.monotonic() - began < 5 and b"408" not in reply:
            try:
                connection.sendall(b"x")
                reply += connection.recv(1000)
            except TimeoutError:
                continue
            except OSError:
                break
        assert time.monotonic() - began < READ_S + 2


def test_silence_is_closed_without_a_word(url: str) -> None:
    status, _, seconds = said(url)
    assert status == 0
    assert READ_S <= seconds < READ_S + 2


def test_a_connection_is_kept_for_the_next_request_and_then_closed(url: str) -> None:
    with connect(url) as connection:
        for _ in range(3):
            connection.sendall(GET)
            assert b"200 OK" in read_reply(connection)
            time.sleep(KEEP_S / 2)
        began = time.monotonic()
        assert read_all(connection) == b""
        assert time.monotonic() - began < KEEP_S + 2


def test_many_requests_on_one_connection_are_not_added_up(url: str) -> None:
    with httpx.Client(base_url=url) as client:
        for _ in range(12):
            assert client.post("/echo", content=b"x" * 90_000).status_code == 200


def test_pipelined_requests_are_answered_in_order(url: str) -> None:
    with connect(url) as connection:
        connection.sendall(GET * 3 + GET[:20])
        reply = read_all(connection)
    assert reply.count(b"200 OK") == 3
    assert b" 408 " in reply


def test_headers_without_end_get_431(url: str) -> None:
    status, body, _ = said(url, b"GET / HTTP/1.1\r\n" + b"X-A: " + b"x" * 5000)
    assert status == 431
    assert "error" in body
    assert said(url, b"GET / HTTP/1.1\r\nHost: localhost\r\nX-A: " + b"x" * 5000 + b"\r\n\r\n")[0] == 431


@pytest.mark.parametrize(
    "bad",
    [
        b"\x00\x01\x02\r\n\r\n",
        b"GET /\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
        POST + b"Content-Length: 99999999999999999999999\r\n\r\n",
        POST + b"Content-Length: " + b"9" * 4000 + b"\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
        POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX : 1\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=lambda bad: repr(bad[-30:]),
)
def test_what_is_not_http_is_refused_and_nothing_breaks(url: str, bad: bytes) -> None:
    status, _, seconds = said(url, bad)
    assert status in (0, 400, 403, 413, 501), "0: closed without a word; 403: no host"
    assert seconds < READ_S + 2
    assert httpx.get(f"{url}/health").status_code == 200


def test_a_bad_body_after_a_good_head_is_refused_once(url: str) -> None:
    status, body, _ = said(
        url, POST + b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", b"ZZZ\r\n", pause_s=0.05
    )
    assert status == 400
    assert "error" in body


def test_a_refused_body_that_goes_on_is_cut_off(url: str) -> None:
    with connect(url) as connection:
        connection.sendall(POST + b"Content-Length: 100000000\r\n\r\n")
        assert b" 413 " in read_reply(connection)
        sent = 0
        with pytest.raises(OSError):  # reset, or broken pipe
            while sent < 100_000_000:
                sent += connection.send(b"x" * 65536)
        assert sent < 20_000_000


def test_a_client_that_reads_nothing_is_let_go(app: FastAPI, url: str) -> None:
    before = app.state.left
    with connect(url) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.sendall(b"GET /words/1000000?pause_s=0&size=65536 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: app.state.left == before + 1)


def test_one_connection_too_many_is_told_so() -> None:
    settings = Settings(port=0, max_connections=3)
    with running(plain_app(settings), settings) as url:
        held = [connect(url) for _ in range(3)]
        for connection in held:
            connection.sendall(GET)
            assert b"200 OK" in read_reply(connection)
        refused = httpx.get(f"{url}/health")
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        assert refused.json()["error"]["code"] == "overloaded"
        held.pop().close()
        until(lambda: httpx.get(f"{url}/health").status_code == 200)
        for connection in held:
            connection.close()


def test_slow_ones_do_not_hold_up_others(url: str) -> None:
    slow = [connect(url) for _ in range(50)]
    for connection in slow:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: lo")
    began = time.monotonic()
    assert httpx.get(f"{url}/health").status_code == 200
    assert time.monotonic() - began < 2
    for connection in slow:
        assert b" 408 " in read_all(connection)
        connection.close()
