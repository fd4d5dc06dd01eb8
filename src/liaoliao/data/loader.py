"""The source of training steps: packed batches from token shards, mixed by weight, resumable.

Place in the flow: shards -> packing -> **PackedSource** -> the training loop, one item a step.

    source = PackedSource([web, talk], weights=(3, 1), row_length=512, rows_per_microbatch=16, seed=0)
    for microbatches in source: ...            # list[Batch]
    state = source.state_dict()                # JSON values; load_state_dict(state) -> the very next item

Examples are drawn in blocks of about `block_tokens`: from every stream its share, each stream in an order
shuffled anew every epoch. A block is packed by itself and its rows are shuffled; so the state is small (where
the block began, and how many of its rows are gone) and a resumed run makes the same block again.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from liaoliao.data.example import Batch
from liaoliao.data.packing import Piece, fill, pack
from liaoliao.data.shards import TokenShards
from liaoliao.errors import DataError

Ints: TypeAlias = NDArray[np.int64]
_STATE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Phase:
    """For `num_steps` steps the shards have these weights (shares of tokens; they need not sum to 1)."""

    num_steps: int
    weights: tuple[int | float, ...]


class PackedSource(Iterator[list[Batch]]):
    """Iterates over steps; each is a list of `microbatches_per_step` batches of `rows_per_microbatch` rows.

    One or several `shards`: without weights they are one pool, every example once an epoch; with `weights` or
    `phases` (the last one goes on for ever) each has its share of the tokens and its own epochs. With
    `num_epochs` (only without weights) the source ends; its last step may be smaller. Raises `DataError`
    where the settings do not fit together.
    """

    def __init__(
        self,
        shards: TokenShards | Sequence[TokenShards],
        *,
        row_length: int,
        rows_per_microbatch: int,
        microbatches_per_step: int = 1,
        weights: Sequence[int | float] | None = None,
        phases: Sequence[Phase] = (),
        num_epochs: int | None = None,
        seed: int = 0,
        block_tokens: int = 1 << 19,
    ) -> None:
        self.shards = [shards] if isinstance(shards, TokenShards) else list(shards)
        self.row_length, self.rows_per_microbatch = row_length, rows_per_microbatch
        self.microbatches_per_step, self.seed, self.num_epochs = microbatches_per_step, seed, num_epochs
        self.phases = (Phase(1, tuple(weights)),) if weights is not None else tuple(phases)
        self.block_tokens = max(block_tokens, 4 * row_length)
        self._check(weights is not None and bool(phases))
        self._pool = _Pool(self.shards)
        each, whole = map(self._pool.ids_of, range(len(self.shards))), np.arange(len(self._pool.lengths))
        groups = list(each) if self.phases else [whole]
        self._streams = [_Stream(group, self._pool.lengths, (seed, i)) for i, group in enumerate(groups)]
        self._rows_before = 0  # rows of all blocks before this one
        self._begin_block()

    def _check(self, both: bool) -> None:
        steps = [phase.num_steps for phase in self.phases]
        if min(self.rows_per_microbatch, self.microbatches_per_step, *steps) < 1:
            raise DataError("rows_per_microbatch, microbatches_per_step and num_steps must be at least 1")
        if self.seed < 0 or (self.num_epochs is not None and self.num_epochs < 1):
            raise DataError(f"seed must be >= 0 and num_epochs >= 1, not {self.seed} and {self.num_epochs}")
        if both or (self.phases and self.num_epochs is not None):
            raise DataError(
                "give one of weights, phases and num_epochs: weighted shards have no common epoch"
            )
        if not self.shards or not all(map(len, self.shards)):
            raise DataError("a packed source needs token shards that are not empty")
        if len({shards.meta.vocab_size for shards in self.shards}) > 1:
            raise DataError("the token shards have different vocabularies; make them with one tokenizer")
        for phase in self.phases:
            if len(phase.weights) != len(self.shards) or min(phase.weights) < 0 or sum(phase.weights) <= 0:
                raise DataError(f"{len(self.shards)} shards, weights {phase.weights}: give one >= 0 a shard")

    @property
    def rows_per_step(self) -> int:
        """Rows of a whole step."""
        return self.rows_per_microbatch * self.microbatches_per_step

    @property
    def tokens_per_step(self) -> int:
        """Places of a whole step; `1 - padding_fraction` of them hold tokens."""
        return self.rows_per_step * self.row_length

    @property
    def padding_fraction(self) -> float:
        """The share of padding in the rows of the present block."""
        return self._padding_fraction

    @property
    def epochs(self) -> tuple[float, ...]:
        """Epochs of each of the shards, or of all as one pool, at the end of the present block."""
        return tuple(stream.epoch + stream.position / len(stream.ids) for stream in self._streams)

    def __next__(self) -> list[Batch]:
        microbatches = (self._next_rows() for _ in range(self.microbatches_per_step))
        batches = [fill(rows, self.row_length, self._pool.read) for rows in microbatches if rows]
        if not batches:
            raise StopIteration
        return batches

    def _next_rows(self) -> list[list[Piece]]:
        """The rows of one microbatch, across the end of a block where need be; fewer only at the very end."""
        rows: list[list[Piece]] = []
        while len(rows) < self.rows_per_microbatch:
            if self._row == len(self._rows):
                self._rows_before += len(self._rows)
                self._begin_block()
                if not self._rows:
                    break
            taken = self._rows[self._row :][: self.rows_per_microbatch - len(rows)]
            self._row += len(taken)
            rows += taken
        return rows

    def _begin_block(self) -> None:
        """Draw the next block, pack it and shuffle its rows; it has no rows where the last epoch is over."""
        self._block_start = {"rows_before": self._rows_before, "streams": [s.state() for s in self._streams]}
        examples = self._draw_by_phase() if self.phases else self._draw_from_pool()
        packing = pack(self._pool.lengths[examples], self.row_length)
        packed = packing.rows()
        order = np.random.default_rng([self.seed, 1, self._rows_before]).permutation(len(packed))
        ids = examples.tolist()
        self._rows = [[(ids[example], start, size) for example, start, size in packed[row]] for row in order]
        self._row, self._padding_fraction = 0, packing.padding_fraction

    def _draw_from_pool(self) -> Ints:
        pool = self._streams[0]
        if self.num_epochs is not None and pool.epoch >= self.num_epochs:
            return np.zeros(0, dtype=np.int64)
        return pool.take(self.block_tokens, within_epoch=True)

    def _draw_by_phase(self) -> Ints:
        phase, rows_left = self._phase()
        wanted = self.block_tokens if rows_left is None else rows_left * self.row_length
        tokens = min(self.block_tokens, wanted)
        shares = (np.array(phase.weights) / sum(phase.weights)).tolist()
        drawn: list[Ints] = []
        while not sum(map(len, drawn)):  # an example longer than several blocks is owed for by those after it
            for stream, share in zip(self._streams, shares, strict=True):
                stream.owed += share * tokens
                drawn.append(stream.take(int(stream.owed)))
                stream.owed -= int(self._pool.lengths[drawn[-1]].sum())
        return np.concatenate(drawn)

    def _phase(self) -> tuple[Phase, int | None]:
        """The phase of the next block, and how many rows are left of it (None: it goes on for ever)."""
        row = self._rows_before
        for phase in self.phases[:-1]:
            rows = phase.num_steps * self.rows_per_step
            if row < rows:
                return phase, rows - row
            row -= rows
        return self.phases[-1], None

    def state_dict(self) -> dict[str, Any]:
        """Where the source stands, as JSON values; who loads them goes on with the very next item."""
        return {"settings": self._settings(), "block_start": self._block_start, "row": self._row}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state` was taken. Raises `DataError` where it is from other data or settings."""
        mine, theirs = self._settings(), state["settings"]
        for name in mine.keys() | theirs.keys():
            if mine.get(name) != theirs.get(name):
                raise DataError(
                    f"cannot resume: the data source's {name} was {theirs.get(name)}, now {mine.get(name)}; "
                    "resume with the same data and settings, or start a new run"
                )
        self._rows_before = state["block_start"]["rows_before"]
        for stream, saved in zip(self._streams, state["block_start"]["streams"], strict=True):
            stream.load(saved)
        self._begin_block()
        self._row = state["row"]

    def _settings(self) -> dict[str, Any]:
        """All that the order of items depends on, as JSON gives it back."""
        return {
            "row_length": self.row_length,
            "rows_per_microbatch": self.rows_per_microbatch,
            "microbatches_per_step": self.microbatches_per_step,
            "seed": self.seed,
            "num_epochs": self.num_epochs,
            "block_tokens": self.block_tokens,
            "phases": [[phase.num_steps, list(phase.weights)] for phase in self.phases],
            "digests": [shards.digest for shards in self.shards],
            "version": _STATE_VERSION,
        }


class _Pool:
    """The examples of all shards under one numbering."""

    def __init__(self, shards: Sequence[TokenShards]) -> None:
        self.shards = shards
        self.lengths: Ints = np.concatenate([s.lengths for s in shards])
        self.firsts = np.cumsum([0, *map(len, shards)]).tolist()

    def ids_of(self, index: int) -> Ints:
        """The numbers of one shard's examples."""
        return np.arange(self.firsts[index], self.firsts[index + 1])

    def read(self, example: int, start: int, stop: int) -> tuple[NDArray[Any], NDArray[Any] | None]:
        """Token ids and weights of a piece of an example."""
        index = bisect_right(self.firsts, example) - 1
        shards = self.shards[index]
        first = int(shards.offsets[example - self.firsts[index]])
        span = slice(first + start, first + stop)
        return shards.tokens[span], None if shards.weights is None else shards.weights[span]


class _Stream:
    """Some examples over and over, each epoch in an order of its own."""

    def __init__(self, ids: Ints, lengths: Ints, seed: tuple[int, int]) -> None:
        self.ids, self.lengths, self.seed = ids, lengths, seed
        self.epoch = self.position = 0
        self.owed = 0.0  # tokens of its share not drawn yet; below 0 after an example longer than that
        self._shuffled = (-1, ids)

    def take(self, num_tokens: int, *, within_epoch: bool = False) -> Ints:
        """The next examples that together hold at least `num_tokens`, or what the epoch has left."""
        taken: list[Ints] = [np.zeros(0, dtype=np.int64)]
        while num_tokens > 0:
            # num_tokens examples are enough, since each has at least one token
            ahead = self._order()[self.position : self.position + num_tokens]
            ends = np.cumsum(self.lengths[ahead])
            count = min(int(np.searchsorted(ends, num_tokens)) + 1, len(ahead))
            taken.append(ahead[:count])
            num_tokens -= int(ends[count - 1])
            self.position += count
            if self.position == len(self.ids):
                self.epoch, self.position = self.epoch + 1, 0
                if within_epoch:
                    break
        return np.concatenate(taken)

    def _order(self) -> Ints:
        if self._shuffled[0] != self.epoch:
            rng = np.random.default_rng([self.seed[0], 0, self.seed[1], self.epoch])
            self._shuffled = (self.epoch, rng.permutation(self.ids))
        return self._shuffled[1]

    def state(self) -> dict[str, Any]:
        """Where the stream stands."""
        return {"epoch": self.epoch, "position": self.position, "owed": self.owed}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go where `state` says."""
        self.epoch, self.position, self.owed = state["epoch"], state["position"], state["owed"]
