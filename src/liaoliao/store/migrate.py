"""Bring a database to the schema of this version, or say why that cannot be.

    upgrade(database)      empty -> all migrations; older -> the missing ones; current -> nothing; newer -> UsageError

The migrations lie in `liaoliao.store.migrations`, one file each, and run as one transaction: two processes that start
at the same moment, or one that is killed meanwhile, leave no half of it.
"""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from liaoliao.errors import UsageError
from liaoliao.store.database import Database

HEAD = (
    "0003"  # a test holds this equal to the newest file; so a database that is current needs no look at them
)
_FOLDER = Path(__file__).parent / "migrations"


def upgrade(database: Database) -> None:
    """Run the migrations that are missing. Raises UsageError for a database that is newer than we are."""
    with database.read() as connection:
        if revision(connection) == HEAD:
            return
    with database.write(alone=True) as connection:
        found = revision(connection)
        if found is not None and found not in _known():
            raise UsageError(
                f"{database.url.render_as_string()} was written by a newer liaoliao (schema {found}; this one "
                f"knows {HEAD}): update liaoliao, or name another database"
            )
        _run(connection)


def revision(connection: Connection) -> str | None:
    """The schema that the database is at; None for one without any."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _known() -> set[str]:
    return {file.name[1:5] for file in (_FOLDER / "versions").glob("v*.py")}


def _run(connection: Connection) -> None:
    from alembic import (
        command,
    )  # takes a third of a second to import, and is needed once in a database's life
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(_FOLDER).replace("%", "%%"))
    command.upgrade(config, "head")
