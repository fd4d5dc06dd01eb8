"""Accounts: who there is, what they may do, and how they show that it is they.

    store.create_account("anna", "correct horse", "member");  store.verify_password("anna", "correct horse")  ->  Account

The first account with a password is an admin, and there is always one that is not disabled; only who is alone may leave
as an admin. Single-user mode has an account of its own, `single_account`, without a password; one can be set later, and
then it can log in like any other (`create_first_account` does so, with a name).
"""

import hashlib
import re
import time
import unicodedata
from contextlib import suppress
from dataclasses import replace

from sqlalchemy import Connection, delete, insert, select, update

from liaoliao.errors import NotFoundError, StoreError, UsageError
from liaoliao.store import schema
from liaoliao.store.base import Part
from liaoliao.store.ids import is_id, new_id
from liaoliao.store.ownership import AnyRow
from liaoliao.store.passwords import hash_password, is_outdated, is_password
from liaoliao.store.records import Account, AccountRole
from liaoliao.store.search import Index

_NAME = re.compile(r"[\w.@+-]{1,64}")
_TABLE = schema.accounts
_VACUUMED = "messages, search_texts, search_index, conversations, generations, attachments, personas, feedback, accounts"


class Accounts(Part):
    """Accounts and their passwords."""

    def create_account(self, name: str, password: str, role: AccountRole = "member") -> Account:
        """A new account; the first one with a password is an admin whatever `role` says. Raises UsageError for a
        name that is taken or not a name, and for a bad password.
        """
        name = _checked_name(name)
        hashed = hash_password(password)
        with self._database.write(alone=True) as connection:
            _refuse_taken(connection, name)
            return _insert(connection, name, hashed, role if _has_passwords(connection) else "admin")

    def needs_setup(self) -> bool:
        """Whether nobody could log in: there is no account with a password yet."""
        with self._database.read() as connection:
            return not _has_passwords(connection)

    def create_first_account(self, name: str, password: str) -> Account:
        """The first account with a password, an admin's. Who used single-user mode before goes on under this name:
        its account is taken over with all that it has. Raises UsageError where somebody was first, and as
        `create_account` does.
        """
        name = _checked_name(name)
        hashed = hash_password(password)
        with self._database.write(alone=True) as connection:
            if _has_passwords(connection):
                raise UsageError("there is an account already; an admin makes more", code="set_up")
            owner = _owner(connection)
            if owner is None:
                return _insert(connection, name, hashed, "admin")
            named = {"name": name, "name_key": _compared(name), "password_hash": hashed}
            changed = update(_TABLE).where(_TABLE.c.id == owner.id)
            connection.execute(changed.values(**named, role="admin", disabled=False))
            return account_of(connection, owner.id)

    def verify_password(self, name: str, password: str) -> Account | None:
        """The account, if that is its password and it is not disabled. Takes the same work for unknown names. Its
        `password_stamp` is that of this password: with it `create_session` sees whether it is still the present one.
        """
        with self._database.read() as connection:
            row = connection.execute(select(_TABLE).where(_TABLE.c.name_key == _compared(name))).first()
        hashed = None if row is None else row.password_hash
        good = is_password(hashed, password)
        if row is None or not good or row.disabled:
            return None
        if not is_outdated(row.password_hash):
            return _account(row)
        self._keep_password(row.id, hash_password(password), row.password_hash)
        return self.verify_password(name, password)  # against what is kept now: somebody may have been faster

    def check_password(self, account_id: str, password: str) -> bool:
        """Whether that is the password of the account. Raises NotFoundError where there is no such account."""
        with self._database.read() as connection:
            row = _row(connection, account_id)
        return is_password(row.password_hash, password)

    def account(self, account_id: str) -> Account:
        """The account. Raises NotFoundError."""
        with self._database.read() as connection:
            return _account(_row(connection, account_id))

    def accounts(self) -> list[Account]:
        """All of them, oldest first."""
        with self._database.read() as connection:
            rows = connection.execute(select(_TABLE).order_by(_TABLE.c.created_at, _TABLE.c.id))
            return [_account(row) for row in rows]

    def single_account(self) -> Account:
        """The account of single-user mode; made, without a password, when it is first asked for."""
        with self._database.read() as connection:
            row = _owner(connection)
        if row is None:
            with self._database.write(alone=True) as connection:
                row = _owner(connection)
                if row is None:
                    return _insert(connection, _free_name(connection, "owner"), None, "admin", is_owner=True)
        return _account(row)

    def set_role(self, account_id: str, role: AccountRole) -> Account:
        """Make someone admin or member. Raises NotFoundError, and UsageError for the last admin."""
        with self._database.write(alone=True) as connection:
            row = _row(connection, account_id)
            if role != "admin":
                _keep_an_admin(connection, row)
            connection.execute(update(_TABLE).where(_TABLE.c.id == account_id).values(role=role))
            return _account(_row(connection, account_id))

    def set_disabled(self, account_id: str, disabled: bool) -> Account:
        """Shut an account out, which ends its sessions, or let it in again. Raises NotFoundError, and UsageError for
        the last admin.
        """
        with self._database.write(alone=True) as connection:
            row = _row(connection, account_id)
            if disabled:
                _keep_an_admin(connection, row)
                _end_sessions(connection, account_id)
            connection.execute(update(_TABLE).where(_TABLE.c.id == account_id).values(disabled=disabled))
            return _account(_row(connection, account_id))

    def shut_out(self, account_id: str) -> None:
        """Before an account is deleted: end its sessions, and disable it. The only one that there is stays as it is but
        for its sessions: were it not deleted after all, nobody could let it in again. Raises as `delete_account` does.
        """
        with self._database.write(alone=True) as connection:
            row = _row(connection, account_id)
            _keep_an_admin(connection, row, leaves=True)
            _end_sessions(connection, account_id)
            disabled = row.disabled or not _is_only(connection, account_id)
            connection.execute(update(_TABLE).where(_TABLE.c.id == account_id).values(disabled=disabled))

    def set_password(self, account_id: str, old: str | None, new: str) -> Account:
        """Change a password, which ends the account's sessions. `old` is compared unless it is None. Raises
        NotFoundError, and UsageError for a wrong old or a bad new one.
        """
        with self._database.read() as connection:
            row = _row(connection, account_id)
        if old is not None and not is_password(row.password_hash, old):
            raise UsageError("that is not the present password", code="not_the_password")
        hashed = hash_password(new)
        self._keep_password(account_id, hashed, row.password_hash, ends_sessions=True)
        return replace(_account(row), has_password=True, password_stamp=_stamp(hashed))

    def delete_account(self, account_id: str) -> None:
        """Delete an account and all that it has: its rows are gone and, on SQLite, overwritten in the files. Raises
        NotFoundError, and UsageError for the last admin while there are other accounts.
        """
        with self._database.write(alone=True) as connection:
            row = _row(connection, account_id)
            _keep_an_admin(connection, row, leaves=True)
            index = Index(connection)
            index.forget(schema.search_texts.c.account_id == account_id)
            index.compact()
            connection.execute(delete(_TABLE).where(_TABLE.c.id == account_id))
        sqlite = self._database.is_sqlite
        with suppress(
            StoreError
        ):  # it is deleted: what others hinder us to sweep up now goes in the course of things
            self._database.outside("PRAGMA wal_checkpoint(TRUNCATE)" if sqlite else f"VACUUM {_VACUUMED}")

    def _keep_password(
        self, account_id: str, hashed: str, former: str | None, *, ends_sessions: bool = False
    ) -> None:
        """Replace the hash, unless somebody else was faster: the later of two changes fails aloud."""
        same = _TABLE.c.password_hash == former if former else _TABLE.c.password_hash.is_(None)
        changed = update(_TABLE).where(_TABLE.c.id == account_id, same).values(password_hash=hashed)
        with self._database.write(alone=True) as connection:
            if connection.execute(changed).rowcount == 0 and ends_sessions:
                raise UsageError(
                    "the password has just been changed by somebody else", code="password_changed"
                )
            if ends_sessions:
                _end_sessions(connection, account_id)


def account_of(connection: Connection, account_id: str, *, to_rely_on: bool = False) -> Account:
    """The account as it is now; `to_rely_on`: and stays until the end of the transaction. Raises NotFoundError."""
    return _account(_row(connection, account_id, to_rely_on=to_rely_on))


def _insert(
    connection: Connection, name: str, hashed: str | None, role: AccountRole, *, is_owner: bool = False
) -> Account:
    values = {"name": name, "name_key": _compared(name), "role": role, "password_hash": hashed}
    id = new_id()
    made = insert(_TABLE).values(id=id, is_owner=is_owner, disabled=False, created_at=time.time(), **values)
    connection.execute(made)
    return account_of(connection, id)


def _row(connection: Connection, account_id: str, *, to_rely_on: bool = False) -> AnyRow:
    wanted = select(_TABLE).where(_TABLE.c.id == account_id)
    if to_rely_on:
        wanted = wanted.with_for_update(read=True)
    row = connection.execute(wanted).first() if is_id(account_id) else None
    if row is None:
        raise NotFoundError("there is no such account")
    return row


def _owner(connection: Connection) -> AnyRow | None:
    return connection.execute(select(_TABLE).where(_TABLE.c.is_owner)).first()


def _account(row: AnyRow) -> Account:
    has_password, stamp = row.password_hash is not None, _stamp(row.password_hash)
    return Account(row.id, row.name, row.role, row.created_at, row.disabled, has_password, stamp)


def _stamp(hashed: str | None) -> str:
    """What tells one password from the next: hashes are salted, so two of one word differ as well."""
    if hashed is None:
        return ""
    return hashlib.blake2b(hashed.encode("ascii"), digest_size=16, person=b"liaoliao-stamp").hexdigest()


def _has_passwords(connection: Connection) -> bool:
    found = connection.execute(select(_TABLE.c.id).where(_TABLE.c.password_hash.is_not(None)))
    return found.first() is not None


def _end_sessions(connection: Connection, account_id: str) -> None:
    connection.execute(delete(schema.sessions).where(schema.sessions.c.account_id == account_id))


def _keep_an_admin(connection: Connection, row: AnyRow, *, leaves: bool = False) -> None:
    """Refuse what would leave nobody who can log in and rule. `leaves`: the account goes for good, which the only one
    may.
    """
    rules = (_TABLE.c.role == "admin", ~_TABLE.c.disabled, _TABLE.c.password_hash.is_not(None))
    rulers = set(connection.execute(select(_TABLE.c.id).where(*rules)).scalars())
    if rulers == {row.id} and not (leaves and _is_only(connection, row.id)):
        raise UsageError(f"{row.name} is the last admin: make another one first", code="last_admin")


def _is_only(connection: Connection, account_id: str) -> bool:
    """Whether there is no other account."""
    return connection.execute(select(_TABLE.c.id).where(_TABLE.c.id != account_id)).first() is None


def _checked_name(name: str) -> str:
    name = unicodedata.normalize("NFKC", name)
    if not _NAME.fullmatch(name):
        told = f"{name[:70]!r} cannot name an account: 1 to 64 letters, digits and . _ - @ +"
        raise UsageError(told, code="account_name")
    return name


def _compared(name: str) -> str:
    """The name as it is compared: Anna, anna and ａｎｎａ are one. What cannot be a name becomes one that nobody has."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return folded if _NAME.fullmatch(folded) else ""


def _is_taken(connection: Connection, name: str) -> bool:
    return (
        connection.execute(select(_TABLE.c.id).where(_TABLE.c.name_key == _compared(name))).first()
        is not None
    )


def _refuse_taken(connection: Connection, name: str) -> None:
    if _is_taken(connection, name):
        raise UsageError(f"there is an account called {name} already", code="account_name_taken")


def _free_name(connection: Connection, name: str) -> str:
    number = 1
    while _is_taken(connection, name if number == 1 else f"{name}-{number}"):
        number += 1
    return name if number == 1 else f"{name}-{number}"
