"""What is left in a database, looked at from below: rows by table, grams in the index, bytes in the files."""

import sqlite3
from pathlib import Path

from sqlalchemy import text

from liaoliao.store import Store
from liaoliao.store.schema import metadata


def rows_left(store: Store) -> dict[str, int]:
    """The number of rows of every table that the store has."""
    with store._database.read() as connection:
        return {
            name: connection.execute(text(f"SELECT count(*) FROM {name}")).scalar_one()
            for name in metadata.tables
        }


def grams_left(store: Store) -> int:
    """How many grams the search index holds, each counted once for every text that has it."""
    file = store._database.file
    if file is None:
        with store._database.read() as connection:
            return int(connection.execute(text("SELECT count(*) FROM search_index")).scalar_one())
    connected = sqlite3.connect(file)
    connected.execute("CREATE VIRTUAL TABLE temp.grams USING fts5vocab(main, search_index, row)")
    found = connected.execute("SELECT coalesce(sum(doc), 0) FROM temp.grams").fetchone()[0]
    connected.close()
    return int(found)


def bytes_left(file: Path) -> bytes:
    """All that the files of a SQLite database hold."""
    return b"".join(path.read_bytes() for path in file.parent.glob(file.name + "*") if path.is_file())
