"""The first schema: accounts, conversations, the message tree and the search index.

    upgrade()      on a database that holds nothing of ours

There is no way back down: to go back, restore a backup.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.String(26)
NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make everything."""
    _accounts()
    _account_keys()
    _attachments()
    _personas()
    _sessions()
    _conversations()
    _messages()
    _feedback()
    _generations()
    _message_attachments()
    _search_texts()
    _votes()
    _search_index()


def _accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("is_owner", sa.Boolean(), nullable=False),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.CheckConstraint("role IN ('admin', 'member')", name="ck_accounts_role"),
        sa.PrimaryKeyConstraint("id", name="pk_accounts"),
        sa.UniqueConstraint("name_key", name="uq_accounts_name_key"),
    )


def _account_keys() -> None:
    op.create_table(
        "account_keys",
        sa.Column("id", ID, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("prefix", sa.String(length=9), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("last_used_at", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name="fk_account_keys_account_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_account_keys"),
        sa.UniqueConstraint("digest", name="uq_account_keys_digest"),
    )
    op.create_index("ix_account_keys_account_id", "account_keys", ["account_id"], unique=False)


def _attachments() -> None:
    op.create_table(
        "attachments",
        sa.Column("id", ID, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("media_type", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name="fk_attachments_account_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_attachments"),
    )
    op.create_index("ix_attachments_account_id", "attachments", ["account_id"], unique=False)


def _personas() -> None:
    op.create_table(
        "personas",
        sa.Column("id", ID, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("system_prompt", sa.Text(), nullable=False),
        sa.Column("greeting", sa.Text(), nullable=False),
        sa.Column("example", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("avatar", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name="fk_personas_account_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_personas"),
    )
    op.create_index("ix_personas_account_id", "personas", ["account_id"], unique=False)


def _sessions() -> None:
    op.create_table(
        "sessions",
        sa.Column("id", ID, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("expires_at", sa.Double(), nullable=False),
        sa.Column("last_seen_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name="fk_sessions_account_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_sessions"),
        sa.UniqueConstraint("digest", name="uq_sessions_digest"),
    )
    op.create_index("ix_sessions_account_id", "sessions", ["account_id"], unique=False)
    op.create_index("ix_sessions_expires_at", "sessions", ["expires_at"], unique=False)


def _conversations() -> None:
    op.create_table(
        "conversations",
        sa.Column("id", ID, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("pinned", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("persona_id", ID, nullable=True),
        sa.Column("settings", sa.Text(), nullable=False),
        sa.Column("head_id", ID, nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["accounts.id"], name="fk_conversations_account_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["persona_id"], ["personas.id"], name="fk_conversations_persona_id", ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_conversations"),
        sa.UniqueConstraint("id", "account_id", name="uq_conversations_id_account_id"),
    )
    op.create_index(
        "ix_conversations_listed", "conversations", ["account_id", "pinned", "updated_at", "id"], unique=False
    )
    op.create_index("ix_conversations_persona_id", "conversations", ["persona_id"], unique=False)


def _messages() -> None:
    op.create_table(
        "messages",
        sa.Column("number", NUMBER, autoincrement=True, nullable=False),
        sa.Column("id", ID, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("parent_id", ID, nullable=True),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("status", sa.String(length=12), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.Column("edited_from", ID, nullable=True),
        sa.Column("parts", sa.Text(), nullable=False),
        sa.CheckConstraint("role IN ('system', 'user', 'assistant', 'tool')", name="ck_messages_role"),
        sa.CheckConstraint(
            "status IN ('done', 'running', 'stopped', 'length', 'interrupted', 'failed')",
            name="ck_messages_status",
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id", "account_id"],
            ["conversations.id", "conversations.account_id"],
            name="fk_messages_conversation_id_account_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["parent_id", "conversation_id"],
            ["messages.id", "messages.conversation_id"],
            name="fk_messages_parent_id_conversation_id",
        ),
        sa.PrimaryKeyConstraint("number", name="pk_messages"),
        sa.UniqueConstraint("id", "conversation_id", name="uq_messages_id_conversation_id"),
        sa.UniqueConstraint("id", name="uq_messages_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_messages_conversation_id", "messages", ["conversation_id"], unique=False)
    op.create_index("ix_messages_parent_id", "messages", ["parent_id"], unique=False)


def _feedback() -> None:
    op.create_table(
        "feedback",
        sa.Column("message_id", ID, nullable=False),
        sa.Column("thumb", sa.Integer(), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("comment", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.Double(), nullable=False),
        sa.CheckConstraint("thumb IN (-1, 0, 1)", name="ck_feedback_thumb"),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name="fk_feedback_message_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("message_id", name="pk_feedback"),
    )


def _generations() -> None:
    op.create_table(
        "generations",
        sa.Column("id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=False),
        sa.Column("server_id", ID, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Text(), nullable=False),
        sa.Column("params", sa.Text(), nullable=False),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("completion_tokens", sa.Integer(), nullable=False),
        sa.Column("cached_tokens", sa.Integer(), nullable=False),
        sa.Column("first_token_s", sa.Double(), nullable=True),
        sa.Column("total_s", sa.Double(), nullable=True),
        sa.Column("finish_reason", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("opening_tokens", sa.Integer(), nullable=False),
        sa.Column("token_ids", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name="fk_generations_message_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_generations"),
        sa.UniqueConstraint("message_id", name="uq_generations_message_id"),
    )
    op.create_index("ix_generations_server_id", "generations", ["server_id"], unique=False)


def _message_attachments() -> None:
    op.create_table(
        "message_attachments",
        sa.Column("message_id", ID, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("attachment_id", ID, nullable=False),
        sa.ForeignKeyConstraint(
            ["attachment_id"],
            ["attachments.id"],
            name="fk_message_attachments_attachment_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name="fk_message_attachments_message_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("message_id", "position", name="pk_message_attachments"),
    )
    op.create_index(
        "ix_message_attachments_attachment_id", "message_attachments", ["attachment_id"], unique=False
    )


def _search_texts() -> None:
    op.create_table(
        "search_texts",
        sa.Column("number", NUMBER, autoincrement=True, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("message_id", ID, nullable=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id", "account_id"],
            ["conversations.id", "conversations.account_id"],
            name="fk_search_texts_conversation_id_account_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["message_id"], ["messages.id"], name="fk_search_texts_message_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("number", name="pk_search_texts"),
        sa.UniqueConstraint("message_id", name="uq_search_texts_message_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_search_texts_conversation_id", "search_texts", ["conversation_id"], unique=False)


def _votes() -> None:
    op.create_table(
        "votes",
        sa.Column("id", ID, nullable=False),
        sa.Column("account_id", ID, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("parent_id", ID, nullable=False),
        sa.Column("chosen_id", ID, nullable=False),
        sa.Column("rejected_id", ID, nullable=True),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["chosen_id"], ["messages.id"], name="fk_votes_chosen_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id", "account_id"],
            ["conversations.id", "conversations.account_id"],
            name="fk_votes_conversation_id_account_id",
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["messages.id"], name="fk_votes_parent_id", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["rejected_id"], ["messages.id"], name="fk_votes_rejected_id", ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name="pk_votes"),
    )
    op.create_index("ix_votes_chosen_id", "votes", ["chosen_id"], unique=False)
    op.create_index("ix_votes_conversation_id", "votes", ["conversation_id"], unique=False)
    op.create_index("ix_votes_parent_id", "votes", ["parent_id"], unique=False)
    op.create_index("ix_votes_rejected_id", "votes", ["rejected_id"], unique=False)


def _search_index() -> None:
    """From grams to numbers of `search_texts`: see liaoliao.store.search for what the grams are."""
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "CREATE VIRTUAL TABLE search_index USING fts5"
            "(grams, content='', columnsize=0, detail=none, tokenize='ascii')"
        )
        return
    op.execute(
        "CREATE TABLE search_index (number BIGINT PRIMARY KEY REFERENCES search_texts (number) ON DELETE CASCADE, "
        "grams TSVECTOR NOT NULL)"
    )
    op.execute("CREATE INDEX ix_search_index_grams ON search_index USING gin (grams)")
