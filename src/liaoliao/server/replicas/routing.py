"""Which replica is to answer a prompt: one that has read its beginning before, unless it has too much to do already.

    router = Router()
    router.order(prompt, {0: 3, 1: 2})     ->  [1, 0]    best first; the numbers are requests in hand
    router.sent(prompt, 1)                               what begins like it is cheap there from now on

A replica keeps the blocks of 16 tokens that it has read, so that a conversation costs little where its last turn was
answered. The router remembers who was sent what, block by block. A prompt that begins like none before goes to its home:
each replica draws a number from the prompt's first blocks, and the highest wins (rendezvous hashing), so that several
fronts, or one that was started anew, agree without a word, and losing a replica moves only what was at home there.

Reading is weighed against waiting, both in tokens. Whatever is known where, nobody gets more than his share and a half of
all that is in hand (hashing with bounded load).
"""

import hashlib
import itertools
import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence

from liaoliao.engine.runner import BLOCK_SIZE

HOME_TOKENS = 4 * BLOCK_SIZE  # of a prompt, that decide on its home
LOAD_TOKENS = 64  # one more request in hand weighs as much as reading so many tokens
SLACK = 1.5  # a replica may have so many times the mean
_MAX_BLOCKS = 256  # of a prompt, that are remembered


class Router:
    """Remembers which replica has read what; replicas are numbers from 0. `capacity` counts remembered blocks. One thread
    at a time.
    """

    def __init__(self, *, capacity: int = 65536) -> None:
        self.capacity = capacity
        self._readers: OrderedDict[int, int] = OrderedDict()  # hash of a beginning -> a bit for each reader

    def order(self, token_ids: Sequence[int], loads: Mapping[int, int]) -> list[int]:
        """The replicas in `loads` (each with the requests that it has in hand), the best for this prompt first."""
        if not loads:
            return []
        draws = {replica: _draw(token_ids, replica) for replica in loads}
        home, known = max(loads, key=draws.__getitem__), self.known(token_ids)
        most = bound(sum(loads.values()) + 1, len(loads))

        def worth(replica: int) -> tuple[bool, int, int]:
            perhaps = HOME_TOKENS if replica == home and not known else 0  # of another front, an earlier life
            saved = known.get(replica, 0) + min(perhaps, len(token_ids))
            return loads[replica] >= most, LOAD_TOKENS * loads[replica] - saved, -draws[replica]

        return sorted(loads, key=worth)

    def known(self, token_ids: Sequence[int]) -> dict[int, int]:
        """Tokens at the beginning of a prompt that each replica has read, as far as is remembered; none: left out."""
        known: dict[int, int] = {}
        for num_blocks, beginning in enumerate(_beginnings(token_ids), 1):
            readers = self._readers.get(beginning, 0)
            if not readers:
                break
            known.update((replica, num_blocks * BLOCK_SIZE) for replica in _bits(readers))
        return known

    def sent(self, token_ids: Sequence[int], replica: int) -> None:
        """This replica reads a prompt now. What was not asked for longest is forgotten, ends before beginnings."""
        for beginning in reversed(list(_beginnings(token_ids))):
            self._readers[beginning] = self._readers.pop(beginning, 0) | 1 << replica
        while len(self._readers) > self.capacity:
            self._readers.popitem(last=False)

    def forget(self, replica: int) -> None:
        """This replica was started anew and has read nothing."""
        kept = ((beginning, readers & ~(1 << replica)) for beginning, readers in self._readers.items())
        self._readers = OrderedDict((beginning, readers) for beginning, readers in kept if readers)


def bound(num_requests: int, num_replicas: int) -> int:
    """The most that one replica may have of so many requests in hand."""
    return math.ceil(SLACK * num_requests / num_replicas)


def _draw(token_ids: Sequence[int], replica: int) -> int:
    """A number that looks random, the same in every process."""
    text = f"{replica}:{tuple(token_ids[:HOME_TOKENS])}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def _beginnings(token_ids: Sequence[int]) -> Iterator[int]:
    """A hash for the first block, one for the first two, and so on; whole blocks only."""
    beginning = 0
    for start in itertools.islice(range(0, len(token_ids) - BLOCK_SIZE + 1, BLOCK_SIZE), _MAX_BLOCKS):
        beginning = hash((beginning, tuple(token_ids[start : start + BLOCK_SIZE])))
        yield beginning


def _bits(mask: int) -> Iterator[int]:
    """The places of the ones."""
    return (place for place in range(mask.bit_length()) if mask >> place & 1)
