"""The process: binds the address, runs the app on it until it is told to stop, and lets running replies finish.

    listener = bind(settings)                # first of all: a port in use is told before a model is loaded
    app = create_app(settings, [served_model("current")])
    serve(app, settings, listener, say=print)

SIGTERM or Ctrl-C: nothing new is accepted, what is being answered goes on for `drain_timeout_s` at most, then the
call returns. A second signal ends the process at once. SIGHUP reads the key file again.
"""

import asyncio
import errno
import functools
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import uvicorn
from fastapi import FastAPI

from liaoliao.errors import UsageError
from liaoliao.server.guard import GuardedProtocol
from liaoliao.server.settings import Settings, check_exposure

Say = Callable[[str], None]
OnReady = Callable[[str], None]
_BACKLOG = 2048
_MAX_FILES = 65536
_OWN_FILES = 128  # descriptors that are no connections
_LAST_S = 5  # beyond the drain, for closing the engine; then the process ends whatever holds it up


def bind(settings: Settings) -> socket.socket:
    """The address of the settings as a listening socket: who connects is kept waiting until `serve`.

    Raises UsageError where it may not or cannot be had: open to others without a key, in use, not ours, unknown.
    """
    check_exposure(settings)
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise UsageError(f"--host {host}: there is no such address here ({error})") from error
    listener = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # a port that was just left may be taken; elsewhere this would allow theft
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)  # two may be bound to one port; only the second `listen` fails
    except OSError as error:
        listener.close()
        raise UsageError(_cannot_bind(host, port, error)) from error
    return listener


def _cannot_bind(host: str, port: int, error: OSError) -> str:
    match error.errno:
        case errno.EADDRINUSE:
            return f"port {port} of {host} is in use; choose another with --port, or 0 for any free one"
        case errno.EACCES:
            return f"port {port} is only for the administrator; choose one from 1024 with --port"
        case errno.EADDRNOTAVAIL:
            return f"--host {host} is no address of this machine"
    return f"cannot listen on port {port} of {host}: {error.strerror}"


def url_of(listener: socket.socket) -> str:
    """Where a client on this machine finds it."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def serve(
    app: FastAPI, settings: Settings, listener: socket.socket, *, say: Say, on_ready: OnReady | None = None
) -> None:
    """Serve until a signal, then drain and return. `say` is told in a sentence when the server is ready and when it
    stops, `on_ready` its URL once it answers; it must not take long.

    From its first signal on the process has the time to drain and five seconds; a thread that will not end cannot
    hold it up any longer.
    """
    room = _raise_file_limit() - _OWN_FILES
    if 0 < room < 2 * settings.max_connections:
        say(f"this process may have {room} connections only; `ulimit -n` sets how many files may be open")
    Server(app, settings, say, on_ready).run(sockets=[listener])


def _raise_file_limit() -> int:
    """As many open files as the system lets us have; 0 where it does not say."""
    try:
        import resource
    except ImportError:  # not a Unix
        return 0
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return int(soft)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return int(wanted)
    return int(soft)


class Server(uvicorn.Server):
    """uvicorn's server, with our protocol, our signals, and sentences instead of log lines."""

    def __init__(self, app: FastAPI, settings: Settings, say: Say, on_ready: OnReady | None = None) -> None:
        self.app, self.settings, self.say, self.on_ready = app, settings, say, on_ready
        protocol = functools.partial(GuardedProtocol, settings=settings)
        super().__init__(
            uvicorn.Config(
                app,
                http=protocol,  # type: ignore[arg-type]  # it is called like the class
                ws="none",
                loop="asyncio",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,  # nothing here believes a header about where a request comes from
                backlog=_BACKLOG,
                timeout_keep_alive=settings.keep_alive_s,  # type: ignore[arg-type]  # a fraction is as good
                timeout_graceful_shutdown=settings.drain_timeout_s,  # type: ignore[arg-type]
                h11_max_incomplete_event_size=settings.max_header_bytes,
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin, and tell where."""
        await super().startup(sockets)
        if self.started and sockets:
            url = url_of(sockets[0])
            self.say(f"ready on {url}  (OpenAI clients: base_url {url}/v1; Ctrl-C stops)")
            if self.on_ready:
                self.on_ready(url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let replies finish, and end."""
        self.app.state.draining = True
        within_s, live = self.settings.drain_timeout_s, getattr(self.app.state, "live", None)
        if num_running := len(self.server_state.tasks) + (live.num_running if live else 0):
            self.say(f"stopping: {num_running} requests may finish within {within_s:g} s")
        if live is not None:  # answers of the page go on without a request: they have the same time as those
            await asyncio.gather(live.drain(within_s), super().shutdown(sockets))
        else:
            await super().shutdown(sockets)
        self.say("stopped")

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Obey signals while the context lasts; unlike uvicorn's, a drained server is not killed by its SIGTERM
        afterwards but returns.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handlers = {signal.SIGINT: self.handle_exit, signal.SIGTERM: self.handle_exit}
        if hasattr(signal, "SIGHUP"):
            handlers[signal.SIGHUP] = self._reload_keys
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal stops the server, the second the process."""
        if self.should_exit:
            os._exit(128 + sig)
        self.should_exit = self.app.state.draining = True
        if hasattr(signal, "alarm"):
            signal.alarm(round(self.settings.drain_timeout_s) + _LAST_S)

    def _reload_keys(self, sig: int, frame: FrameType | None) -> None:
        if self.app.state.keys is not None:
            self.app.state.keys.expire()
