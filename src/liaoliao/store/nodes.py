"""Rows of the message tree as `Node`s: the one place that knows which tables a node is made of.

    fetch_nodes(connection, messages.c.conversation_id == id)  ->  [Node, …]

They come oldest first, parents before children.
"""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, select

from liaoliao.messages import Message
from liaoliao.store.ownership import AnyRow
from liaoliao.store.records import Attachment, Feedback, Generation, Node
from liaoliao.store.schema import attachments, feedback, generations, message_attachments, messages

_FILE = tuple(column for column in attachments.c if column.name != "text")


def fetch_nodes(connection: Connection, *which: ColumnElement[bool]) -> list[Node]:
    """The messages for which all of this holds, with everything that belongs to them, oldest first."""
    rows = connection.execute(select(messages).where(*which).order_by(messages.c.number)).all()
    ids = select(messages.c.id).where(*which)
    made = connection.execute(select(generations).where(generations.c.message_id.in_(ids)))
    by_message = {row.message_id: _generation(row) for row in made}
    told = connection.execute(select(feedback).where(feedback.c.message_id.in_(ids)))
    feedback_of = {row.message_id: feedback_from(row) for row in told}
    files = _files(connection, message_attachments.c.message_id.in_(ids))
    return [
        _node(row, files.get(row.id, ()), by_message.get(row.id), feedback_of.get(row.id)) for row in rows
    ]


def _files(connection: Connection, which: ColumnElement[bool]) -> dict[str, tuple[Attachment, ...]]:
    joined = message_attachments.join(attachments, message_attachments.c.attachment_id == attachments.c.id)
    wanted = select(message_attachments.c.message_id, *_FILE).select_from(joined).where(which)
    found: dict[str, tuple[Attachment, ...]] = {}
    for row in connection.execute(wanted.order_by(message_attachments.c.position)):
        found[row.message_id] = (*found.get(row.message_id, ()), attachment_from(row))
    return found


def _node(
    row: AnyRow, files: Sequence[Attachment], generation: Generation | None, told: Feedback | None
) -> Node:
    message = Message(row.role, row.parts)
    return Node(
        row.id, row.conversation_id, row.parent_id, row.role, message, row.created_at, row.status, tuple(files),
        generation, told, row.edited_from,
    )  # fmt: skip


def attachment_from(row: AnyRow) -> Attachment:
    """A row of `attachments`, with or without its text."""
    return Attachment(row.id, row.account_id, row.name, row.media_type, row.size_bytes, row.created_at)


def feedback_from(row: AnyRow) -> Feedback:
    """A row of `feedback`."""
    return Feedback(row.message_id, row.thumb, tuple(row.reasons), row.comment, row.updated_at)


def _generation(row: AnyRow) -> Generation:
    return Generation(
        row.id, row.message_id, row.model, row.model_version, row.params, row.prompt_tokens, row.completion_tokens,
        row.cached_tokens, row.first_token_s, row.total_s, row.finish_reason, row.error, row.token_ids,
        row.opening_tokens, row.tool_uses, row.error_code,
    )  # fmt: skip
