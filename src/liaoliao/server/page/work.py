"""Work of the store is done in threads of its own, so that no stream waits for a disk.

    node = await in_store(store.node, account_id, message_id)

Not asyncio's own threads: those tokenize and run tools, and a few writers waiting for the database must not keep an
answer from beginning. The threads belong to the process, as asyncio's do, and start when first used.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

NUM_THREADS: Final = 8  # readers go on beside a writer; more would only wait for the same disk


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="liaoliao-store")


async def in_store(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What `work` gives back or raises. Whoever stops waiting for it does not undo it: it goes on to its end."""
    return await asyncio.get_running_loop().run_in_executor(_threads(), partial(work, *args, **kwargs))
