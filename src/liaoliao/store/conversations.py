"""Conversations: made, listed, found, changed and deleted.

    store.conversations(account.id, query="ferry")  ->  [ConversationSummary(title="Hong Kong", snippet="…the ferry…"), …]

Pinned ones come first, and the newest first among each; `before` goes on after the last one that was shown. A query is
asked of the newest conversations directly, and of the index only when those do not fill the list: so what is common is
found at once, and what the index is asked for is rare.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, select, tuple_, update

from liaoliao.errors import DataError
from liaoliao.store import schema
from liaoliao.store.accounts import account_of
from liaoliao.store.base import Part
from liaoliao.store.columns import dump_json
from liaoliao.store.ids import new_id
from liaoliao.store.ownership import AnyRow, owned
from liaoliao.store.parts import said
from liaoliao.store.records import Conversation, ConversationSummary
from liaoliao.store.search import Entry, Index, has_words, is_indexed, snippet, words_of

MAX_TITLE = 500  # characters
MAX_SETTINGS = 100_000  # characters of JSON
_NEWEST = 300  # conversations that a query looks through without the index
_TABLE, _TEXTS = schema.conversations, schema.search_texts
_MESSAGES, _FILES, _SHOWN = schema.messages, schema.attachments, schema.message_attachments
_LISTED = tuple(column for column in _TABLE.c if column.name != "settings")
_ORDER = (_TABLE.c.pinned, _TABLE.c.updated_at, _TABLE.c.id)
_CHANGES = ("title", "pinned", "model", "persona_id", "settings", "head_id")


class Conversations(Part):
    """Conversations of an account. Each method raises NotFoundError for what is not the account's."""

    def create_conversation(
        self,
        account_id: str,
        *,
        title: str = "",
        model: str | None = None,
        persona_id: str | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> Conversation:
        """A new, empty one. Raises DataError for a title or settings that are too long, or no text or JSON."""
        now = time.time()
        values = checked_changes({"title": title, "model": model, "settings": dict(settings or {})})
        times = {"created_at": now, "updated_at": now}
        with self._database.write() as connection:
            account_of(connection, account_id)
            if persona_id is not None:
                owned(connection, schema.personas, persona_id, account_id)
            id = new_id()
            made = insert(_TABLE).values(id=id, account_id=account_id, pinned=False, persona_id=persona_id)
            connection.execute(made.values(**values, **times))
            Index(connection).add([Entry(account_id, id, None, title)])
            return _conversation(owned(connection, _TABLE, id, account_id))

    def conversation(self, account_id: str, conversation_id: str) -> Conversation:
        """One of them."""
        with self._database.read() as connection:
            return _conversation(owned(connection, _TABLE, conversation_id, account_id))

    def conversations(
        self, account_id: str, *, query: str = "", limit: int = 50, before: str | None = None
    ) -> list[ConversationSummary]:
        """Up to `limit` of them: pinned first, then the newest; with `before`, those after that one in this order.
        With a query, those of which the title or a message has each of its blank-separated words as a part.
        """
        words = words_of(query)
        with self._database.read() as connection:
            listed = select(*_LISTED).where(_TABLE.c.account_id == account_id)
            if before is not None:
                last = owned(connection, _TABLE, before, account_id)
                listed = listed.where(tuple_(*_ORDER) < (last.pinned, last.updated_at, last.id))
            listed = listed.order_by(*(column.desc() for column in _ORDER))
            if not words:
                return [_summary(row, None) for row in connection.execute(listed.limit(limit))]
            rows = _found(connection, listed, words, account_id, limit)
            around = _snippets(connection, [row.id for row in rows], words)
            return [_summary(row, around.get(row.id)) for row in rows]

    def update_conversation(self, account_id: str, conversation_id: str, /, **changes: Any) -> Conversation:
        """Change title, pinned, model, persona_id, settings (as a whole) or head_id; its place in the list stays. The
        head is a message of the conversation. Raises DataError for other names and for values of the wrong kind.
        """
        values = checked_changes(changes)
        with self._database.write() as connection:
            owned(connection, _TABLE, conversation_id, account_id, to_change=True)
            _refuse_foreign(connection, account_id, conversation_id, values)
            if values:
                connection.execute(update(_TABLE).where(_TABLE.c.id == conversation_id).values(**values))
            if "title" in values:
                index, is_title = Index(connection), _TEXTS.c.message_id.is_(None)
                index.forget(_TEXTS.c.conversation_id == conversation_id, is_title)
                index.add([Entry(account_id, conversation_id, None, values["title"])])
            return _conversation(owned(connection, _TABLE, conversation_id, account_id))

    def delete_conversation(self, account_id: str, conversation_id: str) -> None:
        """Delete it with all of its messages, and the files that no other conversation shows. A reply in the making is
        lost: finishing it raises NotFoundError.
        """
        shown = select(_SHOWN.c.attachment_id).join(_MESSAGES, _MESSAGES.c.id == _SHOWN.c.message_id)
        shown_here = shown.where(_MESSAGES.c.conversation_id == conversation_id).distinct()
        with self._database.write() as connection:
            owned(connection, _TABLE, conversation_id, account_id, to_change=True)
            held = select(_FILES.c.id).where(_FILES.c.id.in_(shown_here)).order_by(_FILES.c.id)
            # held until the end of the transaction, so that none of them is just being shown elsewhere
            files = connection.execute(held.with_for_update()).scalars().all()
            Index(connection).forget(_TEXTS.c.conversation_id == conversation_id)
            connection.execute(delete(_TABLE).where(_TABLE.c.id == conversation_id))
            for id in files:
                unseen = ~select(_SHOWN.c.attachment_id).where(_SHOWN.c.attachment_id == id).exists()
                connection.execute(delete(_FILES).where(_FILES.c.id == id, unseen))


def _found(
    connection: Connection, listed: Select[Any], words: Sequence[str], account_id: str, limit: int
) -> Sequence[AnyRow]:
    is_sqlite = connection.dialect.name == "sqlite"
    newest = listed.limit(_NEWEST).subquery()
    text_has = select(_TEXTS.c.number).where(
        _TEXTS.c.conversation_id == newest.c.id, has_words(words, is_sqlite=is_sqlite)
    )
    order = (newest.c[column.name].desc() for column in _ORDER)
    near = connection.execute(select(newest).where(text_has.exists()).order_by(*order).limit(limit)).all()
    if len(near) == limit:
        return near
    through_index = select(_TEXTS.c.conversation_id).where(
        _TEXTS.c.account_id == account_id, is_indexed(words, account_id, is_sqlite=is_sqlite)
    )
    return connection.execute(listed.where(_TABLE.c.id.in_(through_index)).limit(limit)).all()


def _snippets(connection: Connection, ids: Sequence[str], words: Sequence[str]) -> dict[str, str]:
    """For each conversation the words around what was found; none for those whose title has it."""
    has = has_words(words, is_sqlite=connection.dialect.name == "sqlite")
    columns = (_TEXTS.c.conversation_id, _TEXTS.c.message_id)
    rows = connection.execute(
        select(*columns).where(_TEXTS.c.conversation_id.in_(ids), has).order_by(_TEXTS.c.number.desc())
    ).all()
    first: dict[str, str | None] = {row.conversation_id: row.message_id for row in rows}
    first |= {row.conversation_id: None for row in rows if row.message_id is None}
    messages = schema.messages
    wanted = [id for id in first.values() if id is not None]
    found = connection.execute(
        select(messages.c.conversation_id, messages.c.parts).where(messages.c.id.in_(wanted))
    )
    return {row.conversation_id: snippet(said(row.parts), words) for row in found}


def checked_changes(changes: Mapping[str, Any]) -> dict[str, Any]:
    """The values as they are kept. Raises DataError."""
    for name, value in changes.items():
        if name not in _CHANGES:
            raise DataError(f"{name!r} is nothing that a conversation has; it has {', '.join(_CHANGES)}")
        if name == "settings" and not (
            isinstance(value, Mapping) and len(dump_json(dict(value))) <= MAX_SETTINGS
        ):
            raise DataError(f"settings: expected an object of at most {MAX_SETTINGS} characters of JSON")
        if name == "pinned" and not isinstance(value, bool):
            raise DataError("pinned: expected true or false")
        if name == "title" and not (isinstance(value, str) and len(value) <= MAX_TITLE):
            raise DataError(f"title: expected text of at most {MAX_TITLE} characters")
        if name in ("model", "persona_id", "head_id") and not isinstance(value, str | None):
            raise DataError(f"{name}: expected text or nothing")
    return dict(changes)


def _conversation(row: AnyRow) -> Conversation:
    return Conversation(
        row.id, row.account_id, row.title, row.pinned, row.created_at, row.updated_at, row.model, row.persona_id,
        row.settings, row.head_id,
    )  # fmt: skip


def _summary(row: AnyRow, around: str | None) -> ConversationSummary:
    return ConversationSummary(
        row.id, row.account_id, row.title, row.pinned, row.created_at, row.updated_at, row.model, row.persona_id,
        row.head_id, around,
    )  # fmt: skip


def _refuse_foreign(
    connection: Connection, account_id: str, conversation_id: str, values: Mapping[str, Any]
) -> None:
    if values.get("persona_id") is not None:
        owned(connection, schema.personas, values["persona_id"], account_id)
    if values.get("head_id") is not None:
        message = owned(connection, schema.messages, values["head_id"], account_id)
        if message.conversation_id != conversation_id:
            raise DataError("head_id: that message belongs to another conversation")
