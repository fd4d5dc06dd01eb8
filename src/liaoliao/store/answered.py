"""Requests that were carried out already, by the keys that their senders gave them, so that none is carried out twice.

    with store.together():
        if (done := store.answered_request(me.id, talk.id, key, alone=True)) is None:
            asked = store.add_message(...)                                       # what is to happen once
            store.keep_answered(me.id, talk.id, key, digest, talk.id, [asked.id])
    done.message_ids if done.digest == digest else "another request under the same key"

A key is its sender's, and its scope is the conversation that the request is about; "" is the scope of requests for a new
one. It is good for a day, or until the conversation is deleted.
"""

import time
from collections.abc import Sequence
from typing import Final

from sqlalchemy import and_, delete, insert, select

from liaoliao.store import schema
from liaoliao.store.accounts import account_of
from liaoliao.store.base import Part
from liaoliao.store.ownership import owned
from liaoliao.store.records import AnsweredRequest

KEPT_S: Final = 86_400.0
_TABLE, _TALKS = schema.answered_requests, schema.conversations


class AnsweredRequests(Part):
    """Requests of an account. Each method raises NotFoundError for a conversation that is not the account's."""

    def answered_request(
        self, account_id: str, scope: str, key: str, *, alone: bool = False
    ) -> AnsweredRequest | None:
        """What was carried out under this key, None if nothing was. `alone`: nobody else carries anything out in this
        scope until the transaction ends (`Store.together`).
        """
        which = (_TABLE.c.account_id == account_id, _TABLE.c.scope == scope, _TABLE.c.key == key)
        fresh = _TABLE.c.created_at > time.time() - KEPT_S
        with self._database.write(alone=not scope) if alone else self._database.read() as connection:
            if scope:
                owned(connection, _TALKS, scope, account_id, to_change=alone)
            else:
                account_of(connection, account_id)
            row = connection.execute(select(_TABLE).where(*which, fresh)).first()
        if row is None:
            return None
        return AnsweredRequest(key, row.digest, row.conversation_id, tuple(row.message_ids), row.created_at)

    def keep_answered(
        self,
        account_id: str,
        scope: str,
        key: str,
        digest: str,
        conversation_id: str,
        message_ids: Sequence[str],
    ) -> None:
        """Note what was carried out, in which conversation, under a key that is free or whose day is over."""
        named = {"account_id": account_id, "scope": scope, "key": key}
        same, now = and_(*(_TABLE.c[name] == value for name, value in named.items())), time.time()
        done = {"digest": digest, "conversation_id": conversation_id, "message_ids": list(message_ids)}
        with self._database.write() as connection:
            owned(connection, _TALKS, conversation_id, account_id)
            connection.execute(delete(_TABLE).where(same, _TABLE.c.created_at <= now - KEPT_S))
            connection.execute(insert(_TABLE).values(**named, **done, created_at=now))

    def forget_answered(self, *, most: int = 1000) -> int:
        """Delete up to `most` of those whose day is over; how many these were."""
        names = (_TABLE.c.account_id, _TABLE.c.scope, _TABLE.c.key)
        over = select(*names).where(_TABLE.c.created_at <= time.time() - KEPT_S)
        with self._database.write() as connection:
            rows = connection.execute(over.limit(most).with_for_update(skip_locked=True)).all()
            for row in rows:
                same = (column == value for column, value in zip(names, row, strict=True))
                connection.execute(delete(_TABLE).where(*same))
        return len(rows)
