"""What people think of replies: a thumb with reasons, and which of two is better.

    store.set_feedback(account.id, reply.id, -1, ["not true"], "It leaves at 10.")
    store.add_vote(account.id, asked.id, chosen.id, rejected.id)

A better answer in one's own words is a sibling: `Store.add_message` with `edited_from`. From these three the pairs are
made that the model learns from.
"""

import time
from collections.abc import Sequence

from sqlalchemy import Connection, delete, insert, select

from liaoliao.errors import DataError
from liaoliao.messages import Role
from liaoliao.store import schema
from liaoliao.store.base import Part
from liaoliao.store.ids import new_id
from liaoliao.store.ownership import AnyRow, owned
from liaoliao.store.records import Feedback, Thumb, Vote

MAX_REASONS, MAX_REASON, MAX_COMMENT = 20, 200, 20_000  # characters of one reason, and of the comment
_TABLE, _VOTES, _MESSAGES = schema.feedback, schema.votes, schema.messages


class Opinions(Part):
    """Feedback and votes. Each method raises NotFoundError for what is not the account's."""

    def set_feedback(
        self, account_id: str, message_id: str, thumb: Thumb, reasons: Sequence[str], comment: str
    ) -> Feedback:
        """What the account thinks of an assistant message, instead of what it thought before; thumb 0 without words
        takes it back. Raises DataError for messages of others than the assistant and for words that are too many.
        """
        told = Feedback(message_id, thumb, tuple(reasons), comment, time.time())
        with self._database.write() as connection:
            row = owned(connection, _MESSAGES, message_id, account_id, to_change=True)
            checked_feedback(told, row.role)
            connection.execute(delete(_TABLE).where(_TABLE.c.message_id == message_id))
            if thumb or reasons or comment:
                keep_feedback(connection, told)
        return told

    def add_vote(self, account_id: str, parent_id: str, chosen_id: str, rejected_id: str | None) -> Vote:
        """Of two replies to `parent_id`, which is better; a tie names the first one and no rejected one. Raises
        DataError for messages that are not two different assistant messages below that parent.
        """
        with self._database.write() as connection:
            parent = owned(connection, _MESSAGES, parent_id, account_id)
            for id in (chosen_id, *([] if rejected_id is None else [rejected_id])):
                row = owned(connection, _MESSAGES, id, account_id)
                if row.parent_id != parent_id or row.role != "assistant" or chosen_id == rejected_id:
                    raise DataError("a vote is between two different assistant messages below one parent")
            vote = Vote(new_id(), parent.conversation_id, parent_id, chosen_id, rejected_id, time.time())
            keep_vote(connection, account_id, vote)
        return vote

    def votes(self, account_id: str, conversation_id: str) -> list[Vote]:
        """The votes within a conversation, oldest first."""
        with self._database.read() as connection:
            owned(connection, schema.conversations, conversation_id, account_id)
            return fetch_votes(connection, conversation_id)


def checked_feedback(told: Feedback, role: Role) -> Feedback:
    """The feedback, if it can be given to a message of this role. Raises DataError."""
    if role != "assistant":
        raise DataError("feedback is given to assistant messages")
    if told.thumb not in (-1, 0, 1):
        raise DataError("thumb: expected -1, 0 or 1")
    if len(told.reasons) > MAX_REASONS or max(map(len, told.reasons), default=0) > MAX_REASON:
        raise DataError(f"reasons: at most {MAX_REASONS}, of at most {MAX_REASON} characters")
    if len(told.comment) > MAX_COMMENT:
        raise DataError(f"comment: at most {MAX_COMMENT} characters")
    return told


def keep_feedback(connection: Connection, told: Feedback) -> None:
    """Insert a row of `feedback`."""
    values = {"thumb": told.thumb, "reasons": list(told.reasons), "comment": told.comment}
    connection.execute(
        insert(_TABLE).values(message_id=told.message_id, updated_at=told.updated_at, **values)
    )


def keep_vote(connection: Connection, account_id: str, vote: Vote) -> None:
    """Insert a row of `votes`."""
    place = {"account_id": account_id, "conversation_id": vote.conversation_id, "parent_id": vote.parent_id}
    which = {"chosen_id": vote.chosen_id, "rejected_id": vote.rejected_id}
    connection.execute(insert(_VOTES).values(id=vote.id, created_at=vote.created_at, **place, **which))


def fetch_votes(connection: Connection, conversation_id: str) -> list[Vote]:
    """The votes within a conversation, whoever it belongs to, oldest first."""
    wanted = select(_VOTES).where(_VOTES.c.conversation_id == conversation_id)
    return [_vote(row) for row in connection.execute(wanted.order_by(_VOTES.c.created_at, _VOTES.c.id))]


def _vote(row: AnyRow) -> Vote:
    return Vote(row.id, row.conversation_id, row.parent_id, row.chosen_id, row.rejected_id, row.created_at)
