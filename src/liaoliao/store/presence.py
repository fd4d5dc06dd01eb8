"""Which servers live, so that after a crash nobody takes a reply in the making for one that was left behind.

    presence.hold()                        this process makes replies from here on
    presence.alive(connection, server_id)  whether the one that began a reply may still finish it

A heartbeat would have to choose between being wrong for a while and writing all the time. So the operating system is
asked: a server holds a lock for as long as its process lives, on a file beside the SQLite database, or, on PostgreSQL,
an advisory lock of a connection of its own. Both are gone the moment the process is, however it ended.
"""

import hashlib
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

if sys.platform != "win32":
    import fcntl

from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from liaoliao.errors import StoreError
from liaoliao.store.database import Database, told
from liaoliao.store.ids import new_id


class Presence:
    """The sign that this server lives, under the name `id`, and the look at those of others."""

    def __init__(self, database: Database) -> None:
        self.id = new_id()
        self._database = database
        self._files = _Files(database.file) if database.file else None
        self._held: int | Connection | None = None
        self._guard = threading.Lock()

    def hold(self) -> None:
        """Be seen to live from now on, until `release` or the end of the process. Costs next to nothing the second
        time. Raises StoreError where there is no room for the sign.
        """
        with self._guard, told():
            if self._files is not None:
                self._held = self._files.lock(self.id) if self._held is None else self._held
            elif not isinstance(self._held, Connection) or not _answers(self._held):
                self._held = self._database.hold()
                self._held.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _key(self.id)})

    def alive(self, connection: Connection, server_id: str) -> bool:
        """Whether that server lives. On PostgreSQL the answer holds until the end of the connection's transaction."""
        if server_id == self.id and self._held is not None:
            return True
        if self._files is not None:
            return self._files.is_locked(server_id)
        free = text("SELECT pg_try_advisory_xact_lock_shared(:key)")  # shared: who looks is not taken for it
        return not connection.execute(free, {"key": _key(server_id)}).scalar()

    def sweep(self) -> None:
        """Remove the files of servers that were killed."""
        if self._files is not None:
            self._files.sweep()

    def release(self) -> None:
        """Be gone."""
        with self._guard:
            if isinstance(self._held, Connection):
                self._held.invalidate()  # ends the session, and its lock with it, rather than back into the pool
                self._held.close()
            elif self._held is not None and self._files is not None:
                self._files.unlock(self.id, self._held)
            self._held = None


class _Files:
    """Locked files in a folder beside the database: one for each server, named after it."""

    def __init__(self, database: Path) -> None:
        self._folder = database.with_name(database.name + ".servers")

    def lock(self, name: str) -> int:
        """The descriptor of the file, locked; the lock lives as long as it."""
        while True:  # until nobody who looked has removed it, or the empty folder, just then
            try:
                self._folder.mkdir(mode=0o700, exist_ok=True)
                handle = os.open(self._folder / name, os.O_RDWR | os.O_CREAT, 0o600)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise StoreError(f"{self._folder}: cannot keep a file there: {error.strerror}") from error
            if _try_lock(handle) and self._is_at(name, handle):
                return handle
            os.close(handle)

    def sweep(self) -> None:
        """Remove the files that nobody holds."""
        with suppress(FileNotFoundError):
            for file in list(self._folder.iterdir()):
                self.is_locked(file.name)

    def is_locked(self, name: str) -> bool:
        """Whether its server holds it. One that is not held is removed."""
        try:
            handle = os.open(self._folder / name, os.O_RDWR)
        except FileNotFoundError:
            return False
        try:
            if not _try_lock(handle, shared=True):  # shared: who looks is not taken for the server
                return True
            if self._is_at(name, handle):
                with suppress(FileNotFoundError):  # somebody else who looks was faster
                    (self._folder / name).unlink()
            return False
        finally:
            os.close(handle)

    def unlock(self, name: str, handle: int) -> None:
        """Remove the file."""
        with suppress(FileNotFoundError):
            (self._folder / name).unlink()
        os.close(handle)
        with suppress(OSError):  # others' files are in it
            self._folder.rmdir()

    def _is_at(self, name: str, handle: int) -> bool:
        try:
            return os.path.samestat(os.fstat(handle), (self._folder / name).stat())
        except FileNotFoundError:
            return False


def _try_lock(handle: int, *, shared: bool = False) -> bool:
    if sys.platform == "win32":
        return True  # no such lock there: one server at a time, and each start takes what is running for left behind
    try:
        fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _answers(connection: Connection) -> bool:
    try:
        connection.execute(text("SELECT 1"))
    except SQLAlchemyError:
        connection.invalidate()
        connection.close()
        return False
    return True


def _key(server_id: str) -> int:
    digest = hashlib.blake2b(server_id.encode("ascii"), digest_size=8, person=b"liaoliao-server").digest()
    return int.from_bytes(digest, "big", signed=True)
