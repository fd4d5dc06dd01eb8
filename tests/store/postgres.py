"""A real PostgreSQL of our own, in a temporary folder, reached by a socket in it: nothing of the machine's is touched.

    with postgres_server() as url:          # "postgresql://postgres@/postgres?host=/tmp/…"
        Store.open(url)

It needs the programs of Debian's package `postgresql` (or PG_BIN); `missing()` says why there is none. As root, which
PostgreSQL refuses to run as, it runs as the user postgres.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

_START_S = 60.0


def missing() -> str | None:
    """Why no PostgreSQL can be started here; None if one can."""
    if _programs() is None:
        return "no PostgreSQL here: apt-get install postgresql"
    if os.geteuid() == 0 and not _has_user():
        return "PostgreSQL does not run as root, and there is no user postgres"
    return None


@contextmanager
def postgres_server(*, fsync: bool = False) -> Iterator[str]:
    """The address of a database in a server that lives as long as the block. `fsync`: as in production."""
    folder = Path(tempfile.mkdtemp(prefix="liaoliao-pg-", dir="/tmp"))
    user = _as_user()
    if user:
        shutil.chown(folder, "postgres", "postgres")
    try:
        _run(
            "initdb", "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync",
            "--locale", "C",
        )  # fmt: skip
        server = _start(folder, user, fsync=fsync)
        try:
            yield _wait(folder, server)
        finally:
            server.terminate() if fsync else server.kill()
            server.wait(30)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def new_database(url: str, name: str) -> str:
    """The address of a fresh, empty database in the same server."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)".encode())
        connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'".encode())
    return url.replace("/postgres?", f"/{name}?")


def _start(folder: Path, user: dict[str, Any], *, fsync: bool) -> "subprocess.Popen[bytes]":
    settings = {
        "listen_addresses": "", "unix_socket_directories": str(folder), "max_connections": "120",
        "fsync": "on" if fsync else "off", "shared_buffers": "64MB",
    }  # fmt: skip
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        return subprocess.Popen(
            [str(_program("postgres")), "-D", str(folder / "data"), *options],
            stdout=log, stderr=log, cwd=folder, **user,
        )  # fmt: skip


def _wait(folder: Path, server: "subprocess.Popen[bytes]") -> str:
    url, deadline = f"postgresql://postgres@/postgres?host={folder}", time.monotonic() + _START_S
    while True:
        try:
            psycopg.connect(url).close()
            return url
        except psycopg.OperationalError:
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "log").read_text(encoding="utf-8")) from None
            time.sleep(0.05)


def _run(program: str, *arguments: str) -> None:
    command = [str(_program(program)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/tmp", **_as_user())
    if done.returncode:
        raise RuntimeError(f"{program}: {done.stdout}{done.stderr}")


def _as_user() -> dict[str, Any]:
    return {"user": "postgres", "group": "postgres", "extra_groups": []} if os.geteuid() == 0 else {}


def _has_user() -> bool:
    return any(entry.pw_name == "postgres" for entry in pwd.getpwall())


def _program(name: str) -> Path:
    folder = _programs()
    assert folder is not None
    return folder / name


def _programs() -> Path | None:
    named = [Path(os.environ["PG_BIN"])] if "PG_BIN" in os.environ else []
    usual = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    on_path = shutil.which("initdb")
    folders = [*named, *reversed(usual), *([Path(on_path).parent] if on_path else [])]
    return next((folder for folder in folders if (folder / "initdb").exists()), None)
