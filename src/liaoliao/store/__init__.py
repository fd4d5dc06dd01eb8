"""What is kept of people and their talks: SQLite by default, PostgreSQL by URL. Knows no model and no web.

from liaoliao.store import Store

with Store.open() as store:
    store.conversations(store.single_account().id, query="ferry")
"""

from liaoliao.store.records import (
    Account,
    AccountKey,
    AccountRole,
    Attachment,
    Conversation,
    ConversationSummary,
    Feedback,
    Generation,
    ImportReport,
    Node,
    Persona,
    Session,
    Status,
    Thumb,
    Vote,
)
from liaoliao.store.store import Store

__all__ = [
    "Account",
    "AccountKey",
    "AccountRole",
    "Attachment",
    "Conversation",
    "ConversationSummary",
    "Feedback",
    "Generation",
    "ImportReport",
    "Node",
    "Persona",
    "Session",
    "Status",
    "Store",
    "Thumb",
    "Vote",
]
