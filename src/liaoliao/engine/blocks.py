"""Who holds which block of the key-value memory, and which blocks hold beginnings that may come again.

A block is free, held by one sequence or several, or kept: held by nobody, but full of tokens that another prompt may
begin with. Kept blocks are given up when free ones run out, the longest unused first.

    pool = BlockPool(8)
    mine = pool.allocate(2)                            # [0, 1]
    pool.remember(0, None, tuple(range(16)))           # block 0 holds positions 0..15 of a text that begins so
    pool.match([*range(16), 99])  ->  [0]              # the next text that begins so shares it

A full block is known by its 16 token ids and by the block before it, compared as they are: no hash is trusted. So a
block is found only where everything before it is the same too.
"""

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from liaoliao.engine.runner import BLOCK_SIZE

_Key = tuple[int, tuple[int, ...]]  # (number of the text up to the block before, 0 at the beginning; ids)


@dataclass(frozen=True, slots=True)
class _Text:
    """What a remembered block holds. Each has a number of its own, never used again: the text up to its end."""

    key: _Key
    number: int
    parent: int | None  # block


class BlockPool:
    """`num_blocks` blocks with reference counts. With `prefix_cache` False nothing is kept or shared."""

    def __init__(self, num_blocks: int, *, prefix_cache: bool = True) -> None:
        self.num_blocks, self.prefix_cache = num_blocks, prefix_cache
        self._free = list(range(num_blocks))[::-1]  # a stack: low blocks first, those used before again
        self._holders = [0] * num_blocks
        self._kept: OrderedDict[int, None] = OrderedDict()  # held by nobody but remembered, the oldest first
        self._texts: dict[int, _Text] = {}  # by block
        self._blocks: dict[_Key, int] = {}
        self._last_number = 0

    @property
    def num_free(self) -> int:
        """Blocks that can be allocated, kept ones included."""
        return len(self._free) + len(self._kept)

    def allocate(self, count: int) -> list[int] | None:
        """Blocks for one holder, or None (and nothing changes) where there are not so many."""
        if count > self.num_free:
            return None
        blocks = [self._free.pop() if self._free else self._forget_oldest() for _ in range(count)]
        for block in blocks:
            self._holders[block] = 1
        return blocks

    def release(self, blocks: Sequence[int]) -> None:
        """One holder lets go of the blocks of its table. The deepest grow old first, so that a kept block never
        outlives the ones before it.
        """
        for block in reversed(blocks):
            self._holders[block] -= 1
            assert self._holders[block] >= 0, f"block {block} was released more often than held"
            if not self._holders[block]:
                if block in self._texts:
                    self._kept[block] = None
                else:
                    self._free.append(block)

    def match(self, token_ids: Sequence[int]) -> list[int]:
        """Blocks that hold the beginning of a text, now held once more. One token at least is left over: somebody
        has to ask the model what comes next.
        """
        blocks: list[int] = []
        number = 0
        for start in range(0, len(token_ids) - BLOCK_SIZE, BLOCK_SIZE):
            block = self._blocks.get((number, tuple(token_ids[start : start + BLOCK_SIZE])))
            if block is None:
                break
            blocks.append(block)
            number = self._texts[block].number
        for block in blocks:
            self._holders[block] += 1
            self._kept.pop(block, None)
        return blocks

    def remember(self, block: int, parent: int | None, token_ids: tuple[int, ...]) -> int:
        """Say that a held block is full of `token_ids`, after the block `parent` (None at the beginning).

        Returns the block to hold from now on: where another holds the same text already, the caller shares that one
        and its own is free again.
        """
        if not self.prefix_cache or block in self._texts:
            return block
        key = (self._texts[parent].number if parent is not None else 0, token_ids)
        known = self._blocks.get(key)
        if known is None:
            self._last_number += 1
            self._texts[block] = _Text(key, self._last_number, parent)
            self._blocks[key] = block
            return block
        self._holders[known] += 1
        self._kept.pop(known, None)
        self.release([block])
        return known

    def check_integrity(self, tables: Iterable[Sequence[int]]) -> None:
        """Assert that every block is free, kept, or held by exactly these tables, and that nothing dangles."""
        held = Counter(block for table in tables for block in table)
        assert all(self._holders[block] == held[block] for block in range(self.num_blocks))
        places = Counter([*self._free, *self._kept, *held.keys()])
        assert places == Counter(range(self.num_blocks))
        assert set(self._kept) <= self._texts.keys() <= set(self._kept) | held.keys()
        assert self._blocks == {text.key: block for block, text in self._texts.items()}
        for text in self._texts.values():
            number = 0 if text.parent is None else self._texts[text.parent].number
            assert text.key[0] == number

    def _forget_oldest(self) -> int:
        block, _ = self._kept.popitem(last=False)
        del self._blocks[self._texts.pop(block).key]
        return block
