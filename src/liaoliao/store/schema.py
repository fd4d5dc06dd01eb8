"""The tables, as the code sees them; how a database gets there is told in `migrations` (a test holds both equal).

    accounts ─┬─ sessions, account_keys, attachments, personas
              └─ conversations ─┬─ messages (a tree) ─┬─ generations, feedback
                                │                     └─ message_attachments
                                ├─ votes, answered_requests
                                └─ search_texts (what can be found: see liaoliao.store.search)

Deleting a row deletes what hangs below it, so deleting an account leaves nothing of it. `messages.number` counts
insertions: it orders a conversation where clocks cannot, and parents come before their children.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

from liaoliao.store.columns import Json, Parts, TokenIds, ToolUses, Words

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
metadata = MetaData(naming_convention=NAMING)
ID = String(26)
NUMBER = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts up INTEGER keys only


def _of(table: str, *, delete: str = "CASCADE") -> ForeignKey:
    return ForeignKey(f"{table}.id", ondelete=delete)


accounts = Table(
    "accounts",
    metadata,
    Column("id", ID, primary_key=True),
    Column("name", Words, nullable=False),
    Column("name_key", Words, nullable=False, unique=True),  # as compared: no two that look alike
    Column("role", String(10), nullable=False),
    Column("password_hash", Words),  # argon2id; none: nobody can log in
    Column("is_owner", Boolean, nullable=False),  # the one account of single-user mode
    Column("disabled", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    CheckConstraint("role IN ('admin', 'member')", name="role"),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", ID, primary_key=True),
    Column("account_id", ID, _of("accounts"), nullable=False, index=True),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    Column("expires_at", Double, nullable=False, index=True),
    Column("last_seen_at", Double, nullable=False),
)

account_keys = Table(
    "account_keys",
    metadata,
    Column("id", ID, primary_key=True),
    Column("account_id", ID, _of("accounts"), nullable=False, index=True),
    Column("name", Words, nullable=False),
    Column("prefix", String(9), nullable=False),
    Column("digest", String(64), nullable=False, unique=True),
    Column("created_at", Double, nullable=False),
    Column("last_used_at", Double),
)

personas = Table(
    "personas",
    metadata,
    Column("id", ID, primary_key=True),
    Column("account_id", ID, _of("accounts"), nullable=False, index=True),
    Column("name", Words, nullable=False),
    Column("description", Words, nullable=False),
    Column("system_prompt", Words, nullable=False),
    Column("greeting", Words, nullable=False),
    Column("example", Words, nullable=False),
    Column("source", Json, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("avatar", LargeBinary),
)

attachments = Table(
    "attachments",
    metadata,
    Column("id", ID, primary_key=True),
    Column("account_id", ID, _of("accounts"), nullable=False, index=True),
    Column("name", Words, nullable=False),
    Column("media_type", Words, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("text", Words, nullable=False),
)

conversations = Table(
    "conversations",
    metadata,
    Column("id", ID, primary_key=True),
    Column("account_id", ID, _of("accounts"), nullable=False),
    Column("title", Words, nullable=False),
    Column("pinned", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("model", Words),
    Column("persona_id", ID, _of("personas", delete="SET NULL"), index=True),
    Column("settings", Json, nullable=False),
    Column(
        "head_id", ID
    ),  # a message of this conversation: held by the code, a foreign key would go in circles
    UniqueConstraint("id", "account_id"),
    Index("ix_conversations_listed", "account_id", "pinned", "updated_at", "id"),
)

messages = Table(
    "messages",
    metadata,
    Column("number", NUMBER, primary_key=True, autoincrement=True),
    Column("id", ID, nullable=False, unique=True),
    Column("account_id", ID, nullable=False),
    Column("conversation_id", ID, nullable=False, index=True),
    Column("parent_id", ID, index=True),
    Column("role", String(10), nullable=False),
    Column("status", String(12), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("edited_from", ID),
    Column("parts", Parts, nullable=False),
    UniqueConstraint("id", "conversation_id"),
    ForeignKeyConstraint(
        ["conversation_id", "account_id"],
        ["conversations.id", "conversations.account_id"],
        ondelete="CASCADE",
    ),
    # A parent is of the same conversation. No cascade of its own: the conversation takes all of its messages at once,
    # where a cascade from parent to child would go as deep as the tree does, and SQLite goes 1,000 levels.
    ForeignKeyConstraint(["parent_id", "conversation_id"], ["messages.id", "messages.conversation_id"]),
    CheckConstraint("role IN ('system', 'user', 'assistant', 'tool')", name="role"),
    CheckConstraint(
        "status IN ('done', 'running', 'stopped', 'length', 'interrupted', 'failed')", name="status"
    ),
    sqlite_autoincrement=True,
)

message_attachments = Table(
    "message_attachments",
    metadata,
    Column("message_id", ID, _of("messages"), primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("attachment_id", ID, _of("attachments"), nullable=False, index=True),
)

generations = Table(
    "generations",
    metadata,
    Column("id", ID, primary_key=True),
    Column("message_id", ID, _of("messages"), nullable=False, unique=True),
    Column("server_id", ID, nullable=False, index=True),  # who makes it: see liaoliao.store.presence
    Column("model", Words, nullable=False),
    Column("model_version", Words, nullable=False),
    Column("params", Json, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("cached_tokens", Integer, nullable=False),
    Column("first_token_s", Double),
    Column("total_s", Double),
    Column("finish_reason", Words),
    Column("error", Words),
    Column("opening_tokens", Integer, nullable=False),
    Column("token_ids", TokenIds, nullable=False),
    Column("tool_uses", ToolUses, nullable=False, server_default="[]"),
    Column("error_code", Words),
)

feedback = Table(
    "feedback",
    metadata,
    Column("message_id", ID, _of("messages"), primary_key=True),
    Column("thumb", Integer, nullable=False),
    Column("reasons", Json, nullable=False),
    Column("comment", Words, nullable=False),
    Column("updated_at", Double, nullable=False),
    CheckConstraint("thumb IN (-1, 0, 1)", name="thumb"),
)

votes = Table(
    "votes",
    metadata,
    Column("id", ID, primary_key=True),
    Column("account_id", ID, nullable=False),
    Column("conversation_id", ID, nullable=False, index=True),
    Column("parent_id", ID, _of("messages"), nullable=False, index=True),
    Column("chosen_id", ID, _of("messages"), nullable=False, index=True),
    Column("rejected_id", ID, _of("messages"), index=True),
    Column("created_at", Double, nullable=False),
    ForeignKeyConstraint(
        ["conversation_id", "account_id"],
        ["conversations.id", "conversations.account_id"],
        ondelete="CASCADE",
    ),
)

answered_requests = Table(
    "answered_requests",
    metadata,
    Column("account_id", ID, primary_key=True),
    Column("scope", ID, primary_key=True),  # the conversation asked about, "" for one that was to be made
    Column("key", Words, primary_key=True),
    Column("conversation_id", ID, nullable=False, index=True),
    Column("digest", String(64), nullable=False),
    Column("message_ids", Json, nullable=False),
    Column("created_at", Double, nullable=False, index=True),
    ForeignKeyConstraint(
        ["conversation_id", "account_id"],
        ["conversations.id", "conversations.account_id"],
        ondelete="CASCADE",
    ),
)

search_texts = Table(
    "search_texts",
    metadata,
    Column("number", NUMBER, primary_key=True, autoincrement=True),
    Column("account_id", ID, nullable=False),
    Column("conversation_id", ID, nullable=False, index=True),
    Column("message_id", ID, _of("messages"), unique=True),  # none: the title
    Column("text", Words, nullable=False),
    ForeignKeyConstraint(
        ["conversation_id", "account_id"],
        ["conversations.id", "conversations.account_id"],
        ondelete="CASCADE",
    ),
    sqlite_autoincrement=True,
)
