"""Why an answer failed, as a code beside the words, so that each reader is told it in their own language.

    upgrade()      on a database with the second schema

Failures from before this have their words alone.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add a column."""
    op.add_column("generations", sa.Column("error_code", sa.Text(), nullable=True))
