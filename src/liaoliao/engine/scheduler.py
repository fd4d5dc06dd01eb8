"""Who runs in the next step, and how many tokens of each. No torch, no clock.

Every step is one forward pass in which all who decode advance by a token, and the rest of the step's token budget reads
prompts: first come, first served, a long prompt a piece at a time, so that nobody who talks waits for somebody who reads.

    waiting -> (slot, blocks for the prompt) -> reading -> decoding -> finished
       ^                                                      |
       +----- preempted: the youngest gives its blocks up when decoding needs more than there are

What was preempted is read again later, prompt and reply so far, as if it were a prompt; its tokens stay what they were.
"""

from collections import deque
from dataclasses import dataclass, field

from liaoliao.engine.blocks import BlockPool
from liaoliao.engine.request import FinishReason, Request
from liaoliao.engine.runner import BLOCK_SIZE


@dataclass(slots=True, eq=False)
class Sequence:
    """A request on its way. `num_stored` counts the positions whose keys and values are in its blocks."""

    id: int
    request: Request
    max_tokens: int
    token_ids: list[int] = field(default_factory=list)  # prompt and reply
    logprobs: list[float] = field(default_factory=list)  # of the reply
    slot: int = -1  # of the sampler, while running
    block_ids: list[int] = field(default_factory=list)
    num_stored: int = 0
    num_remembered: int = 0  # full blocks that the pool knows the text of
    num_cached: int = -1  # prompt tokens found in the prefix cache on first admission; -1 before
    finish_reason: FinishReason | None = None

    @property
    def num_prompt(self) -> int:
        """Tokens of the prompt."""
        return len(self.request.token_ids)

    @property
    def reply(self) -> list[int]:
        """The tokens said so far."""
        return self.token_ids[self.num_prompt :]

    @property
    def num_pending(self) -> int:
        """Tokens that have not been through the model; one while decoding."""
        return len(self.token_ids) - self.num_stored

    @property
    def num_left(self) -> int:
        """Tokens that the reply may still have."""
        return self.max_tokens - (len(self.token_ids) - self.num_prompt)


@dataclass(frozen=True, slots=True)
class Chunk:
    """The next `num_new` pending tokens of a sequence go through the model, `drafts` after them as guesses."""

    sequence: Sequence
    num_new: int
    drafts: tuple[int, ...] = ()

    @property
    def num_logits(self) -> int:
        """Logits wanted: of the last pending token and of each draft, none while the prompt goes on."""
        return 1 + len(self.drafts) if self.num_new == self.sequence.num_pending else 0


@dataclass(frozen=True, slots=True)
class Plan:
    """What goes through the model in a step, who has just got a slot, and which slots were taken from somebody."""

    chunks: list[Chunk]
    admitted: list[Sequence]
    freed_slots: list[int]


class Scheduler:
    """Waiting and running sequences over a pool of blocks; at most `max_running` run at a time."""

    def __init__(self, pool: BlockPool, max_running: int) -> None:
        self.pool, self.max_running = pool, max_running
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []  # the oldest first
        self._slots = list(range(max_running - 1, -1, -1))

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence; first come, first served."""
        self.waiting.append(sequence)

    def plan(self, max_tokens: int) -> Plan:
        """The next step, of about `max_tokens` tokens.

        All who decode are in it whatever the budget; the rest of it, and a token at least, goes to those who read.
        """
        freed_slots: list[int] = []
        chunks = [Chunk(sequence, 1) for sequence in self._decoding(freed_slots)]
        budget = max(1, max_tokens - len(chunks))
        for reading in self.running:
            if reading.num_pending > 1 and budget:
                budget -= _take(chunks, reading, budget)
        admitted: list[Sequence] = []
        while budget and (sequence := self._admit()):
            admitted.append(sequence)
            budget -= _take(chunks, sequence, budget)
        return Plan(chunks, admitted, freed_slots)

    def draft(self, chunk: Chunk, token_ids: list[int]) -> Chunk:
        """The chunk with guesses after it, as many as the reply's length and the free blocks allow."""
        sequence = chunk.sequence
        room = min(sequence.num_left - 1, len(token_ids))
        if room < 1 or not self._grow(sequence, len(sequence.token_ids) + room):
            return chunk
        return Chunk(sequence, chunk.num_new, tuple(token_ids[:room]))

    def advance(self, sequence: Sequence, num_stored: int) -> None:
        """Note that `num_stored` positions are in the sequence's blocks; full blocks become known to the pool."""
        sequence.num_stored = num_stored
        blocks = sequence.block_ids
        for i in range(sequence.num_remembered, num_stored // BLOCK_SIZE):
            token_ids = tuple(sequence.token_ids[i * BLOCK_SIZE : (i + 1) * BLOCK_SIZE])
            blocks[i] = self.pool.remember(blocks[i], blocks[i - 1] if i else None, token_ids)
            sequence.num_remembered = i + 1

    def remove(self, sequence: Sequence) -> None:
        """Let a sequence go, waiting or running."""
        if sequence.slot < 0:
            self.waiting.remove(sequence)
        else:
            self._stop(sequence)

    def check_integrity(self) -> None:
        """Assert what must hold between any two steps."""
        assert sorted([*self._slots, *(s.slot for s in self.running)]) == list(range(self.max_running))
        assert all(s.slot == -1 and not s.block_ids and not s.num_stored for s in self.waiting)
        ids = [s.id for s in (*self.running, *self.waiting)]
        assert ids == sorted(ids)
        assert all(len(s.block_ids) * BLOCK_SIZE >= s.num_stored for s in self.running)
        self.pool.check_integrity(s.block_ids for s in self.running)

    def _decoding(self, freed_slots: list[int]) -> list[Sequence]:
        """Those who decode, each with room for its next position; the youngest make room where there is none."""
        ready = []
        for sequence in list(self.running):
            if sequence.slot < 0 or sequence.num_pending > 1:
                continue
            while not self._grow(sequence, len(sequence.token_ids)):
                freed_slots.append(self.running[-1].slot)
                if self._preempt_youngest() is sequence:
                    break
            else:
                ready.append(sequence)
        return ready

    def _admit(self) -> Sequence | None:
        """Start the first who waits, if there are a slot, blocks for all it has to read, and a spare block for each
        of the others to go on with (or else somebody would be preempted soon, and read again).
        """
        if not self.waiting or not self._slots:
            return None
        sequence = self.waiting[0]
        matched = self.pool.match(sequence.token_ids)
        fresh = None
        needed = _blocks_for(len(sequence.token_ids)) - len(matched)
        if not self.running or self.pool.num_free >= needed + len(self.running):
            fresh = self.pool.allocate(needed)
        if fresh is None:
            self.pool.release(matched)
            return None
        sequence.block_ids = matched + fresh
        sequence.num_stored, sequence.num_remembered = len(matched) * BLOCK_SIZE, len(matched)
        if sequence.num_cached < 0:
            sequence.num_cached = sequence.num_stored
        sequence.slot = self._slots.pop()
        self.running.append(self.waiting.popleft())
        return sequence

    def _grow(self, sequence: Sequence, length: int) -> bool:
        """Give a sequence blocks for `length` positions; False where there are too few."""
        fresh = self.pool.allocate(max(0, _blocks_for(length) - len(sequence.block_ids)))
        sequence.block_ids += fresh or []
        return fresh is not None

    def _preempt_youngest(self) -> Sequence:
        sequence = self.running[-1]
        self._stop(sequence)
        self.waiting.appendleft(sequence)
        return sequence

    def _stop(self, sequence: Sequence) -> None:
        self.running.remove(sequence)
        self._slots.append(sequence.slot)
        self.pool.release(sequence.block_ids)
        sequence.slot, sequence.block_ids = -1, []
        sequence.num_stored = sequence.num_remembered = 0


def _take(chunks: list[Chunk], sequence: Sequence, budget: int) -> int:
    """Put a piece of what a sequence has to read into the plan; how long it is."""
    num_new = min(sequence.num_pending, budget)
    chunks.append(Chunk(sequence, num_new))
    return num_new


def _blocks_for(length: int) -> int:
    return -(-length // BLOCK_SIZE)
