"""Worked examples of a step's plan, and the property that everyone gets to the end whatever is scarce."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from liaoliao.engine.blocks import BlockPool
from liaoliao.engine.request import Request
from liaoliao.engine.runner import BLOCK_SIZE
from liaoliao.engine.scheduler import Chunk, Scheduler, Sequence


def sequence(request_id: int, num_prompt: int, max_tokens: int = 4, first: int = 0) -> Sequence:
    """A prompt of its own, or one that begins like others with the same `first`."""
    ids = [first or request_id + 100] * BLOCK_SIZE + list(range(num_prompt))
    return Sequence(request_id, Request(tuple(ids[:num_prompt])), max_tokens, ids[:num_prompt])


def scheduler(*sequences: Sequence, num_blocks: int = 64, max_running: int = 8) -> Scheduler:
    scheduler = Scheduler(BlockPool(num_blocks), max_running)
    for s in sequences:
        scheduler.add(s)
    return scheduler


def carry_out(scheduler: Scheduler, chunks: list[Chunk]) -> list[int]:
    """What the lane does after a forward pass, with a model that says 1, 2, 3 ...; who finished."""
    finished = []
    for chunk in chunks:
        s, stored = chunk.sequence, chunk.sequence.num_stored + chunk.num_new
        if chunk.num_logits:
            s.token_ids.append(len(s.reply) + 1)
        scheduler.advance(s, stored)
        if not s.num_left:
            finished.append(s.id)
            scheduler.remove(s)
    scheduler.check_integrity()
    return finished


def step(scheduler: Scheduler, max_tokens: int) -> list[tuple[int, int]]:
    """(id, tokens) of a step's chunks, carried out."""
    chunks = scheduler.plan(max_tokens).chunks
    planned = [(chunk.sequence.id, chunk.num_new) for chunk in chunks]
    carry_out(scheduler, chunks)
    return planned


def test_prompts_are_read_in_pieces_beside_those_who_decode() -> None:
    s = scheduler(sequence(0, 5, 10), sequence(1, 40))
    assert step(s, 16) == [(0, 5), (1, 11)]
    assert step(s, 16) == [(0, 1), (1, 15)]
    s.add(sequence(2, 7))
    assert step(s, 16) == [(0, 1), (1, 14), (2, 1)]
    assert step(s, 16) == [(0, 1), (1, 1), (2, 6)]


def test_first_come_first_served() -> None:
    s = scheduler(sequence(0, 30), sequence(1, 3), sequence(2, 3), max_running=2)
    assert step(s, 16) == [(0, 16)]
    assert step(s, 16) == [(0, 14), (1, 2)]
    assert step(s, 16) == [(0, 1), (1, 1)]  # no slot for the third
    assert [x.id for x in s.waiting] == [2]


def test_who_decodes_is_never_left_out_and_who_reads_gets_a_token_at_least() -> None:
    s = scheduler(*(sequence(i, 2, 9) for i in range(4)), sequence(4, 9))
    step(s, 8)
    assert step(s, 1) == [(0, 1), (1, 1), (2, 1), (3, 1), (4, 1)]


def test_the_youngest_makes_room() -> None:
    s = scheduler(sequence(0, 31, 20), sequence(1, 15, 20), sequence(2, 15, 20), num_blocks=6)
    step(s, 99)
    first, second, third = s.running
    slot, plan = third.slot, s.plan(99)
    while not plan.freed_slots:
        carry_out(s, plan.chunks)
        plan = s.plan(99)
    carry_out(s, plan.chunks)
    assert plan.freed_slots == [slot] and [x.id for x in s.running] == [0, 1]
    assert third.slot == -1 and third.block_ids == [] and list(s.waiting) == [third]
    said = third.reply
    assert said  # what it has said stays said
    while first.num_left or second.num_left:
        step(s, 99)
    assert step(s, 99)[0][0] == 2 and third.reply[: len(said)] == said


def test_nobody_is_admitted_into_blocks_that_the_others_need_next() -> None:
    s = scheduler(sequence(0, 15, 20), sequence(1, 15, 20), num_blocks=2)
    assert step(s, 99) == [(0, 15)]  # one block is free, but it is spare
    s = scheduler(sequence(0, 15, 20), sequence(1, 15, 20), num_blocks=3)
    assert step(s, 99) == [(0, 15), (1, 15)]


def test_a_known_beginning_is_not_read_again() -> None:
    s = scheduler(sequence(0, 40, 1, first=9))
    step(s, 99)
    s.add(sequence(1, 20, 1, first=9))
    plan = s.plan(99)
    assert [(c.sequence.id, c.num_new, c.sequence.num_stored) for c in plan.chunks] == [(1, 4, 16)]
    assert plan.admitted[0].num_cached == 16
    carry_out(s, plan.chunks)


def test_drafts_take_what_room_there_is() -> None:
    s = scheduler(sequence(0, 14, 4), num_blocks=1)
    step(s, 99)
    (chunk,) = s.plan(99).chunks
    assert s.draft(chunk, [1, 2]) == chunk  # positions 15 and on need a second block
    s = scheduler(sequence(0, 14, 4), num_blocks=2)
    step(s, 99)
    (chunk,) = s.plan(99).chunks
    drafted = s.draft(chunk, [1, 2, 3, 4])
    assert (
        drafted.drafts == (1, 2) and drafted.num_logits == 3
    )  # and the model's own word is the third and last
    assert s.draft(chunk, []) == chunk


@settings(max_examples=20)
@given(
    seed=st.integers(0, 10**6),
    num_blocks=st.integers(4, 20),
    max_running=st.integers(1, 6),
    budget=st.integers(1, 80),
)
def test_everyone_gets_to_the_end(seed: int, num_blocks: int, max_running: int, budget: int) -> None:
    rng, longest = random.Random(seed), 4 * BLOCK_SIZE  # four blocks: the smallest pool holds one
    s = scheduler(num_blocks=num_blocks, max_running=max_running)
    coming = [(i, rng.randint(1, longest - 1)) for i in range(8)]
    everyone: list[Sequence] = []
    for _ in range(2000):
        while coming and rng.random() < 0.3:
            request_id, num_prompt = coming.pop(0)
            room = longest - num_prompt
            everyone.append(
                sequence(request_id, num_prompt, rng.randint(1, room), first=rng.choice([0, 5, 6]))
            )
            s.add(everyone[-1])
        chunks = s.plan(budget).chunks
        assert (not chunks) == (not s.running)
        read = sum(c.num_new for c in chunks if c.num_new > 1)
        assert read <= max(1, budget - sum(c.num_new == 1 for c in chunks) + 1)
        assert len({c.sequence.id for c in chunks}) == len(chunks) <= max_running
        carry_out(s, chunks)
        if not (coming or s.running or s.waiting):
            break
    assert len(everyone) == 8 and not (s.running or s.waiting)
    assert all(x.reply == list(range(1, x.max_tokens + 1)) for x in everyone)
    assert s.pool.num_free == num_blocks
