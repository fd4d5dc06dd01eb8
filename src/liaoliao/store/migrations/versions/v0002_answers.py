"""What answers were missing: the tools that were run for them, and the requests that led to them.

    upgrade()      on a database with the first schema

Answers from before this have no tools, whether or not some were run: nobody wrote that down.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

ID = sa.String(26)


def upgrade() -> None:
    """Add a column and a table."""
    op.add_column("generations", sa.Column("tool_uses", sa.Text(), nullable=False, server_default="[]"))
    op.create_table(
        "answered_requests",
        sa.Column("account_id", ID, nullable=False),
        sa.Column("scope", ID, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("message_ids", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(
            ["conversation_id", "account_id"],
            ["conversations.id", "conversations.account_id"],
            name="fk_answered_requests_conversation_id_account_id",
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("account_id", "scope", "key", name="pk_answered_requests"),
    )
    for column in ("conversation_id", "created_at"):
        op.create_index(f"ix_answered_requests_{column}", "answered_requests", [column], unique=False)
