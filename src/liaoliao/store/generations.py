"""Generations: the making of assistant messages, kept while it goes on, so that a crash loses half a second of it.

    node = store.begin_generation(account.id, talk.id, asked.id, model="town-30", model_version="9f3…", params={…})
    store.save_partial(node.id, Message.assistant("It leaves at"), ids)                # as often as one likes
    store.finish_generation(node.id, Message.assistant("It leaves at 9."), "done", token_ids=ids, total_s=1.2)

What a server leaves running when it dies, the next one to start marks as interrupted, with the text that was saved;
what another server on the same database is still making stays as it is (`is_made_elsewhere`), unless somebody wants it
stopped: its maker is told so when it saves next.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, insert, select, update

from liaoliao.errors import DataError, UsageError
from liaoliao.messages import Message
from liaoliao.store import schema
from liaoliao.store.base import Part
from liaoliao.store.ids import is_id, new_id
from liaoliao.store.ownership import not_found, owned
from liaoliao.store.records import Node, Status, ToolUse
from liaoliao.store.tree import fetch_node, make_findable, put

_TABLE, _MESSAGES = schema.generations, schema.messages
_UNFINISHED = ("running", "interrupted")  # the latter: by a server that took this one for dead


class Generations(Part):
    """The making of assistant messages."""

    def begin_generation(
        self,
        account_id: str,
        conversation_id: str,
        parent_id: str,
        *,
        model: str,
        model_version: str,
        params: Mapping[str, Any],
        move_head: bool = True,
    ) -> Node:
        """An empty assistant message below `parent_id` with the status "running", and the head on it. Raises
        NotFoundError for what is not the account's and DataError for a parent in another conversation.
        """
        self._presence.hold()
        with self._database.write() as connection:
            owned(connection, schema.conversations, conversation_id, account_id, to_change=True)
            row = {"status": "running", "role": "assistant", "parts": ()}
            id = put(connection, account_id, conversation_id, parent_id, row, move_head=move_head)
            maker = {"server_id": self._presence.id, "model": model, "model_version": model_version}
            empty = {"prompt_tokens": 0, "completion_tokens": 0, "cached_tokens": 0, "opening_tokens": 0}
            made = insert(_TABLE).values(
                id=new_id(), message_id=id, params=dict(params), token_ids=(), **maker
            )
            connection.execute(made.values(**empty))
            return fetch_node(connection, id)

    def save_partial(
        self,
        message_id: str,
        message: Message,
        token_ids: Sequence[int],
        tool_uses: Sequence[ToolUse] = (),
    ) -> None:
        """Keep what there is of a reply so far. Raises NotFoundError if its conversation was deleted, UsageError if
        it is finished.
        """
        with self._database.write() as connection:
            _rewrite(connection, message_id, message, "running")
            kept = update(_TABLE).where(_TABLE.c.message_id == message_id)
            figures = {"token_ids": tuple(token_ids), "completion_tokens": len(token_ids)}
            connection.execute(kept.values(**figures, tool_uses=tuple(tool_uses)))

    def finish_generation(
        self,
        message_id: str,
        message: Message,
        status: Status,
        *,
        token_ids: Sequence[int] = (),
        opening_tokens: int = 0,
        tool_uses: Sequence[ToolUse] = (),
        prompt_tokens: int = 0,
        completion_tokens: int = 0,
        cached_tokens: int = 0,
        first_token_s: float | None = None,
        total_s: float | None = None,
        finish_reason: str | None = None,
        error: str | None = None,
        error_code: str | None = None,
    ) -> Node:
        """Keep a reply as it came to be, with the figures of its making. Raises NotFoundError if its conversation was
        deleted, UsageError if it is finished already, DataError for the status "running" or figures out of range.
        """
        if status == "running":
            raise DataError("status: what is finished is not running")
        figures = {
            "token_ids": tuple(token_ids), "opening_tokens": opening_tokens, "prompt_tokens": prompt_tokens,
            "completion_tokens": completion_tokens, "cached_tokens": cached_tokens, "first_token_s": first_token_s,
            "total_s": total_s, "finish_reason": finish_reason, "error": error,
            "error_code": error_code, "tool_uses": tuple(tool_uses),
        }  # fmt: skip
        with self._database.write() as connection:
            _rewrite(connection, message_id, message, status)
            connection.execute(update(_TABLE).where(_TABLE.c.message_id == message_id).values(**figures))
            make_findable(connection, message_id)
            return fetch_node(connection, message_id)

    def stop_generation(self, account_id: str, message_id: str) -> Node:
        """End a reply that another server makes, with what was saved of it. One that is finished stays as it is.
        Raises NotFoundError for what is not the account's.
        """
        with self._database.write() as connection:
            row = owned(connection, _MESSAGES, message_id, account_id, to_change=True)
            if row.status == "running":
                stopped = update(_MESSAGES).where(_MESSAGES.c.id == message_id).values(status="stopped")
                connection.execute(stopped)
                make_findable(connection, message_id)
            return fetch_node(connection, message_id)

    def is_made_elsewhere(self, message_id: str) -> bool:
        """Whether another server, one that lives, is making this message."""
        made = _MESSAGES.join(_TABLE, _TABLE.c.message_id == _MESSAGES.c.id)
        running = (_MESSAGES.c.id == message_id, _MESSAGES.c.status == "running")
        with self._database.read() as connection:
            server_id = connection.execute(
                select(_TABLE.c.server_id).select_from(made).where(*running)
            ).scalar()
            if server_id is None or server_id == self._presence.id:
                return False
            return self._presence.alive(connection, server_id)

    def interrupt_running(self) -> int:
        """Mark as interrupted what servers left running that are no more, and say how many there were. To be called
        at the start; replies of servers that live, this one among them, are left alone.
        """
        running = select(_MESSAGES.c.id, _TABLE.c.server_id).join(
            _TABLE, _TABLE.c.message_id == _MESSAGES.c.id
        )
        with self._database.write(alone=True) as connection:
            rows = connection.execute(running.where(_MESSAGES.c.status == "running")).all()
            servers = {row.server_id for row in rows}
            gone = {server for server in servers if not self._presence.alive(connection, server)}
            left = [row.id for row in rows if row.server_id in gone]
            num_interrupted = sum(_interrupt(connection, id) for id in left)
        self._presence.sweep()
        return num_interrupted


def _interrupt(connection: Connection, message_id: str) -> bool:
    """Mark a reply as interrupted, unless its server, which was taken for dead, has finished it just now."""
    still = (_MESSAGES.c.id == message_id, _MESSAGES.c.status == "running")
    changed = update(_MESSAGES).where(*still).values(status="interrupted")
    if connection.execute(changed).rowcount == 0:
        return False
    make_findable(connection, message_id)
    return True


def _rewrite(connection: Connection, message_id: str, message: Message, status: Status) -> None:
    if message.role != "assistant":
        raise DataError(f"a reply is an assistant message, not a {message.role} message")
    made = _MESSAGES.join(_TABLE, _TABLE.c.message_id == _MESSAGES.c.id)
    wanted = (
        select(_MESSAGES.c.status).select_from(made).where(_MESSAGES.c.id == message_id).with_for_update()
    )
    row = connection.execute(wanted).first() if is_id(message_id) else None
    if row is None:
        raise not_found(_MESSAGES)
    if row.status not in _UNFINISHED:
        raise UsageError(f"the reply is finished already ({row.status})")
    changed = update(_MESSAGES).where(_MESSAGES.c.id == message_id)
    connection.execute(changed.values(parts=message.parts, status=status))
