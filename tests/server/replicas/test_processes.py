"""Who listens where, as Linux tells it."""

import os
import socket
import subprocess
import sys

import pytest

from liaoliao.server.replicas.processes import descendants, exposed, listening

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
LISTENER = (
    "import socket, sys; s = socket.create_server((sys.argv[1], 0)); print(flush=True); sys.stdin.read()"
)


@pytest.mark.parametrize(("host", "is_exposed"), [("127.0.0.1", False), ("", True)])
def test_a_child_that_listens_is_found(host: str, is_exposed: bool) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", LISTENER, host], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None and child.stdout.readline()
        assert child.pid in descendants()
        assert {child.pid} in listening({child.pid}).values()
        assert ({child.pid} in exposed({child.pid}).values()) is is_exposed
    finally:
        child.communicate(b"")
    assert child.pid not in descendants()
    assert listening({child.pid}) == {}


def test_sockets_of_others_and_those_that_do_not_listen_do_not_count() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()):
        assert listening({os.getpid()}).get("0100007F") == {os.getpid()}
        assert listening({1 << 30}) == {}
