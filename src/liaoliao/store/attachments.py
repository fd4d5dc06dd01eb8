"""Attachments: text files that people give, kept apart from the messages that show them.

file = store.add_attachment(account.id, "notes.txt", "text/plain", b"The ferry leaves at 9.")
store.add_message(account.id, talk.id, Message.user("When?"), None, attachment_ids=[file.id])
"""

import time
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from liaoliao.errors import DataError
from liaoliao.store import schema
from liaoliao.store.accounts import account_of
from liaoliao.store.base import Part
from liaoliao.store.columns import checked_words
from liaoliao.store.ids import new_id
from liaoliao.store.nodes import attachment_from
from liaoliao.store.ownership import owned
from liaoliao.store.records import Attachment

MAX_BYTES = 1 << 20
MAX_NAME = 255  # characters
UNUSED_S = 86_400.0  # so long a file may wait for the message that it is to go with
_TABLE, _SHOWN = schema.attachments, schema.message_attachments


class Attachments(Part):
    """Text files of an account. Each method raises NotFoundError for what is not the account's."""

    def add_attachment(self, account_id: str, name: str, media_type: str, data: bytes) -> Attachment:
        """Keep a file. Raises DataError unless it is UTF-8 text without NUL, of at most 1 MiB, with a name of at most
        255 characters.
        """
        text = checked_attachment(name, media_type, data)
        with self._database.write() as connection:
            account_of(connection, account_id)
            return keep_attachment(connection, account_id, name, media_type, text, time.time())

    def attachment(self, account_id: str, attachment_id: str) -> Attachment:
        """A file without its text."""
        with self._database.read() as connection:
            return attachment_from(owned(connection, _TABLE, attachment_id, account_id))

    def attachment_text(self, account_id: str, attachment_id: str) -> str:
        """What is in a file."""
        with self._database.read() as connection:
            return str(owned(connection, _TABLE, attachment_id, account_id).text)

    def forget_unused(self, *, older_than_s: float = UNUSED_S, most: int = 1000) -> int:
        """Delete up to `most` files that no message shows and that were given so long ago; how many these were."""
        unused = ~select(_SHOWN.c.attachment_id).where(_SHOWN.c.attachment_id == _TABLE.c.id).exists()
        old = select(_TABLE.c.id).where(_TABLE.c.created_at <= time.time() - older_than_s, unused)
        with self._database.write() as connection:
            found = old.limit(most).with_for_update(skip_locked=True)  # from here on nobody shows one of them
            ids = connection.execute(found).scalars().all()
            # asked again: one may have been shown after the look and before the lock
            return connection.execute(delete(_TABLE).where(_TABLE.c.id.in_(ids), unused)).rowcount


def keep_attachment(
    connection: Connection, account_id: str, name: str, media_type: str, text: str, created_at: float
) -> Attachment:
    """Insert a row of `attachments`."""
    id, size = new_id(), len(text.encode("utf-8"))
    values: dict[str, Any] = {"name": name, "media_type": media_type, "size_bytes": size, "text": text}
    connection.execute(insert(_TABLE).values(id=id, account_id=account_id, created_at=created_at, **values))
    return Attachment(id, account_id, name, media_type, size, created_at)


def checked_attachment(name: str, media_type: str, data: bytes) -> str:
    """The text of a file. Raises DataError for one that cannot be kept."""
    if not 1 <= len(name) <= MAX_NAME or len(media_type) > MAX_NAME:
        raise DataError(f"an attachment's name has 1 to {MAX_NAME} characters", code="invalid_value")
    if len(data) > MAX_BYTES:
        told = f"{name}: {len(data)} bytes; an attachment has at most {MAX_BYTES}"
        raise DataError(told, code="file_too_large")
    try:
        return checked_words(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise DataError(f"{name}: not a text file in UTF-8 (byte {error.start})", code="not_text") from error
    except DataError as error:
        raise DataError(f"{name}: not a text file: {error}", code="not_text") from error
