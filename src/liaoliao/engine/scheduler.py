"""Who runs next: which waiting prompts get a slot, which are read together, who decodes. No torch, no clock.

Running sequences always fill slots 0..n-1 without a hole, so that the rows of a forward pass lie side by side
in the cache. Prompts of like length are read in one padded pass; a long prompt is read in pieces, so that it
delays nobody much.

    waiting -> (slot) -> reading its prompt -> decoding -> finished; the last slot then moves into the hole
"""

from collections import deque
from collections.abc import Sequence as Seq
from dataclasses import dataclass, field

from liaoliao.engine.request import FinishReason, Request


@dataclass(slots=True, eq=False)
class Sequence:
    """A request on its way. `num_cached` counts the positions that its cache slot holds or will after this
    pass.
    """

    id: int
    request: Request
    max_tokens: int
    slot: int = -1
    num_cached: int = 0
    token_ids: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    finish_reason: FinishReason | None = None

    @property
    def num_unread(self) -> int:
        """Prompt tokens that have not been through the model."""
        return max(0, len(self.request.token_ids) - self.num_cached)


@dataclass(frozen=True, slots=True)
class Move:
    """The cache row and settings of slot `source` now belong to slot `target`."""

    source: int
    target: int


class Scheduler:
    """Waiting and running sequences. `max_prefill_tokens` bounds the padded tokens of one reading pass."""

    def __init__(self, max_slots: int, max_prefill_tokens: int) -> None:
        self.max_slots, self.max_prefill_tokens = max_slots, max_prefill_tokens
        self.waiting: deque[Sequence] = deque()
        self.running: list[Sequence] = []  # running[i].slot == i

    def add(self, sequence: Sequence) -> None:
        """Queue a sequence; first come, first served."""
        self.waiting.append(sequence)

    def admit(self) -> list[Sequence]:
        """Give free slots to waiting sequences. While many wait, slots are filled by the batch and not one by
        one.
        """
        free = self.max_slots - len(self.running)
        if not self.waiting or free < min(len(self.waiting), max(1, self.max_slots // 8)):
            return []
        admitted = [self.waiting.popleft() for _ in range(min(free, len(self.waiting)))]
        for sequence in admitted:
            sequence.slot = len(self.running)
            self.running.append(sequence)
        return admitted

    def decoding(self) -> list[Sequence]:
        """Sequences whose prompt is read, in order of slot."""
        return [sequence for sequence in self.running if not sequence.num_unread]

    def prefill(self) -> list[tuple[Sequence, int]]:
        """Whose prompts to read now, and how many tokens of each: the one longest here, and others of about
        its length.
        """
        unread = [sequence for sequence in self.running if sequence.num_unread]
        if not unread:
            return []
        first = min(unread, key=lambda sequence: sequence.id)
        width = min(first.num_unread, self.max_prefill_tokens)
        alike = [s for s in unread if s.num_unread <= width and (2 * s.num_unread >= width or width <= 32)]
        alike = alike if first in alike else [first, *alike]
        return [(s, min(s.num_unread, width)) for s in alike[: max(1, self.max_prefill_tokens // width)]]

    def remove(self, sequence: Sequence) -> Move | None:
        """Let a sequence go, waiting or running; says which slot moved into the hole, if one did."""
        if sequence.slot < 0:
            self.waiting.remove(sequence)
            return None
        last = self.running.pop()
        if last is sequence:
            return None
        move = Move(last.slot, sequence.slot)
        self.running[sequence.slot] = last
        last.slot = sequence.slot
        return move

    def check_integrity(self) -> None:
        """Assert what must hold between any two steps."""
        assert all(sequence.slot == i for i, sequence in enumerate(self.running))
        assert all(sequence.slot == -1 for sequence in self.waiting)
        assert len(self.running) <= self.max_slots


def by_length(requests: Seq[Request]) -> list[int]:
    """Indices of requests from the longest prompt to the shortest: like lengths are then read together."""
    return sorted(range(len(requests)), key=lambda i: -len(requests[i].token_ids))
