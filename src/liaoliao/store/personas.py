"""Personas: characters to talk to, each an account's own.

store.add_persona(account.id, name="Captain Lin", system_prompt="You steer the ferry …", greeting="All aboard!")
"""

import time
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from liaoliao.errors import DataError
from liaoliao.store import schema
from liaoliao.store.accounts import account_of
from liaoliao.store.base import Part
from liaoliao.store.columns import dump_json
from liaoliao.store.ids import new_id
from liaoliao.store.ownership import AnyRow, owned
from liaoliao.store.records import Persona

MAX_NAME = 200  # characters
MAX_WORDS = 200_000  # characters of each of the texts
MAX_SOURCE = 2_000_000  # characters of JSON
MAX_AVATAR_BYTES = 512_000
_TABLE = schema.personas
_WORDS = ("description", "system_prompt", "greeting", "example")
_FIELDS = ("name", *_WORDS, "avatar", "source")
_IMAGES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")


class Personas(Part):
    """Personas of an account. Each method raises NotFoundError for what is not the account's, and DataError for
    fields that are too long or of the wrong kind: the avatar is PNG, JPEG or WebP of at most 512 kB.
    """

    def add_persona(
        self,
        account_id: str,
        *,
        name: str,
        description: str = "",
        system_prompt: str = "",
        greeting: str = "",
        example: str = "",
        avatar: bytes | None = None,
        source: Mapping[str, Any] | None = None,
    ) -> Persona:
        """A new one; `source` is the card that it was imported from."""
        words = {"description": description, "system_prompt": system_prompt, "greeting": greeting}
        values = {"name": name, **words, "example": example, "avatar": avatar, "source": dict(source or {})}
        checked_persona(values)
        id = new_id()
        with self._database.write() as connection:
            account_of(connection, account_id)
            made = insert(_TABLE).values(id=id, account_id=account_id, created_at=time.time(), **values)
            connection.execute(made)
            return _persona(owned(connection, _TABLE, id, account_id))

    def personas(self, account_id: str) -> list[Persona]:
        """All of them, oldest first."""
        wanted = (
            select(_TABLE).where(_TABLE.c.account_id == account_id).order_by(_TABLE.c.created_at, _TABLE.c.id)
        )
        with self._database.read() as connection:
            account_of(connection, account_id)
            return [_persona(row) for row in connection.execute(wanted)]

    def persona(self, account_id: str, persona_id: str) -> Persona:
        """One of them."""
        with self._database.read() as connection:
            return _persona(owned(connection, _TABLE, persona_id, account_id))

    def update_persona(self, account_id: str, persona_id: str, /, **changes: Any) -> Persona:
        """Change some of its fields; DataError for other names."""
        checked_persona(changes)
        with self._database.write() as connection:
            owned(connection, _TABLE, persona_id, account_id, to_change=True)
            if changes:
                connection.execute(update(_TABLE).where(_TABLE.c.id == persona_id).values(**changes))
            return _persona(owned(connection, _TABLE, persona_id, account_id))

    def delete_persona(self, account_id: str, persona_id: str) -> None:
        """Delete it; conversations with it go on without."""
        with self._database.write() as connection:
            owned(connection, _TABLE, persona_id, account_id, to_change=True)
            connection.execute(delete(_TABLE).where(_TABLE.c.id == persona_id))


def find_persona(connection: Connection, account_id: str, values: Mapping[str, Any]) -> str | None:
    """The account's oldest persona that has all of these values, by its id; None where there is none. `values` are those
    of every field.
    """
    same = [_TABLE.c[name] == values[name] for name in _FIELDS if name != "source"]
    wanted = select(_TABLE.c.id, _TABLE.c.source).where(_TABLE.c.account_id == account_id, *same)
    rows = connection.execute(wanted.order_by(_TABLE.c.created_at, _TABLE.c.id)).all()
    return next((str(row.id) for row in rows if row.source == values["source"]), None)


def checked_persona(values: Mapping[str, Any]) -> None:
    """Raise DataError for what is not a persona's field, or no value of it."""
    for name, value in values.items():
        if name not in _FIELDS:
            told = f"{name!r} is nothing that a persona has; it has {', '.join(_FIELDS)}"
            raise DataError(told, code="invalid_value")
        if name == "name" and not (
            isinstance(value, str) and len(value.strip()) >= 1 and len(value) <= MAX_NAME
        ):
            raise DataError(f"name: expected 1 to {MAX_NAME} characters", code="persona_name")
        if name in _WORDS and not (isinstance(value, str) and len(value) <= MAX_WORDS):
            raise DataError(f"{name}: expected text of at most {MAX_WORDS} characters", code="persona_words")
        if name == "source" and not (isinstance(value, dict) and len(dump_json(value)) <= MAX_SOURCE):
            told = f"source: expected an object of at most {MAX_SOURCE} characters of JSON"
            raise DataError(told, code="file_too_large")
        if name == "avatar" and value is not None:
            _check_avatar(value)


def _check_avatar(value: object) -> None:
    if not isinstance(value, bytes) or len(value) > MAX_AVATAR_BYTES:
        told = f"avatar: expected a picture of at most {MAX_AVATAR_BYTES} bytes"
        raise DataError(told, code="persona_picture")
    if not value.startswith(_IMAGES) and not (value[:4] == b"RIFF" and value[8:12] == b"WEBP"):
        raise DataError("avatar: expected a PNG, JPEG or WebP picture", code="persona_picture")


def _persona(row: AnyRow) -> Persona:
    return Persona(
        row.id, row.account_id, row.name, row.description, row.system_prompt, row.greeting, row.example, row.avatar,
        row.source, row.created_at,
    )  # fmt: skip
