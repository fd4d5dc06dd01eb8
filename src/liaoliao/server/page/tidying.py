"""What nobody needs any more is thrown away while the server runs, at its start and then every hour.

    tidying = asyncio.create_task(keep_tidy(store))

Files that were given and never sent with a message, and keys of requests whose day is over. A little at a time, so that
others can write in between; what is too much for one hour is left for the next.
"""

import asyncio
import logging
from typing import Final

from liaoliao.errors import StoreError
from liaoliao.server.page.work import in_store
from liaoliao.store import Store

EVERY_S: Final = 3600.0
_AT_ONCE: Final = 200
_MOST_TIMES: Final = 50
_LOG = logging.getLogger(__name__)


async def keep_tidy(store: Store, *, every_s: float = EVERY_S) -> None:
    """Throw away now and every `every_s` seconds, for ever; a database that is away is tried again next time."""
    while True:
        try:
            await tidy(store)
        except StoreError as error:
            _LOG.warning("the database was not tidied up: %s", error)
        await asyncio.sleep(every_s)


async def tidy(store: Store) -> None:
    """Throw away once. Raises StoreError."""
    for forget in (store.forget_unused, store.forget_answered):
        for _ in range(_MOST_TIMES):
            if await in_store(forget, most=_AT_ONCE) == 0:
                break
