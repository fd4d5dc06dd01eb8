"""The database below: addresses, durability, what a full or broken one says, and many writers at once."""

import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import text

from liaoliao.errors import StoreError, UsageError
from liaoliao.messages import Message
from liaoliao.store import Account, Store
from liaoliao.store.database import Database, parse_url

WRITE = """
import sys
from liaoliao.messages import Message
from liaoliao.store import Store

with Store.open(sys.argv[1]) as store:
    me = store.single_account()
    talk = store.conversations(me.id)[0].id
    for number in range(int(sys.argv[2])):
        store.add_message(me.id, talk, Message.user(str(number)), None)
"""


def test_every_connection_writes_through_to_the_disk(store: Store) -> None:
    database = store._database
    with database.write() as connection:
        if database.is_sqlite:
            found = {
                name: connection.execute(text(f"PRAGMA {name}")).scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete", "busy_timeout")
            }
            assert found == {
                "journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1, "busy_timeout": 30_000,
            }  # fmt: skip
        else:
            assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"


def test_a_server_with_asynchronous_commits_is_overruled(postgres: str) -> None:
    database = Database(parse_url(postgres + "&options=-csynchronous_commit%3Doff"))
    with database.write() as connection:
        assert connection.execute(text("SHOW synchronous_commit")).scalar() == "on"
    database.close()


@pytest.mark.parametrize(
    "url",
    [
        "", "nonsense", "mysql://root@host/name", "sqlite://", "sqlite:///:memory:", "sqlite:///file:x?uri=true",
        "sqlite:///x.db?mode=ro", "postgresql+asyncpg://host/name", "sqlite+aiosqlite:///x.db",
    ],
)  # fmt: skip
def test_addresses_that_are_none(url: str) -> None:
    with pytest.raises(UsageError, match=r"sqlite:////folder/file\.db"):
        Store.open(url)


def test_the_default_is_a_file_in_the_home_for_its_owner_alone(_own_home: Path) -> None:
    with Store.open() as store:
        store.single_account()
        file = _own_home / "liaoliao.db"
        assert store._database.file == file
        for path in _own_home.glob("liaoliao.db*"):
            assert path.stat().st_mode & 0o077 == 0, path


def test_a_folder_is_made_and_a_place_that_cannot_be_is_told(tmp_path: Path) -> None:
    Store.open(f"sqlite:///{tmp_path}/a/b/c.db").close()
    (tmp_path / "file").write_text("", encoding="utf-8")
    for place in (tmp_path, tmp_path / "file" / "x.db"):
        with pytest.raises(UsageError, match="cannot keep a database there"):
            Store.open(f"sqlite:///{place}")


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("hello " * 1000, encoding="utf-8")
    with pytest.raises(UsageError, match=r"x\.db: cannot be used.*not a database"):
        Store.open(f"sqlite:///{tmp_path}/x.db")


def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    with pytest.raises(UsageError, match="cannot be used") as caught:
        Store.open("postgresql://anna:hunter2@/name?host=/nowhere")
    assert "hunter2" not in str(caught.value)


def test_a_full_disk_is_told_keeps_what_there_is_and_passes(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path}/x.db") as store:
        me = store.single_account()
        talk = store.create_conversation(me.id, title="before")
        store._database.close()  # so that the next connection is the only one
        with store._database.write() as connection:
            connection.execute(text("PRAGMA max_page_count = 1"))
        with pytest.raises(StoreError, match="full"):
            store.add_message(me.id, talk.id, Message.user("x" * 1_000_000), None)
        assert store.nodes(me.id, talk.id) == [] and store.conversations(me.id)[0].title == "before"
        store._database.close()
        assert store.add_message(me.id, talk.id, Message.user("there is room again"), None).status == "done"


def test_a_lost_connection_is_made_again(postgres_database: str) -> None:
    """As when PostgreSQL is restarted: nothing but what was under way is lost, and the sign of life is given anew."""
    with Store.open(postgres_database) as store, Store.open(postgres_database) as other:
        me = store.single_account()
        talk = store.create_conversation(me.id)
        asked = store.add_message(me.id, talk.id, Message.user("?"), None).id
        made = []
        for _ in range(2):
            _cut_off(postgres_database)
            reply = store.begin_generation(me.id, talk.id, asked, model="m", model_version="v", params={})
            made.append(reply.id)
        assert store.account(me.id) == me and other.interrupt_running() == 0
        assert {store.node(me.id, id).status for id in made} == {"running"}
        _cut_off(postgres_database)
        assert other.interrupt_running() == 2, "the lock was lost, and nothing was begun since"


def _cut_off(url: str) -> None:
    """End everybody's connections to this database."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid()"
        )


def test_what_raises_leaves_nothing(store: Store, me: Account) -> None:
    with pytest.raises(ZeroDivisionError), store._database.write() as connection:
        connection.execute(text("UPDATE accounts SET name = 'changed'"))
        1 / 0  # noqa: B018
    assert store.account(me.id) == me


def test_first_connections_at_once_wait_for_each_other(tmp_path: Path) -> None:
    """Turning WAL mode on is the one thing that SQLite does not wait for by itself: one file in twenty met it."""
    failed: list[Exception] = []

    def open_it(number: int, start: threading.Barrier) -> None:
        start.wait()
        try:
            Store.open(f"sqlite:///{tmp_path}/{number}.db").close()
        except UsageError as error:
            failed.append(error)

    for number in range(40):
        start = threading.Barrier(6)
        threads = [threading.Thread(target=open_it, args=(number, start)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []


def test_threads_write_at_once_and_nothing_is_lost(store: Store, me: Account) -> None:
    talk = store.create_conversation(me.id)
    kept: list[str] = []

    def write(name: int) -> None:
        for number in range(12):
            kept.append(store.add_message(me.id, talk.id, Message.user(f"{name} {number}"), None).id)
            store.conversations(me.id, query=str(name))

    threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(kept) == 96 and {node.id for node in store.nodes(me.id, talk.id)} == set(kept)


def test_processes_write_at_once_and_nothing_is_lost(store: Store, me: Account, url: str) -> None:
    talk = store.create_conversation(me.id)
    writers = [subprocess.Popen([sys.executable, "-c", WRITE, url, "40"]) for _ in range(2)]
    for number in range(40):
        store.add_message(me.id, talk.id, Message.user(str(number)), None)
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(store.nodes(me.id, talk.id)) == 120
