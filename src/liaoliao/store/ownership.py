"""Who may touch what: the one place where it is decided.

    owned(connection, conversations, id, account_id)  ->  the row, if it is that account's; else NotFoundError

Every method of the store that is given an id by somebody looks it up here first. What is not there and what is
somebody else's is answered alike, in the same words: an id that was guessed or leaked tells nothing.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

from sqlalchemy import Connection, Table, select

from liaoliao.errors import NotFoundError
from liaoliao.store.ids import is_id

AnyRow: TypeAlias = Any  # a Row: what its columns are, no type checker can know
_WORDS = {
    "account_keys": "key",
    "attachments": "attachment",
    "conversations": "conversation",
    "messages": "message",
    "personas": "persona",
}


def owned(
    connection: Connection, table: Table, id: str, account_id: str, *, to_change: bool = False
) -> AnyRow:
    """The row of `table` with this id, if it belongs to the account. Raises NotFoundError for anything else.

    `to_change`: nobody else changes or deletes it until the end of the transaction.
    """
    wanted = select(table).where(table.c.id == id, table.c.account_id == account_id)
    if to_change:
        wanted = wanted.with_for_update()  # SQLite, where a writer is alone anyway, leaves this out
    row = connection.execute(wanted).first() if is_id(id) and is_id(account_id) else None
    if row is None:
        raise not_found(table)
    return row


def owned_in_order(
    connection: Connection, table: Table, ids: Sequence[str], account_id: str, *, to_change: bool = False
) -> list[AnyRow]:
    """The rows with these ids, in this order. Raises NotFoundError if one of them is not the account's."""
    return [owned(connection, table, id, account_id, to_change=to_change) for id in ids]


def not_found(table: Table) -> NotFoundError:
    """The error, in the same words whatever the reason."""
    return NotFoundError(f"there is no such {_WORDS.get(table.name, table.name)}")
