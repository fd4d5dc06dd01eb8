"""Property: whatever holders do, no block leaks, is lent twice or is found for a text that it does not hold."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from liaoliao.engine.blocks import BlockPool
from liaoliao.engine.runner import BLOCK_SIZE


def block(kind: int) -> tuple[int, ...]:
    return (kind,) * BLOCK_SIZE


def text(*kinds: int, rest: int = 1) -> list[int]:
    """Full blocks of a few kinds, so that texts begin alike, and a few tokens more."""
    return [token_id for kind in kinds for token_id in block(kind)] + [7] * rest


class Holder:
    def __init__(self, token_ids: list[int], table: list[int], num_remembered: int) -> None:
        self.token_ids, self.table, self.num_remembered = token_ids, table, num_remembered


class Pool(RuleBasedStateMachine):
    """Holders take tables for texts, fill them block by block, and leave. `memory` is what the blocks really hold."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = BlockPool(12)
        self.memory: dict[int, tuple[int, ...]] = {}
        self.holders: list[Holder] = []
        self.num_held_before: dict[int, int] = {}

    @rule(kinds=st.lists(st.integers(0, 1), max_size=5), rest=st.integers(1, 15))
    def take(self, kinds: list[int], rest: int) -> None:
        token_ids = text(*kinds, rest=rest)
        found = self.pool.match(token_ids)
        assert [self.memory[b] for b in found] == [block(kind) for kind in kinds[: len(found)]]
        free = self.pool.num_free
        fresh = self.pool.allocate(len(kinds) + 1 - len(found))
        assert (fresh is None) == (free < len(kinds) + 1 - len(found))
        if fresh is None:
            self.pool.release(found)
            return
        assert not {*fresh} & {b for holder in self.holders for b in holder.table}
        self.holders.append(Holder(token_ids, found + fresh, len(found)))

    @precondition(lambda self: self.holders)
    @rule(data=st.data(), count=st.integers(1, 3))
    def fill(self, data: st.DataObject, count: int) -> None:
        holder = data.draw(st.sampled_from(self.holders))
        full = len(holder.token_ids) // BLOCK_SIZE
        for i in range(holder.num_remembered, min(holder.num_remembered + count, full)):
            ids = tuple(holder.token_ids[i * BLOCK_SIZE : (i + 1) * BLOCK_SIZE])
            self.memory[holder.table[i]] = ids
            parent = holder.table[i - 1] if i else None
            holder.table[i] = self.pool.remember(holder.table[i], parent, ids)
            assert self.memory[holder.table[i]] == ids
            holder.num_remembered = i + 1

    @precondition(lambda self: self.holders)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        holder = data.draw(st.sampled_from(self.holders))
        self.holders.remove(holder)
        self.pool.release(holder.table)

    @invariant()
    def nothing_leaks(self) -> None:
        self.pool.check_integrity(holder.table for holder in self.holders)
        held = {b for holder in self.holders for b in holder.table}
        assert self.pool.num_free == self.pool.num_blocks - len(held)

    def teardown(self) -> None:
        for holder in self.holders:
            self.pool.release(holder.table)
        self.pool.check_integrity([])
        assert self.pool.num_free == self.pool.num_blocks


Pool.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestPool = Pool.TestCase


def keep(pool: BlockPool, *kinds: int) -> list[int]:
    """Somebody reads a text and leaves; its blocks are kept."""
    table = pool.match(text(*kinds))
    first = len(table)
    fresh = pool.allocate(len(kinds) - first)
    assert fresh is not None
    table += fresh
    for i in range(first, len(kinds)):
        table[i] = pool.remember(table[i], table[i - 1] if i else None, block(kinds[i]))
    pool.release(table)
    return table


def test_a_kept_beginning_is_found_again_up_to_the_first_difference() -> None:
    pool = BlockPool(8)
    table = keep(pool, 1, 2, 3)
    assert pool.num_free == 8
    assert pool.match(text(1, 2, 4)) == table[:2]
    assert pool.match(text(2, 3)) == []  # the same ids after other ones are another text
    assert pool.num_free == 6


def test_a_token_is_left_to_ask_about() -> None:
    pool = BlockPool(8)
    table = keep(pool, 1, 2)
    assert pool.match(text(1, 2, rest=0)) == table[:1]
    pool.release(table[:1])
    assert pool.match(text(1, 2, rest=1)) == table


def test_the_longest_unused_are_given_up_first_and_ends_before_beginnings() -> None:
    pool = BlockPool(6)
    a, b = keep(pool, 1, 2), keep(pool, 3, 4)
    pool.release(pool.match(text(1, 2)))  # now b is the one unused the longest
    lent = pool.allocate(3)
    assert lent is not None and set(lent) == {*range(6)} - {*a, b[0]}
    assert pool.match(text(3, 4)) == b[:1] and pool.match(text(1, 2)) == a
    pool.check_integrity([lent, b[:1], a])


def test_free_blocks_go_before_kept_ones_and_low_ones_first() -> None:
    pool = BlockPool(5)
    assert keep(pool, 1, 2) == [0, 1]
    assert pool.allocate(3) == [2, 3, 4]
    assert pool.match(text(1, 2)) == [0, 1]
    assert pool.allocate(1) is None


def test_two_who_read_the_same_at_once_share_it_afterwards() -> None:
    pool = BlockPool(4)
    mine, yours = pool.allocate(2), pool.allocate(2)
    assert mine is not None and yours is not None
    mine[0] = pool.remember(mine[0], None, block(1))
    yours[0] = pool.remember(yours[0], None, block(1))
    assert mine[0] == yours[0] and pool.num_free == 1
    pool.check_integrity([mine, yours])


def test_without_a_prefix_cache_nothing_is_kept() -> None:
    pool = BlockPool(4, prefix_cache=False)
    keep(pool, 1, 2)
    assert pool.match(text(1, 2)) == []
    pool.check_integrity([])


def test_releasing_twice_is_a_defect() -> None:
    pool = BlockPool(2)
    table = pool.allocate(1)
    assert table is not None
    pool.release(table)
    with pytest.raises(AssertionError, match="released more often"):
        pool.release(table)
