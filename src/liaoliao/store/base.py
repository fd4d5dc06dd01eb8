"""What the parts of the store share: the database, and who this server is.

    class Personas(Part):
        def persona(self, ...): with self._database.read() as connection: ...

Nothing else is: a part that needs another one's tables uses that one's functions on its own connection.
"""

from liaoliao.store.database import Database
from liaoliao.store.presence import Presence


class Part:
    """A group of the store's methods. `liaoliao.store.store.Store` is all of them together."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._presence = Presence(database)
