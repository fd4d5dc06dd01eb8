"""Connections and transactions: where "acknowledged" comes to mean "on the disk".

    with database.write() as connection:     # all or nothing; when the block is left, it is on the disk
        connection.execute(...)
    with database.together():                # the same for all that this thread reads and writes in the block
        ...

SQLite runs in WAL mode with synchronous=FULL: every commit is fsynced, readers never wait. There is one writer at a
time; writers of this process queue at a lock of ours, for SQLite's own way of waiting (sleep and try again) starves
some under load, and those of other processes wait for up to BUSY_S. A write transaction takes the write lock at once
(BEGIN IMMEDIATE): one that begins as a reader cannot be promised that it may write later.

PostgreSQL commits with synchronous_commit on, also where the server's default is off. Reads see one snapshot on both.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DataError, IntegrityError, SQLAlchemyError, StatementError

from liaoliao.config import home
from liaoliao.errors import DataError as OurDataError
from liaoliao.errors import LiaoError, StoreError, UsageError

BUSY_S = 30
_ACCOUNTS_LOCK = 0x6C69616F  # "liao": of those who change accounts or the schema, on PostgreSQL
_PRAGMAS = (
    f"busy_timeout = {BUSY_S * 1000}",  # first: the next one may have to wait already
    "journal_mode = WAL",
    "synchronous = FULL",
    "fullfsync = ON",  # macOS: its plain fsync leaves data in the drive's cache
    "checkpoint_fullfsync = ON",
    "foreign_keys = ON",
    "secure_delete = ON",  # what is deleted is overwritten
    "trusted_schema = OFF",
    "temp_store = MEMORY",
    "cache_size = -32000",  # kB a connection
)


class Database:
    """An engine with its two kinds of transaction. `file` is None for PostgreSQL."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.is_sqlite = url.get_backend_name() == "sqlite"
        self.file = Path(url.database or "").absolute() if self.is_sqlite else None
        self._engine = _sqlite_engine(url) if self.is_sqlite else _postgresql_engine(url)
        options: dict[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._reader = self._engine if self.is_sqlite else self._engine.execution_options(**options)
        self._writer = self._engine.execution_options(liaoliao_writes=True)
        self._writing = threading.Lock()
        self._mine = threading.local()  # .connection: of the transaction that this thread is in, if any

    def close(self) -> None:
        """Close all connections."""
        self._engine.dispose()

    @contextmanager
    def together(self) -> Iterator[None]:
        """One transaction for everything that this thread does in the block: `read` sees what was written there, and a
        `write` that raises undoes itself alone.
        """
        outer = self._joined
        with self.write() as connection:
            self._mine.connection = connection
            try:
                yield
            finally:
                self._mine.connection = outer

    @property
    def _joined(self) -> Connection | None:
        return getattr(self._mine, "connection", None)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that sees one state throughout."""
        joined = self._joined
        with told(), self._reader.begin() if joined is None else nullcontext(joined) as connection:
            yield connection

    @contextmanager
    def write(self, *, alone: bool = False) -> Iterator[Connection]:
        """A transaction that is kept as a whole when the block ends, and not at all when it raises. `alone`: no other
        of this kind at the same time (on SQLite that holds for every write).
        """
        with told(), self._transaction() as connection:
            if alone and not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ACCOUNTS_LOCK})
            yield connection

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        joined = self._joined
        if joined is not None:
            with joined.begin_nested():
                yield joined
            return
        queue: AbstractContextManager[Any] = self._writing if self.is_sqlite else nullcontext()
        with queue, self._writer.begin() as connection:
            yield connection

    def outside(self, *statements: str) -> None:
        """Run statements that cannot be part of a transaction, such as those that tidy up the files."""
        with told(), self._engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            if self.is_sqlite:
                for statement in statements:
                    raw.execute(statement).close()
                return
            raw.autocommit = True
            try:
                for statement in statements:
                    raw.execute(statement)
            finally:
                raw.autocommit = False

    def hold(self) -> Connection:
        """A connection to keep, each of whose statements is its own transaction; PostgreSQL only."""
        with told():
            return self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def parse_url(url: str | None) -> URL:
    """The database's address. Raises UsageError for those we do not know."""
    if url is None:
        return URL.create("sqlite", database=str(home() / "liaoliao.db"))
    try:
        parsed = make_url(url)
    except ArgumentError as error:
        raise UsageError(f"{url!r} is not the address of a database; {_KNOWN}") from error
    match parsed.drivername:
        case "sqlite" | "sqlite+pysqlite":
            return _checked_file(parsed)
        case "postgresql" | "postgresql+psycopg":
            return parsed.set(drivername="postgresql+psycopg")
    raise UsageError(f"{parsed.drivername}: not a database that we know; {_KNOWN}")


_KNOWN = "use sqlite:////folder/file.db or postgresql://user:password@host/name"


def _checked_file(url: URL) -> URL:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:") or url.query:
        raise UsageError(f"{url.render_as_string()}: name a file, without options; sqlite:////folder/file.db")
    return url.set(drivername="sqlite")


def prepare_file(file: Path) -> None:
    """Make the file, for its owner's eyes only. Raises UsageError where that cannot be."""
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise UsageError(f"{file}: cannot keep a database there: {error.strerror}") from error


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url, pool_size=8, max_overflow=24, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        connection.isolation_level = None  # the module begins no transactions by itself: we do, below
        for pragma in _PRAGMAS:
            _set(connection, pragma)

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("liaoliao_writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN DEFERRED")

    return engine


def _set(connection: sqlite3.Connection, pragma: str) -> None:
    """Set it; where two make a file's first connections at once, one of them is told "locked" without any waiting."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute(f"PRAGMA {pragma}").close()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _postgresql_engine(url: URL) -> Engine:
    engine = create_engine(url, pool_size=8, max_overflow=24, pool_pre_ping=True)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, _record: object) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_setting('synchronous_commit'), current_setting('server_encoding')")
            durability, encoding = cursor.fetchone()
            if encoding != "UTF8":
                raise UsageError(f"the database is in {encoding}; make it with ENCODING 'UTF8'")
            if durability == "off":
                cursor.execute("SET synchronous_commit = on")
        connection.commit()

    return engine


@contextmanager
def told() -> Iterator[None]:
    """SQLAlchemy's errors as ours. Those that only a mistake of our own can bring about pass as they are."""
    try:
        yield
    except IntegrityError:
        raise
    except DataError as error:
        why = f"a value does not fit the database: {error.orig}"
        raise OurDataError(why, code="invalid_value") from error
    except StatementError as error:
        if isinstance(error.orig, LiaoError):  # from a column type
            raise error.orig from None
        if error.orig is None or not _is_outer(error):
            raise
        raise StoreError(f"the database cannot do this now: {error.orig}") from error
    except SQLAlchemyError as error:
        raise StoreError(f"the database cannot be reached now: {error}") from error


def _is_outer(error: StatementError) -> bool:
    """Whether the cause lies outside the statement: a full disk, a lost connection, a lock, a damaged file."""
    return type(error).__name__ in ("OperationalError", "InterfaceError", "InternalError", "DatabaseError")
