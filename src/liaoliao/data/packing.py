"""Documents into rows of one length: nothing lost, hardly anything padded.

Place in the flow: shards -> **packing** -> batches. Only lengths matter here: `pack` plans, `fill` copies the
tokens.

    pack([3, 5, 2], row_length=5)  ->  rows [5] and [3, 2], padding 0
    fill  ->  token_ids [[b b b b b], [a a a c c]], segment_ids [[1 1 1 1 1], [1 1 1 2 2]]

Rows are filled longest first (best fit over all that are given, a few thousand documents at a time): each
place goes to the longest piece that still fits. A document longer than a row is cut into full rows and a
rest; a conversation is made into `windows` before, so that no answer is parted from its question.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from liaoliao.data.example import PAD_ID, Batch, Example
from liaoliao.errors import DataError

Ints: TypeAlias = NDArray[np.int64]
Piece: TypeAlias = tuple[int, int, int]  # example, where it starts in it, tokens
Read: TypeAlias = Callable[[int, int, int], tuple[NDArray[Any], NDArray[Any] | None]]  # example, start, stop


@dataclass(frozen=True, slots=True, eq=False)
class Packing:
    """A plan: piece p is `lengths[p]` tokens of example `examples[p]` from `starts[p]` on.

    Row r holds the pieces `row_offsets[r] : row_offsets[r + 1]`, side by side from the left.
    """

    examples: Ints  # (P,)
    starts: Ints  # (P,)
    lengths: Ints  # (P,)
    row_offsets: Ints  # (R + 1,)
    row_length: int

    @property
    def num_rows(self) -> int:
        """R."""
        return len(self.row_offsets) - 1

    @property
    def padding_fraction(self) -> float:
        """The share of places that hold no token."""
        places = self.num_rows * self.row_length
        return 1 - float(self.lengths.sum()) / places if places else 0.0

    def rows(self) -> list[list[Piece]]:
        """The pieces of every row, from left to right."""
        pieces = list(zip(self.examples.tolist(), self.starts.tolist(), self.lengths.tolist(), strict=True))
        ends = self.row_offsets.tolist()
        return [pieces[first:last] for first, last in pairwise(ends)]


def pack(lengths: Iterable[int] | Ints, row_length: int) -> Packing:
    """Plan rows for examples of these `lengths`, longest first. Raises `DataError` where `row_length` is
    below 2."""
    _check_row(row_length)
    sizes = np.asarray(lengths if isinstance(lengths, np.ndarray) else list(lengths), dtype=np.int64)
    examples, starts, pieces = _cut(sizes, row_length)
    order, row_offsets = _rows(pieces, row_length)
    return Packing(examples[order], starts[order], pieces[order], row_offsets, row_length)


def _check_row(row_length: int) -> None:
    if row_length < 2:
        raise DataError(
            f"row_length is {row_length}; a row needs at least 2 tokens, one to predict the other"
        )


def _cut(lengths: Ints, row_length: int) -> tuple[Ints, Ints, Ints]:
    """Pieces of at most a row: which example, from where, how long."""
    counts = -(-lengths // row_length)
    examples = np.repeat(np.arange(len(lengths)), counts)
    first = np.repeat(np.cumsum(counts) - counts, counts)
    starts = (np.arange(len(examples)) - first) * row_length
    return examples, starts, np.minimum(row_length, lengths[examples] - starts)


def _rows(pieces: Ints, row_length: int) -> tuple[Ints, Ints]:
    """The pieces in the order in which they fill row after row, and where rows begin."""
    by_length = np.argsort(pieces, kind="stable")
    distinct, begins, counts = np.unique(pieces[by_length], return_index=True, return_counts=True)
    sizes: list[int] = (
        distinct.tolist()
    )  # the lengths still to be had, ascending; one leaves when its last piece does
    waiting = [by_length[b : b + c].tolist() for b, c in zip(begins, counts, strict=True)]
    order: list[int] = []
    offsets = [0]
    while sizes:
        room = row_length
        while at := bisect_right(sizes, room):
            size, pool = sizes[at - 1], waiting[at - 1]
            taken = min(room // size, len(pool))
            order += pool[-taken:]
            del pool[-taken:]
            room -= taken * size
            if not pool:
                del sizes[at - 1], waiting[at - 1]
        offsets.append(len(order))
    return np.array(order, dtype=np.int64), np.array(offsets, dtype=np.int64)


def fill(rows: Sequence[Sequence[Piece]], row_length: int, read: Read) -> Batch:
    """The batch of these rows; `read(example, start, stop)` gives token ids and weights (None: all 1)."""
    shape = (len(rows), row_length)
    token_ids = np.full(shape, PAD_ID, np.int64)
    segments, positions, weights = (
        np.zeros(shape, np.int64),
        np.zeros(shape, np.int64),
        np.zeros(shape, np.float32),
    )
    arange = np.arange(row_length)
    for line, row in enumerate(rows):
        at = 0
        for segment, (example, start, size) in enumerate(row, start=1):
            span = slice(at, at + size)
            ids, loss_weights = read(example, start, start + size)
            token_ids[line, span] = ids
            weights[line, span] = 1 if loss_weights is None else loss_weights
            weights[line, at] = 0  # nothing before it to predict it from
            segments[line, span] = segment
            positions[line, span] = arange[:size]
            at += size
    return Batch(
        token_ids=torch.from_numpy(token_ids),
        loss_weights=torch.from_numpy(weights),
        segment_ids=torch.from_numpy(segments),
        positions=torch.from_numpy(positions),
        num_items=float(weights.sum(dtype=np.float64)),
    )


def windows(example: Example, row_length: int) -> list[Example]:
    """An example that is longer than a row as several that fit, in which each token to learn is learned exactly once.

    From the end to the front: each ends with the last such token that is left, and reaches as far back as fits. Whole
    turns (an answer, and all from the answer before it) are learned in it, the rest is context; so an answer has its
    question before it. Where the two do not fit, the answer is cut, and a part begins with one token of context.

        weights 0 0 1 1 0 1, row_length=4  ->  tokens 0 to 3, weights 0 0 1 1, and tokens 2 to 5, weights 0 0 0 1
    """
    _check_row(row_length)
    if len(example) <= row_length:
        return [example]
    weights = example.loss_weights
    learned = 1 + np.flatnonzero(weights[1:] > 0)  # nothing comes before the first token to predict it from
    turns = 1 + np.flatnonzero((weights[:-1] > 0) & (weights[1:] <= 0))  # where an answer has just ended
    found: list[Example] = []
    left = len(learned)
    while left:
        end = int(learned[left - 1]) + 1
        start = max(0, end - row_length)
        whole = turns[(turns >= start) & (turns < end)]
        first = 0 if start == 0 else int(whole[0]) if len(whole) else start + 1
        found.append(_window(example, start, first, end))
        left = int(np.searchsorted(learned, first))
    return found[::-1]


def _window(example: Example, start: int, first: int, end: int) -> Example:
    """The tokens from `start` to `end`, learned from `first` on."""
    span = slice(start, end)
    weights = example.loss_weights[span].copy()
    weights[: first - start] = 0
    columns = {name: values[span] for name, values in example.columns.items()}
    return Example(example.token_ids[span], weights, columns)
