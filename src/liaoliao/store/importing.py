"""Exported conversations into the database: checked first, then inserted as a whole.

    importer = Importer(account.id, personas, files, note)
    importer.keep(connection, "conversation 1", talk)

Each conversation in a savepoint of the caller's, so that one which turns out bad halfway leaves nothing.
"""

import base64
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from sqlalchemy import Connection, insert, select

from liaoliao.errors import DataError
from liaoliao.messages import Message
from liaoliao.store import schema
from liaoliao.store.attachments import checked_attachment, keep_attachment
from liaoliao.store.conversations import checked_changes
from liaoliao.store.database import told
from liaoliao.store.feedback import checked_feedback, keep_feedback, keep_vote
from liaoliao.store.ids import new_id
from liaoliao.store.parts import parts_from_json, said
from liaoliao.store.personas import checked_persona, find_persona
from liaoliao.store.records import Feedback, Vote
from liaoliao.store.search import Entry, Index
from liaoliao.store.wire import (
    ExportedAttachment,
    ExportedConversation,
    ExportedMessage,
    ExportedPersona,
    checked,
    in_order,
)

_NOBODY = "0" * 26  # no server's id: who made an imported reply is not here
_PROMPT, _CONTINUES = "prompt", "continues"  # in what a page keeps of a reply: what it goes on with


class Importer:
    """What one import has brought over so far: the new ids of what several conversations may name."""

    def __init__(
        self,
        account_id: str,
        personas: Mapping[str, ExportedPersona],
        files: Mapping[str, ExportedAttachment],
        note: Callable[[str], None],
    ) -> None:
        self._account_id, self._personas, self._files, self._note = account_id, personas, files, note
        self._persona_ids: dict[str, str] = {}
        self.num_conversations = self.num_messages = 0

    def keep_personas(self, connection: Connection) -> None:
        """Insert the file's personas but for those that the account has already, just as they are; what cannot be a
        persona is noted.
        """
        for old, persona in self._personas.items():
            try:
                values = _persona_values(persona)
                with told(), connection.begin_nested():
                    self._persona_ids[old] = self._persona(connection, values)
            except DataError as error:
                self._note(f"persona {persona.name[:60]}: {error}")

    def keep(self, connection: Connection, label: str, talk: ExportedConversation) -> None:
        """Insert a conversation. Raises DataError, halfway or not, for one that cannot be."""
        messages = in_order(checked(talk).messages)
        ids = {message.id: new_id() for message in messages}
        conversation_id = new_id()
        self._keep_conversation(connection, conversation_id, talk, ids)
        rows = [self._message_row(conversation_id, message, ids) for message in messages]
        if rows:
            connection.execute(insert(schema.messages), rows)
        made = [_generation_row(message, ids) for message in messages if message.generation]
        if made:
            connection.execute(insert(schema.generations), made)
        self._keep_attached(connection, label, messages, ids)
        self._keep_opinions(connection, conversation_id, talk, ids)
        Index(connection).add(self._entries(conversation_id, talk, rows))
        self.num_conversations += 1
        self.num_messages += len(messages)

    def _persona(self, connection: Connection, values: Mapping[str, Any]) -> str:
        """The persona of the account that has these values, which is made where there is none: its id."""
        there = find_persona(connection, self._account_id, values)
        if there is not None:
            return there
        id, now = new_id(), time.time()
        made = insert(schema.personas).values(id=id, account_id=self._account_id, created_at=now)
        connection.execute(made.values(**values))
        return id

    def _persona_of(self, connection: Connection, talk: ExportedConversation) -> str | None:
        """The persona of a conversation, if it is one of the file and nobody has deleted it since."""
        id = self._persona_ids.get(talk.persona_id or "")
        if id is None:
            return None
        wanted = select(schema.personas.c.id).where(schema.personas.c.id == id)
        there = connection.execute(wanted.with_for_update(read=True, key_share=True)).first()
        return None if there is None else id

    def _keep_conversation(
        self, connection: Connection, id: str, talk: ExportedConversation, ids: Mapping[str, str]
    ) -> None:
        settings = dict(talk.settings or {})
        values = checked_changes(
            {"title": talk.title, "pinned": talk.pinned, "model": talk.model, "settings": settings}
        )
        tied = {
            "persona_id": self._persona_of(connection, talk),
            "head_id": ids[talk.head_id] if talk.head_id is not None else None,
        }
        times = {"created_at": talk.created_at, "updated_at": talk.updated_at}
        made = insert(schema.conversations).values(
            id=id, account_id=self._account_id, **values, **tied, **times
        )
        connection.execute(made)

    def _message_row(
        self, conversation_id: str, message: ExportedMessage, ids: Mapping[str, str]
    ) -> dict[str, Any]:
        parts = Message(message.role, parts_from_json(list(map(dict, message.parts)))).parts
        return {
            "id": ids[message.id],
            "account_id": self._account_id,
            "conversation_id": conversation_id,
            "parent_id": None if message.parent_id is None else ids[message.parent_id],
            "role": message.role,
            "status": "interrupted" if message.status == "running" else message.status,
            "created_at": message.created_at,
            "edited_from": None if message.edited_from is None else ids[message.edited_from],
            "parts": parts,
        }

    def _keep_attached(
        self, connection: Connection, label: str, messages: list[ExportedMessage], ids: Mapping[str, str]
    ) -> None:
        """Insert the files that the messages show; each conversation gets its own."""
        kept: dict[str, str] = {}
        for message in messages:
            for position, old in enumerate(dict.fromkeys(message.attachments)):
                if old not in self._files:
                    self._note(f"{label}: an attachment that is not in the file")
                    continue
                kept[old] = kept.get(old) or self._keep_file(connection, self._files[old])
                values = {"message_id": ids[message.id], "position": position, "attachment_id": kept[old]}
                connection.execute(insert(schema.message_attachments).values(**values))

    def _keep_file(self, connection: Connection, file: ExportedAttachment) -> str:
        text = checked_attachment(file.name, file.media_type, file.text.encode("utf-8", "surrogatepass"))
        return keep_attachment(connection, self._account_id, file.name, file.media_type, text, time.time()).id

    def _keep_opinions(
        self, connection: Connection, conversation_id: str, talk: ExportedConversation, ids: Mapping[str, str]
    ) -> None:
        for message in talk.messages:
            if (given := message.feedback) is not None:
                feedback = Feedback(
                    ids[message.id], given.thumb, given.reasons, given.comment, given.updated_at
                )
                keep_feedback(connection, checked_feedback(feedback, message.role))
        for vote in talk.votes:
            rejected = None if vote.rejected_id is None else ids[vote.rejected_id]
            parent, chosen = ids[vote.parent_id], ids[vote.chosen_id]
            kept = Vote(new_id(), conversation_id, parent, chosen, rejected, vote.created_at)
            keep_vote(connection, self._account_id, kept)

    def _entries(
        self, conversation_id: str, talk: ExportedConversation, rows: list[dict[str, Any]]
    ) -> list[Entry]:
        title = Entry(self._account_id, conversation_id, None, talk.title)
        heard = (row for row in rows if row["role"] in ("user", "assistant"))
        return [
            title,
            *(Entry(self._account_id, conversation_id, row["id"], said(row["parts"])) for row in heard),
        ]


def _persona_values(persona: ExportedPersona) -> dict[str, Any]:
    try:
        avatar = None if persona.avatar is None else base64.b64decode(persona.avatar, validate=True)
    except ValueError as error:
        raise DataError(f"avatar: the base64 data is damaged: {error}") from error
    names = ("name", "description", "system_prompt", "greeting", "example")
    values = {name: getattr(persona, name) for name in names}
    values |= {"avatar": avatar, "source": dict(persona.source or {})}
    checked_persona(values)
    return values


def _generation_row(message: ExportedMessage, ids: Mapping[str, str]) -> dict[str, Any]:
    made = message.generation
    if made is None or message.role != "assistant":
        raise DataError(f"a {message.role} message has not been generated")
    row = {field.name: getattr(made, field.name) for field in fields(made)}
    return {
        **row,
        "params": _params(made.params, ids),
        "id": new_id(),
        "message_id": ids[message.id],
        "server_id": _NOBODY,
    }


def _params(params: Mapping[str, Any], ids: Mapping[str, str]) -> dict[str, Any]:
    """What was kept of a reply's making, with the id that the message it goes on with has here: None for one that is
    not in its conversation, and the reply still counts as one that goes on.
    """
    prompt = params.get(_PROMPT)
    if not isinstance(prompt, Mapping) or _CONTINUES not in prompt:
        return dict(params)
    old = prompt[_CONTINUES]
    return {**params, _PROMPT: {**prompt, _CONTINUES: ids.get(old) if isinstance(old, str) else None}}
