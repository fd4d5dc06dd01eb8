"""A store for each test, on SQLite and on PostgreSQL: every test that asks for `store` runs on both."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher
from sqlalchemy import text

from liaoliao.store import Account, Store, passwords
from tests.store.postgres import new_database


@pytest.fixture(autouse=True)
def _cheap_passwords(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashes that cost nothing, but for the tests of passwords themselves."""
    if "real_passwords" not in request.fixturenames:
        monkeypatch.setattr(passwords, "_MEMORY_KIB", 8)
        monkeypatch.setattr(passwords, "_PASSES", 1)
        monkeypatch.setattr(passwords, "_LANES", 1)
        monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(1, 8, 1, 32, 16))


@pytest.fixture
def real_passwords() -> None:
    """Hashes at their real cost."""


@pytest.fixture(scope="session")
def postgres_database(postgres: str) -> str:
    """A database that the tests share, each emptying it."""
    url = new_database(postgres, "shared")
    Store.open(url).close()
    return url


@pytest.fixture(scope="session")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite database, to copy."""
    file = tmp_path_factory.mktemp("store") / "empty.db"
    Store.open(f"sqlite:///{file}").close()
    return file


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path, sqlite_file: Path) -> str:
    """The address of an empty store."""
    if request.param == "sqlite":
        shutil.copy(sqlite_file, tmp_path / "store.db")
        return f"sqlite:///{tmp_path}/store.db"
    url: str = request.getfixturevalue("postgres_database")
    with Store.open(url) as store, store._database.write() as connection:
        connection.execute(text("DELETE FROM accounts"))  # of what little a test leaves: faster than TRUNCATE
    return url


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """An empty store."""
    with Store.open(url) as store:
        yield store


@pytest.fixture
def me(store: Store) -> Account:
    """Somebody in it."""
    return store.single_account()
