"""The process: where it listens, how it stops, and that stopping cuts nobody off."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import httpx
import pytest

from liaoliao.errors import UsageError
from liaoliao.server.serve import bind, url_of
from liaoliao.server.settings import Settings
from tests.server.plain import WAIT_S, connect, plain_app, read_all, read_reply, running, until

SCRIPT = """
import os, sys
from liaoliao.server.logs import logging_to
from liaoliao.server.serve import bind, serve
from liaoliao.server.settings import Settings
from tests.server.plain import plain_app

settings = Settings(port=0, drain_timeout_s=float(sys.argv[1]))
listener = bind(settings)
with logging_to(sys.stdout, "info"):
    serve(plain_app(settings), settings, listener, say=lambda line: print(line, file=sys.stderr, flush=True))
"""
STREAM = b"GET /words/%d?pause_s=0.1 HTTP/1.1\r\nHost: localhost\r\n\r\n"


# The address


def test_a_port_in_use_is_one_sentence() -> None:
    with bind(Settings(port=0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            UsageError, match=f"port {port} of 127.0.0.1 is in use; choose another with --port"
        ):
            bind(Settings(port=port))
    bind(Settings(port=port)).close()


@pytest.mark.parametrize(
    ("host", "words"),
    [("0.0.0.0", "liaoliao keys new"), ("nosuch.invalid", "no such address"), ("::", "liaoliao keys new")],
)
def test_an_address_that_may_not_or_cannot_be_had(host: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        bind(Settings(host=host, port=0))


def test_an_address_of_another_machine() -> None:
    from liaoliao.server.auth import make_key

    with pytest.raises(UsageError, match="no address of this machine"):
        bind(Settings(host="192.0.2.1", port=0, api_keys=(make_key("a")[1],)))


def test_the_url_is_one_that_works() -> None:
    with bind(Settings(port=0)) as listener:
        assert url_of(listener) == f"http://127.0.0.1:{listener.getsockname()[1]}"
    if socket.has_ipv6:
        try:
            listener = bind(Settings(host="::1", port=0))
        except UsageError:  # a machine without IPv6
            return
        settings = Settings(host="::1", port=0)
        listener.close()
        with running(plain_app(settings), settings) as url:
            assert url.startswith("http://[::1]:")
            assert httpx.get(f"{url}/health").status_code == 200


# The end


@contextmanager
def process(drain_s: float = 20.0, first: str = "") -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A server of its own process, and its URL; `first` is run before anything else."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(["src", "."])}
    server = subprocess.Popen(
        [sys.executable, "-c", first + SCRIPT, str(drain_s)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8", env=env,
    )  # fmt: skip
    assert server.stderr is not None
    try:
        line = server.stderr.readline()
        assert line.startswith("ready on http://127.0.0.1:"), line + server.stderr.read()
        yield server, line.split()[2]
    finally:
        if server.poll() is None:
            server.kill()
        server.communicate()


def streaming(url: str, count: int, number: int = 1) -> list[socket.socket]:
    """Connections on which a stream has begun."""
    connections = [connect(url) for _ in range(number)]
    for connection in connections:
        connection.sendall(STREAM % count)
    for connection in connections:
        assert b"200 OK" in connection.recv(65536)
    return connections


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT], ids=lambda sig: sig.name)
def test_a_signal_lets_every_stream_finish(sig: signal.Signals) -> None:
    with process() as (server, url):
        idle = connect(url)
        idle.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"200 OK" in read_reply(idle)
        half = connect(url)
        half.sendall(b"GET /health HT")
        streams = streaming(url, 15, number=20)
        server.send_signal(sig)
        began = time.monotonic()
        until(lambda: not _accepts(url))
        assert read_all(idle) == b"", "a connection with nothing to do is closed at once"
        assert read_all(half) == b""
        for stream in streams:
            assert read_all(stream).count(b"data: [DONE]") == 1
        assert server.wait(WAIT_S) == 0
        assert 0.5 < time.monotonic() - began < 10
        told = server.stderr.read() if server.stderr else ""
        assert "stopping: 20 requests may finish within 20 s" in told
        assert told.endswith("stopped\n")


def _accepts(url: str) -> bool:
    try:
        connect(url).close()
    except OSError:
        return False
    return True


def test_an_idle_server_stops_at_once() -> None:
    with process() as (server, _):
        server.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert server.wait(WAIT_S) == 0
        assert time.monotonic() - began < 5


def test_what_does_not_finish_in_time_is_cut_off() -> None:
    with process(drain_s=0.5) as (server, url):
        [stream] = streaming(url, 100_000)
        server.send_signal(signal.SIGTERM)
        assert server.wait(WAIT_S) == 0
        assert b"[DONE]" not in read_all(stream)


def test_the_second_signal_ends_the_process() -> None:
    with process() as (server, url):
        streams = streaming(url, 100_000)
        server.send_signal(signal.SIGTERM)
        until(lambda: not _accepts(url))
        server.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert server.wait(WAIT_S) == 128 + signal.SIGTERM
        assert time.monotonic() - began < 3
        streams[0].close()


def test_what_holds_it_up_does_not_hold_it_for_ever() -> None:
    stuck = "import threading, time\nthreading.Thread(target=time.sleep, args=(1000,)).start()\n"
    with process(0.5, f"from liaoliao.server import serve\nserve._LAST_S = 1\n{stuck}") as (server, _):
        server.send_signal(signal.SIGTERM)
        assert server.wait(WAIT_S) == -signal.SIGALRM


def test_the_end_is_in_the_log() -> None:
    with process() as (server, url):
        lines: Sequence[str] = []
        assert httpx.get(f"{url}/health").status_code == 200
        server.send_signal(signal.SIGTERM)
        out, _ = server.communicate(timeout=WAIT_S)
        lines = out.splitlines()
    assert len(lines) == 1
    assert '"route": "/health"' in lines[0]
