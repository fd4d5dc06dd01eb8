"""The message tree: it only grows, so nothing that was said is lost by editing or asking again.

    asked = store.add_message(account.id, talk.id, Message.user("2+3?"), None)
    reply = store.add_message(account.id, talk.id, Message.assistant("5"), asked.id)
    store.path(account.id, reply.id)  ->  [asked, reply]

When `add_message` returns, the message is on the disk.
"""

import time
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from liaoliao.errors import DataError
from liaoliao.messages import Message
from liaoliao.store import schema
from liaoliao.store.base import Part
from liaoliao.store.ids import new_id
from liaoliao.store.nodes import fetch_nodes
from liaoliao.store.ownership import AnyRow, not_found, owned, owned_in_order
from liaoliao.store.parts import said
from liaoliao.store.records import Node, Status
from liaoliao.store.search import Entry, Index

MAX_ATTACHED = 20  # files of one message
_FOUND_ROLES = ("user", "assistant")
_TABLE = schema.messages


class Tree(Part):
    """Messages of an account. Each method raises NotFoundError for what is not the account's."""

    def nodes(self, account_id: str, conversation_id: str) -> list[Node]:
        """All messages of a conversation, oldest first: a parent comes before its children."""
        with self._database.read() as connection:
            owned(connection, schema.conversations, conversation_id, account_id)
            return fetch_nodes(connection, _TABLE.c.conversation_id == conversation_id)

    def node(self, account_id: str, message_id: str) -> Node:
        """One message."""
        with self._database.read() as connection:
            owned(connection, _TABLE, message_id, account_id)
            return fetch_node(connection, message_id)

    def path(self, account_id: str, message_id: str) -> list[Node]:
        """The messages from the root down to this one."""
        with self._database.read() as connection:
            owned(connection, _TABLE, message_id, account_id)
            up = select(_TABLE.c.id, _TABLE.c.parent_id).where(_TABLE.c.id == message_id).cte(recursive=True)
            above = select(_TABLE.c.id, _TABLE.c.parent_id).where(_TABLE.c.id == up.c.parent_id)
            up = up.union_all(above)
            return fetch_nodes(connection, _TABLE.c.id.in_(select(up.c.id)))

    def add_message(
        self,
        account_id: str,
        conversation_id: str,
        message: Message,
        parent_id: str | None,
        *,
        status: Status = "done",
        attachment_ids: Sequence[str] = (),
        edited_from: str | None = None,
        move_head: bool = True,
    ) -> Node:
        """Put a message below `parent_id` (None: a root), and the conversation's head on it. `edited_from`: the
        sibling, of the same role, that this one improves on. Raises DataError for a parent or sibling of another
        place, for files at what is no user message, for what is no text, and for the status "running".
        """
        if status == "running":
            raise DataError("status: what is still being made is begun with begin_generation")
        with self._database.write() as connection:
            owned(connection, schema.conversations, conversation_id, account_id, to_change=True)
            if edited_from is not None:
                _check_sibling(owned(connection, _TABLE, edited_from, account_id), message, parent_id)
            row = {"status": status, "role": message.role, "parts": message.parts, "edited_from": edited_from}
            id = put(connection, account_id, conversation_id, parent_id, row, move_head=move_head)
            _attach(connection, account_id, id, message, attachment_ids)
            make_findable(connection, id)
            return fetch_node(connection, id)


def put(
    connection: Connection,
    account_id: str,
    conversation_id: str,
    parent_id: str | None,
    row: dict[str, Any],
    *,
    move_head: bool,
) -> str:
    """Insert a row of `messages` into a conversation that is the caller's to change; its id."""
    if parent_id is not None:
        parent = owned(connection, _TABLE, parent_id, account_id)
        if parent.conversation_id != conversation_id:
            raise DataError("parent_id: that message belongs to another conversation")
    now = time.time()
    id = new_id(now)
    place = {"account_id": account_id, "conversation_id": conversation_id, "parent_id": parent_id}
    connection.execute(insert(_TABLE).values(id=id, created_at=now, **place, **row))
    moved = {"updated_at": now} | ({"head_id": id} if move_head else {})
    touched = update(schema.conversations).where(schema.conversations.c.id == conversation_id)
    connection.execute(touched.values(**moved))
    return id


def fetch_node(connection: Connection, message_id: str) -> Node:
    """The node with this id, whoever it belongs to. Raises NotFoundError."""
    found = fetch_nodes(connection, _TABLE.c.id == message_id)
    if not found:
        raise not_found(_TABLE)
    return found[0]


def make_findable(connection: Connection, message_id: str) -> None:
    """Bring what can be found of a message in line with what it says."""
    row = connection.execute(select(_TABLE).where(_TABLE.c.id == message_id)).one()
    index = Index(connection)
    index.forget(schema.search_texts.c.message_id == message_id)
    if row.role in _FOUND_ROLES:
        index.add([Entry(row.account_id, row.conversation_id, message_id, said(row.parts))])


def _check_sibling(row: AnyRow, message: Message, parent_id: str | None) -> None:
    if (row.parent_id, row.role) != (parent_id, message.role):
        raise DataError("edited_from: an edited message has the parent and the role of the one it came from")


def _attach(
    connection: Connection, account_id: str, message_id: str, message: Message, ids: Sequence[str]
) -> None:
    if ids and message.role != "user":
        raise DataError(f"attachment_ids: a {message.role} message has no attachments")
    if len(ids) > MAX_ATTACHED or len(set(ids)) < len(ids):
        raise DataError(f"attachment_ids: at most {MAX_ATTACHED} different ones")
    # held until the end of the transaction, so that nobody takes one for unused
    files = owned_in_order(connection, schema.attachments, ids, account_id, to_change=True)
    for position, row in enumerate(files):
        values = {"message_id": message_id, "position": position, "attachment_id": row.id}
        connection.execute(insert(schema.message_attachments).values(**values))
