"""Migrations: from nothing to the schema that the code sees, on both databases, once, together, and never backwards."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect, text

from liaoliao.errors import UsageError
from liaoliao.store import Store, migrate
from liaoliao.store.database import Database, parse_url
from liaoliao.store.schema import metadata
from tests.store.postgres import new_database


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database with nothing in it, not even tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/new.db"
    return new_database(request.getfixturevalue("postgres"), "migrated")


@pytest.fixture
def database(empty: str) -> Iterator[Database]:
    database = Database(parse_url(empty))
    yield database
    database.close()


def ours(thing: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
    """The search index is a kind of table of each database's own, which SQLAlchemy has no word for."""
    return not (name or "").startswith("search_index") and name != "alembic_version"


def test_the_migrations_make_the_schema_that_the_code_sees(database: Database) -> None:
    migrate.upgrade(database)
    with database.read() as connection:
        options = {"include_object": ours, "compare_type": True}
        assert compare_metadata(MigrationContext.configure(connection, opts=options), metadata) == []


def test_checks_and_foreign_keys_are_in_the_database_too(database: Database) -> None:
    """Alembic does not compare these."""
    migrate.upgrade(database)
    with database.read() as connection:
        found = inspect(connection)
        for table in metadata.tables.values():
            checks = {str(each["name"]) for each in found.get_check_constraints(table.name)}
            assert checks >= {str(each.name) for each in table.constraints if "Check" in type(each).__name__}
            keys = {tuple(each["constrained_columns"]): each for each in found.get_foreign_keys(table.name)}
            for key in table.foreign_key_constraints:
                kept = keys[tuple(key.column_keys)]
                assert kept["referred_table"] == key.referred_table.name
                assert kept["options"].get("ondelete") == key.ondelete


def test_head_is_the_newest_file() -> None:
    scripts = ScriptDirectory.from_config(
        Config(attributes={}, config_args={"script_location": str(migrate._FOLDER)})
    )
    assert scripts.get_heads() == [migrate.HEAD]
    assert {script.revision for script in scripts.walk_revisions()} == migrate._known()


def test_a_second_time_nothing_is_done(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    migrate.upgrade(database)
    monkeypatch.setattr(migrate, "_run", lambda connection: pytest.fail("ran again"))
    migrate.upgrade(database)


def test_a_newer_database_is_left_alone(database: Database, empty: str) -> None:
    migrate.upgrade(database)
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(UsageError, match=r"newer liaoliao \(schema 9999"):
        Store.open(empty)


def test_a_migration_that_fails_leaves_nothing(
    database: Database, empty: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = migrate._run

    def run_and_fail(connection: Any) -> None:
        run(connection)
        connection.execute(text("SELECT * FROM no_such_table"))

    monkeypatch.setattr(migrate, "_run", run_and_fail)
    with pytest.raises(UsageError, match="cannot be used"):
        Store.open(empty)
    with database.read() as connection:
        assert inspect(connection).get_table_names() == []
    monkeypatch.undo()
    Store.open(empty).close()


def test_those_who_start_at_once_do_not_step_on_each_other(empty: str) -> None:
    failed: list[Exception] = []
    start = threading.Barrier(6)

    def open_it() -> None:
        start.wait()
        try:
            Store.open(empty).close()
        except Exception as error:  # whatever it is, it is the finding
            failed.append(error)

    threads = [threading.Thread(target=open_it) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_an_older_database_is_brought_up_to_date(database: Database, empty: str) -> None:
    """With the first schema, and an answer in it: it has no tools and no code, and the rest is as it was."""
    config = Config(attributes={})
    config.set_main_option("script_location", str(migrate._FOLDER))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        talk, asked, made = ("0" * 25 + digit for digit in "123")
        no_bytes = "x''" if database.is_sqlite else "''"
        for statement in (
            f"INSERT INTO accounts VALUES ('{talk}', 'owner', 'owner', 'admin', NULL, TRUE, FALSE, 1.0)",
            f"INSERT INTO conversations VALUES ('{talk}', '{talk}', 't', FALSE, 1.0, 1.0, NULL, NULL, '{{}}', NULL)",
            f"INSERT INTO messages VALUES (1, '{asked}', '{talk}', '{talk}', NULL, 'user', 'done', 1.0, NULL, '[]')",
            f"INSERT INTO messages VALUES (2, '{made}', '{talk}', '{talk}', '{asked}', 'assistant', 'done', 1.0, NULL, "
            "'[]')",
            f"INSERT INTO generations VALUES ('{made}', '{made}', '{talk}', 'm', 'v', '{{}}', 3, 2, 1, NULL, NULL, "
            f"'stop', NULL, 0, {no_bytes})",
        ):
            connection.execute(text(statement))
    with Store.open(empty) as store:
        generation = store.node(talk, made).generation
        assert generation is not None and (generation.prompt_tokens, generation.tool_uses) == (3, ())
        assert generation.error_code is None
        store.keep_answered(talk, talk, "k", "d", talk, [made])
        assert store.answered_request(talk, talk, "k") is not None
