"""A line to a server that can be cut, for tests of what a page does then.

    with Line(site.port) as line:       # a browser goes to line.url
        line.cut()                      # what flows breaks off in the middle, and nobody gets through
        line.mend()

A browser that is told to be offline starts nothing new, but reads on what is open; a line that is cut is cut.
"""

import contextlib
import socket
import threading


class Line:
    """Passes bytes on between whoever connects and a port of this machine, in threads of its own."""

    def __init__(self, to_port: int) -> None:
        self._to = ("127.0.0.1", to_port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock, self._whole, self._ends = threading.Lock(), True, set[socket.socket]()
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Line":  # noqa: PYI034 (beartype does not understand Self)
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()
        self._listener.close()

    def cut(self) -> None:
        """Break everything off."""
        with self._lock:
            self._whole, ends = False, list(self._ends)
            self._ends.clear()
        for end in ends:
            _hang_up(end)

    def mend(self) -> None:
        """Let people through again."""
        with self._lock:
            self._whole = True

    def _accept(self) -> None:
        while True:
            try:
                caller, _ = self._listener.accept()
            except OSError:  # it was closed
                return
            self._connect(caller)

    def _connect(self, caller: socket.socket) -> None:
        with self._lock:
            if not self._whole:
                caller.close()
                return
            called = socket.create_connection(self._to)
            self._ends |= {caller, called}
        for source, sink in ((caller, called), (called, caller)):
            threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the line was cut
            while data := source.recv(65536):
                sink.sendall(data)
        _hang_up(sink)
        with self._lock:
            self._ends.discard(sink)


def _hang_up(end: socket.socket) -> None:
    with contextlib.suppress(OSError):  # the other side was faster
        end.shutdown(socket.SHUT_RDWR)
    end.close()
