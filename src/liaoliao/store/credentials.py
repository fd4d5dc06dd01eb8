"""What a browser or a program shows instead of a password: session tokens and API keys.

    token, session = store.create_session(me.id, lifetime_s=86_400);  store.find_session(token)  ->  (session, me)
    key, record = store.create_account_key(me.id, "laptop");          store.find_account_key(key)  ->  me

Both are 256 random bits, told once and kept as a BLAKE2b digest: a stolen database opens no door, and nobody guesses
256 bits, so a fast hash is the right one. A look-up goes by the digest, which tells a guesser nothing of the secret;
what it finds is compared in constant time all the same. The account's role and state are those of this moment.
"""

import hashlib
import hmac
import math
import secrets
import time
from contextlib import suppress

from sqlalchemy import Column, Connection, Table, delete, insert, select, update

from liaoliao.errors import StoreError, UsageError
from liaoliao.store import schema
from liaoliao.store.accounts import account_of
from liaoliao.store.base import Part
from liaoliao.store.ids import is_id, new_id
from liaoliao.store.ownership import AnyRow, owned
from liaoliao.store.records import Account, AccountKey, Session

KEY_PREFIX = "liao-"
_SHOWN = 9  # characters of a key that are kept
_NOTE_EVERY_S = 60.0  # how exactly "last seen" is kept: a write for each request would be too many
_MAX_NAME = 100


class Credentials(Part):
    """Sessions and API keys."""

    def create_session(
        self, account_id: str, lifetime_s: float, *, password_stamp: str | None = None
    ) -> tuple[str, Session]:
        """Log in: a token for the cookie, and what is kept of it. `password_stamp` is that of the account as its
        password was verified: who changes it meanwhile ends this session as well. Raises NotFoundError for an unknown
        account, and UsageError for a lifetime that is none, for a disabled account and for a password that is not the
        present one any more.
        """
        if not (lifetime_s > 0 and math.isfinite(lifetime_s)):
            raise UsageError(f"a session lasts more than 0 seconds, not {lifetime_s}")
        token, now = secrets.token_urlsafe(32), time.time()
        session = Session(new_id(), account_id, now, now + lifetime_s, now)
        table = schema.sessions
        values = {"id": session.id, "account_id": account_id, "digest": _digest(token, b"session")}
        times = {"created_at": now, "expires_at": session.expires_at, "last_seen_at": now}
        with self._database.write() as connection:
            account = account_of(connection, account_id, to_rely_on=True)
            if account.disabled or password_stamp not in (None, account.password_stamp):
                raise UsageError("that is not the account's present password, or the account is disabled")
            connection.execute(delete(table).where(table.c.expires_at <= now))
            connection.execute(insert(table).values(**values, **times))
        return token, session

    def find_session(self, token: str) -> tuple[Session, Account] | None:
        """Who shows this token; None if it is unknown, over, or the account is disabled."""
        with self._database.read() as connection:
            row = _find(connection, schema.sessions, _digest(token, b"session"))
            if row is None or row.expires_at <= time.time():
                return None
            account = account_of(connection, row.account_id)
        if account.disabled:
            return None
        seen = self._note(schema.sessions.c.last_seen_at, row.id, row.last_seen_at)
        return Session(row.id, row.account_id, row.created_at, row.expires_at, seen), account

    def end_session(self, token: str) -> None:
        """Log out. Nothing happens if the token is good no longer."""
        table = schema.sessions
        with self._database.write() as connection:
            connection.execute(delete(table).where(table.c.digest == _digest(token, b"session")))

    def end_sessions(self, account_id: str) -> None:
        """Log out everywhere."""
        if is_id(account_id):
            with self._database.write() as connection:
                connection.execute(delete(schema.sessions).where(schema.sessions.c.account_id == account_id))

    def create_account_key(self, account_id: str, name: str) -> tuple[str, AccountKey]:
        """A new API key, told this once, and what is kept of it. Raises NotFoundError for an unknown account and
        UsageError for a name that is empty or longer than 100 characters.
        """
        if not 1 <= len(name.strip()) <= _MAX_NAME:
            raise UsageError(f"the name of a key has 1 to {_MAX_NAME} characters", code="key_name")
        key = KEY_PREFIX + secrets.token_urlsafe(32)
        record = AccountKey(new_id(), account_id, name.strip(), key[:_SHOWN], time.time(), None)
        values = {"id": record.id, "account_id": account_id, "name": record.name, "prefix": record.prefix}
        with self._database.write() as connection:
            account_of(connection, account_id)
            made = insert(schema.account_keys).values(
                **values, digest=_digest(key, b"key"), created_at=record.created_at
            )
            connection.execute(made)
        return key, record

    def find_account_key(self, key: str) -> Account | None:
        """Whose key this is; None if it is unknown or revoked, or the account is disabled."""
        with self._database.read() as connection:
            row = _find(connection, schema.account_keys, _digest(key, b"key"))
            if row is None:
                return None
            account = account_of(connection, row.account_id)
        if account.disabled:
            return None
        self._note(schema.account_keys.c.last_used_at, row.id, row.last_used_at)
        return account

    def account_keys(self, account_id: str) -> list[AccountKey]:
        """The account's keys, oldest first."""
        table = schema.account_keys
        with self._database.read() as connection:
            account_of(connection, account_id)
            rows = connection.execute(
                select(table).where(table.c.account_id == account_id).order_by(table.c.created_at, table.c.id)
            )
            return [_key(row) for row in rows]

    def revoke_account_key(self, account_id: str, key_id: str) -> None:
        """Make a key good no longer, at once. Raises NotFoundError."""
        table = schema.account_keys
        with self._database.write() as connection:
            owned(connection, table, key_id, account_id)
            connection.execute(delete(table).where(table.c.id == key_id))

    def _note(self, column: Column[float], id: str, before: float | None) -> float:
        """Keep that a credential was used now, if what is known is older than a minute; what is known then."""
        now, table = time.time(), column.table
        if before is not None and now - before < _NOTE_EVERY_S:
            return before
        noted = update(schema.metadata.tables[table.name]).where(table.c.id == id).values({column.name: now})
        with suppress(StoreError), self._database.write() as connection:  # a full disk locks nobody out
            connection.execute(noted)
        return now


def _find(connection: Connection, table: Table, digest: str) -> AnyRow | None:
    row = connection.execute(select(table).where(table.c.digest == digest)).first()
    return row if row is not None and hmac.compare_digest(row.digest, digest) else None


def _key(row: AnyRow) -> AccountKey:
    return AccountKey(row.id, row.account_id, row.name, row.prefix, row.created_at, row.last_used_at)


def _digest(secret: str, kind: bytes) -> str:
    data = secret.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(data, digest_size=32, person=b"liaoliao-" + kind).hexdigest()
