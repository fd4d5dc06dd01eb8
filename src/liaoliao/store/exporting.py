"""Everything of an account as JSON values, in the form of `liaoliao.store.wire`.

    export_of(connection, account, now)  ->  {"format": "liaoliao/1", "conversations": […], …}

Secrets stay: neither password nor keys nor sessions leave the database, not even as hashes.
"""

import base64
from collections import defaultdict
from typing import Any

from sqlalchemy import Connection, select

from liaoliao.config import to_json
from liaoliao.store import schema
from liaoliao.store.nodes import fetch_nodes
from liaoliao.store.ownership import AnyRow
from liaoliao.store.parts import parts_to_json
from liaoliao.store.records import Account, Feedback, Generation, Node
from liaoliao.store.wire import (
    FORMAT,
    ExportedAttachment,
    ExportedConversation,
    ExportedFeedback,
    ExportedGeneration,
    ExportedMessage,
    ExportedPersona,
    ExportedVote,
)


def export_of(connection: Connection, account: Account, now: float) -> dict[str, Any]:
    """All that the account has. `now`: Unix seconds, noted in it."""
    files = _rows(connection, schema.attachments, account)
    keys = _rows(connection, schema.account_keys, account)
    return {
        "format": FORMAT,
        "exported_at": now,
        "account": {"name": account.name, "role": account.role, "created_at": account.created_at},
        "keys": [
            {name: row._mapping[name] for name in ("name", "prefix", "created_at", "last_used_at")}
            for row in keys
        ],
        "personas": [to_json(_persona(row)) for row in _rows(connection, schema.personas, account)],
        "attachments": [
            to_json(ExportedAttachment(row.id, row.name, row.media_type, row.created_at, row.text))
            for row in files
        ],
        "conversations": [to_json(talk) for talk in _conversations(connection, account)],
    }


def _rows(connection: Connection, table: Any, account: Account) -> list[AnyRow]:
    wanted = select(table).where(table.c.account_id == account.id).order_by(table.c.created_at, table.c.id)
    return list(connection.execute(wanted))


def _conversations(connection: Connection, account: Account) -> list[ExportedConversation]:
    nodes, votes = defaultdict(list), defaultdict(list)
    for node in fetch_nodes(connection, schema.messages.c.account_id == account.id):
        nodes[node.conversation_id].append(_message(node))
    for row in _rows(connection, schema.votes, account):
        votes[row.conversation_id].append(
            ExportedVote(row.parent_id, row.chosen_id, row.rejected_id, row.created_at)
        )
    return [
        ExportedConversation(
            row.id, row.title, row.created_at, row.updated_at, tuple(nodes[row.id]), row.pinned, row.model,
            row.persona_id, row.settings, row.head_id, tuple(votes[row.id]),
        )
        for row in _rows(connection, schema.conversations, account)
    ]  # fmt: skip


def _message(node: Node) -> ExportedMessage:
    return ExportedMessage(
        node.id, node.parent_id, node.role, tuple(parts_to_json(node.message.parts)), node.created_at, node.status,
        node.edited_from, tuple(file.id for file in node.attachments),
        _generation(node.generation) if node.generation else None,
        _feedback(node.feedback) if node.feedback else None,
    )  # fmt: skip


def _generation(made: Generation) -> ExportedGeneration:
    return ExportedGeneration(
        made.model, made.model_version, made.params, made.prompt_tokens, made.completion_tokens, made.cached_tokens,
        made.first_token_s, made.total_s, made.finish_reason, made.error, made.token_ids, made.opening_tokens,
        made.tool_uses, made.error_code,
    )  # fmt: skip


def _feedback(given: Feedback) -> ExportedFeedback:
    return ExportedFeedback(given.thumb, given.reasons, given.comment, given.updated_at)


def _persona(row: AnyRow) -> ExportedPersona:
    avatar = None if row.avatar is None else base64.b64encode(row.avatar).decode("ascii")
    return ExportedPersona(
        row.id, row.name, row.description, row.system_prompt, row.greeting, row.example, row.created_at, avatar,
        row.source,
    )  # fmt: skip
