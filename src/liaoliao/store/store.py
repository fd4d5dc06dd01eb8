"""The store: everything that is kept of people and their talks, behind one class.

    with Store.open() as store:                                  # LIAOLIAO_HOME/liaoliao.db, made if need be
        me = store.single_account()
        talk = store.create_conversation(me.id, title="Ferries")
        store.add_message(me.id, talk.id, Message.user("When does it leave?"), None)

The methods lie in the modules of what they are about:

    accounts       accounts and passwords               conversations   made, listed, found, changed, deleted
    credentials    session tokens and API keys          tree            messages: siblings, never overwritten
    personas       characters to talk to                generations     replies in the making
    attachments    text files                           feedback        thumbs and votes
    answered       requests that were carried out already
    porting        export and import

All of them are synchronous and safe to call from many threads and processes. Each is one transaction: when it returns,
what it did is on the disk; when it raises, nothing of it was done. `together` makes one transaction of several calls.
Whatever belongs to an account is asked for with the account's id, and is not there for others (NotFoundError). Values
that cannot be kept are a DataError, rules about accounts a UsageError; StoreError means that the database is full, busy
or away, and that the same call may work later.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from liaoliao.errors import StoreError, UsageError
from liaoliao.store.accounts import Accounts
from liaoliao.store.answered import AnsweredRequests
from liaoliao.store.attachments import Attachments
from liaoliao.store.conversations import Conversations
from liaoliao.store.credentials import Credentials
from liaoliao.store.database import Database, parse_url, prepare_file
from liaoliao.store.feedback import Opinions
from liaoliao.store.generations import Generations
from liaoliao.store.migrate import upgrade
from liaoliao.store.personas import Personas
from liaoliao.store.porting import Porting
from liaoliao.store.tree import Tree


class Store(
    Accounts,
    Credentials,
    Conversations,
    Tree,
    Generations,
    Opinions,
    Attachments,
    Personas,
    AnsweredRequests,
    Porting,
):
    """Accounts, conversations and all that hangs on them, in one database."""

    @classmethod
    def open(cls, url: str | None = None) -> "Store":
        """The store in this database, made or brought up to date if need be. `url`: None for the file
        LIAOLIAO_HOME/liaoliao.db, sqlite:////folder/file.db, or postgresql://user:password@host/name.

        Raises UsageError for an address that is not one, a place where nothing can be kept, and a database that a
        newer version wrote.
        """
        database = Database(parse_url(url))
        if database.file is not None:
            prepare_file(database.file)
        try:
            upgrade(database)
        except (StoreError, SQLAlchemyError) as error:
            database.close()
            shown = database.url.render_as_string(hide_password=True)
            raise UsageError(f"{shown}: cannot be used as the database: {error}") from error
        except UsageError:
            database.close()
            raise
        return cls(database)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Make one transaction of all that this thread asks of the store in the block: on the disk when the block ends,
        and not done at all when it raises. Keep it short: on SQLite everybody else's writes wait for its end.
        """
        with self._database.together():
            yield

    def close(self) -> None:
        """Let go of the database; replies that are still in the making count as left behind from now on."""
        self._presence.release()
        self._database.close()

    def __enter__(self) -> "Store":  # noqa: PYI034  (beartype knows no Self)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
