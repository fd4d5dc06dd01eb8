"""Keys and values of the positions seen so far, in blocks of 16 that any sequence may hold.

A sequence owns a table of blocks: its position p lies in block table[p // 16], at p % 16. So no memory is kept for a
length that a sequence may never reach, and sequences that begin alike share the blocks of their beginning.

    cache = PagedCache(config, num_blocks=64)
    view = cache.view([Span(block_ids=(3, 5), start=20, num_new=2)])     # positions 20 and 21, in block 5
    hidden = model.hidden(torch.tensor([[7, 8]]), cache=view)            # the new tokens of all spans in one row

What a token attends to, and in which order it is summed up, depends on its own sequence alone; on a CPU so do the bits of
the result. BLAS libraries choose their kernel by the shape of a product, and kernels differ in the order of their sums.
With MKL (x86), at least four rows and at most 128 summands, all shapes were found to agree, for any number of threads:
so products get rows in fours (`in_fours`), and weighted sums of values are taken 128 positions at a time.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from liaoliao.model.config import ModelConfig

BLOCK_SIZE = 16
QUERY_CHUNK = 128  # queries at a time: bounds the memory of the scores of a long prompt
VALUE_CHUNK = 128  # values summed up in one product
GATHER_BYTES = 2**22  # of keys put side by side at a time: few enough to stay in a cache until they are used
_HIDDEN = -1e30  # added to a score that must not be seen; finite, as in training


@dataclass(frozen=True, slots=True)
class Span:
    """One sequence's part of a forward pass: `num_new` tokens at positions `start` and on, in the blocks of its
    table.
    """

    block_ids: Sequence[int]
    start: int
    num_new: int

    @property
    def end(self) -> int:
        """Positions stored after the pass."""
        return self.start + self.num_new

    @property
    def num_blocks(self) -> int:
        """Blocks that they fill or begin."""
        return -(-self.end // BLOCK_SIZE)

    def padded_table(self, width: int) -> list[int]:
        """Those blocks, and then the first of them again: numbers that are surely sound, to be masked."""
        padding = itertools.repeat(self.block_ids[0], width - self.num_blocks)
        return [*self.block_ids[: self.num_blocks], *padding]


class PagedCache:
    """Tables of keys and values, (num_layers, num_kv_heads, num_blocks, BLOCK_SIZE, head_dim). Memory of a block is
    taken from the system when the block is first used (on a CPU).
    """

    def __init__(
        self,
        config: ModelConfig,
        num_blocks: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        heads, dim = config.num_key_value_heads, config.head_dim
        shape = (config.num_hidden_layers, heads, num_blocks, BLOCK_SIZE, dim)
        self.keys = _untouched(shape, dtype, torch.device(device))
        self.values = _untouched(shape, dtype, torch.device(device))

    @property
    def num_blocks(self) -> int:
        """Blocks there are."""
        return self.keys.shape[2]

    def view(self, spans: Sequence[Span]) -> "CacheView":
        """What a forward pass over the new tokens of these spans, side by side, reads and writes.

        Spans are fastest in the order of `shape_key`: those of one shape are then worked on together. On a CPU the pass
        has up to three columns more, of which nothing is kept.
        """
        device = self.keys.device
        num_new = sum(span.num_new for span in spans)
        positions = np.zeros(in_fours(num_new, device), dtype=np.int64)
        positions[:num_new] = np.concatenate([np.arange(span.start, span.end) for span in spans])
        places = np.concatenate([_places(span) for span in spans])
        self.wipe_entered(spans)
        return CacheView(
            self,
            torch.from_numpy(positions).to(device).unsqueeze(0),
            torch.from_numpy(places).to(device),
            tuple(_Group.of(group, first, self.keys) for first, group in _grouped(spans, self.keys)),
            max(span.end for span in spans),
        )

    def step_view(self, positions: Int[Tensor, "B"], tables: Int[Tensor, "B W"]) -> "CacheView":
        """The view of a step of decoding: one new token for each of B sequences, at its position, in the W blocks of its
        table (what lies past the position is not seen). All of it is worked out on the device: the same operations, in
        the same shapes, for whatever numbers. `wipe_entered` is the caller's business.
        """
        size, width = tables.shape
        heads, num_blocks = self.keys.shape[1:3]
        entered = tables.gather(1, (positions // BLOCK_SIZE).unsqueeze(1))[:, 0]
        rows = torch.arange(heads, device=tables.device)[:, None, None] * num_blocks + tables
        later = torch.arange(width * BLOCK_SIZE, device=tables.device) > positions.unsqueeze(1)
        mask = torch.zeros(later.shape, dtype=self.keys.dtype, device=tables.device)
        chunk = _Chunk(0, 1, width * BLOCK_SIZE, mask.masked_fill_(later, _HIDDEN)[:, None, None])
        return CacheView(
            self,
            positions.unsqueeze(0),
            entered * BLOCK_SIZE + positions % BLOCK_SIZE,
            (_Group(0, size, 1, rows.flatten(), (chunk,)),),
            width * BLOCK_SIZE,
        )

    def wipe_entered(self, spans: Sequence[Span]) -> None:
        """Clean the blocks that a sequence enters without filling them: what an earlier owner left behind, maybe NaN,
        would reach the new one through masked positions (0 * NaN is NaN).
        """
        for span in spans:
            if _enters_a_block_to_stay(span):
                block_id = span.block_ids[span.end // BLOCK_SIZE]
                self.keys[:, :, block_id].zero_()
                self.values[:, :, block_id].zero_()


@dataclass(frozen=True, slots=True)
class CacheView:
    """One forward pass's window on a cache: where its N columns stand, where the M new tokens in the first of them go, and
    who attends together.
    """

    cache: PagedCache
    positions: Int[Tensor, "1 N"]
    places: Int[Tensor, "M"]  # block * BLOCK_SIZE + offset
    groups: tuple["_Group", ...]
    length: int  # positions are below it

    def attend(
        self,
        layer: int,
        query: Float[Tensor, "Hq 1 N d"],
        key: Float[Tensor, "Hkv 1 N d"],
        value: Float[Tensor, "Hkv 1 N d"],
    ) -> Float[Tensor, "Hq 1 N d"]:
        """Store the new keys and values of one layer; softmax attention of each token over its sequence so far."""
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        for table, new in ((keys, key), (values, value)):
            table.flatten(1, 2).index_copy_(1, self.places, new[:, 0, : len(self.places)])
        heads = query.view(key.shape[0], -1, *query.shape[2:])  # (Hkv, G, N, d)
        out = torch.zeros_like(heads)
        for group in self.groups:
            group.attend(heads, keys, values, out)
        return out.view(query.shape)


@dataclass(frozen=True, slots=True)
class _Group:
    """Neighbouring spans of equal numbers of new tokens, over about as many blocks: one batched product serves them.

    `rows` indexes (head, block) pairs of a table seen as (Hkv * num_blocks, BLOCK_SIZE * d). A chunk of queries needs
    the first `num_keys` keys, whole blocks; the first of them are seen by every query in it, the mask covers the rest.
    """

    first: int  # of its new tokens in the pass
    size: int
    num_new: int
    rows: Int[Tensor, "R"]
    chunks: tuple["_Chunk", ...]

    @staticmethod
    def of(spans: Sequence[Span], first: int, table: Tensor) -> "_Group":
        heads, num_blocks = table.shape[1:3]
        width = max(span.num_blocks for span in spans)
        blocks = np.array([span.padded_table(width) for span in spans])  # (b, width)
        rows = np.arange(heads)[:, None, None] * num_blocks + blocks  # (Hkv, b, width)
        starts = np.array([span.start for span in spans])
        chunks = tuple(_chunks(starts, spans[0].num_new, table.dtype, table.device))
        index = torch.from_numpy(rows.reshape(-1)).to(table.device)
        return _Group(first, len(spans), spans[0].num_new, index, chunks)

    def attend(self, query: Tensor, keys: Tensor, values: Tensor, out: Tensor) -> None:
        """Fill in this group's columns of `out`, (Hkv, G, N, d) as `query` is."""
        heads, dim = query.shape[0], query.shape[3]
        key, value = (self._gathered(table).view(heads, self.size, -1, dim) for table in (keys, values))
        mine = slice(self.first, self.first + self.size * self.num_new)
        apart = (*query.shape[:2], self.size, self.num_new, dim)
        asked, answered = query[:, :, mine].view(apart), out[:, :, mine].view(apart)  # (Hkv, G, b, T, d)
        for chunk in self.chunks:
            part = asked[:, :, :, chunk.start : chunk.end].transpose(1, 2)  # (Hkv, b, G, t, d)
            found = chunk.attention(part, key[:, :, : chunk.num_keys], value[:, :, : chunk.num_keys])
            answered[:, :, :, chunk.start : chunk.end] = found.transpose(1, 2)

    def _gathered(self, table: Tensor) -> Tensor:
        return table.flatten(0, 1).flatten(1, 2).index_select(0, self.rows)


@dataclass(frozen=True, slots=True)
class _Chunk:
    """Queries `start` to `end` of every span of a group, and what they may see."""

    start: int
    end: int
    num_keys: int
    mask: Float[Tensor, "b 1 t m"]

    def attention(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(Hkv, b, G, t, d) over (Hkv, b, S, d)."""
        return (plain_attention if query.device.type == "cpu" else fused_attention)(
            query, key, value, self.mask
        )


def plain_attention(
    query: Float[Tensor, "Hkv b G t d"],
    key: Float[Tensor, "Hkv b S d"],
    value: Float[Tensor, "Hkv b S d"],
    mask: Float[Tensor, "b 1 t m"],
) -> Float[Tensor, "Hkv b G t d"]:
    """Softmax attention in the arithmetic that training uses (`fused.causal_attention`). `mask` is added to the scores
    of the last m keys.

    PyTorch's own kernel on a CPU is two to five times slower here in bf16, and for one token a row in fp32 too.
    """
    rows = query.flatten(2, 3)  # (Hkv, b, G * t, d)
    num_rows, size = rows.shape[2], key.shape[2]
    rows = F.pad(rows, (0, 0, 0, in_fours(num_rows, rows.device) - num_rows))
    scores = (rows @ key.transpose(-1, -2)).mul_(query.shape[4] ** -0.5)
    scores[:, :, :num_rows].view(*query.shape[:4], size)[..., size - mask.shape[3] :].add_(mask)
    weights = scores.softmax(-1)
    out = weights[..., :VALUE_CHUNK] @ value[:, :, :VALUE_CHUNK]
    for start in range(VALUE_CHUNK, size, VALUE_CHUNK):
        end = start + VALUE_CHUNK
        out += weights[..., start:end] @ value[:, :, start:end]
    return out[:, :, :num_rows].view(query.shape)


def fused_attention(
    query: Float[Tensor, "Hkv b G t d"],
    key: Float[Tensor, "Hkv b S d"],
    value: Float[Tensor, "Hkv b S d"],
    mask: Float[Tensor, "b 1 t m"],
) -> Float[Tensor, "Hkv b G t d"]:
    """The same by PyTorch's kernel, for GPUs."""
    heads = query.permute(1, 0, 2, 3, 4).flatten(1, 2)  # (b, Hq, t, d)
    seen = F.pad(mask, (key.shape[2] - mask.shape[3], 0))  # (b, 1, t, S)
    keys, values = key.transpose(0, 1), value.transpose(0, 1)
    out = F.scaled_dot_product_attention(heads, keys, values, seen, enable_gqa=True)
    return out.view(out.shape[0], query.shape[0], -1, *out.shape[2:]).transpose(0, 1)


def in_fours(num_rows: int, device: torch.device) -> int:
    """How many rows a product over `num_rows` of them gets, so that its bits do not depend on how many there are."""
    return -(-num_rows // 4) * 4 if device.type == "cpu" else num_rows


def shape_key(span: Span) -> tuple[int, int]:
    """Spans sorted by it lie beside those that they can be worked on with."""
    return span.num_new, span.num_blocks


def _grouped(spans: Sequence[Span], table: Tensor) -> Iterator[tuple[int, list[Span]]]:
    """Runs of neighbours that attend together, each with the place of its first token."""
    block_bytes = table.shape[1] * BLOCK_SIZE * table.shape[4] * table.element_size()
    group: list[Span] = []
    first = 0
    for span in spans:
        if group and not _fits(group, span, block_bytes):
            yield first, group
            first += sum(other.num_new for other in group)
            group = []
        group.append(span)
    yield first, group


def _fits(group: Sequence[Span], span: Span, block_bytes: int) -> bool:
    """Whether a span may join: the same number of queries, about the same number of keys, and small together."""
    width, least = span.num_blocks, group[0].num_blocks
    alike = span.num_new == group[0].num_new and least <= width <= least + 1 + least // 4
    return alike and (len(group) + 1) * width * block_bytes <= GATHER_BYTES


def _chunks(starts: np.ndarray, num_new: int, dtype: torch.dtype, device: torch.device) -> Iterator[_Chunk]:
    for start in range(0, num_new, QUERY_CHUNK):
        end = min(start + QUERY_CHUNK, num_new)
        num_common = int(starts.min()) + start + 1
        num_keys = -(-(int(starts.max()) + end) // BLOCK_SIZE) * BLOCK_SIZE
        positions = starts[:, None] + np.arange(start, end)  # (b, t)
        later = np.arange(num_common, num_keys) > positions[..., None]  # (b, t, m)
        mask = torch.from_numpy(np.where(later, _HIDDEN, 0.0)).to(device, dtype).unsqueeze(1)
        yield _Chunk(start, end, num_keys, mask)


def _places(span: Span) -> np.ndarray:
    """Flat places of the new positions."""
    positions = np.arange(span.start, span.end)
    table = np.asarray(span.block_ids[: span.num_blocks])
    return table[positions // BLOCK_SIZE] * BLOCK_SIZE + positions % BLOCK_SIZE


def _enters_a_block_to_stay(span: Span) -> bool:
    """Whether the last block's first position is among the new ones and its last is not."""
    return span.end % BLOCK_SIZE > 0 and span.end // BLOCK_SIZE * BLOCK_SIZE >= span.start


def _untouched(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    """Zeros; on a CPU of pages that the system hands out when they are first written."""
    if device.type != "cpu":
        return torch.zeros(shape, dtype=dtype, device=device)
    size_bytes = int(np.prod(shape)) * dtype.itemsize
    return torch.from_numpy(np.zeros(size_bytes, dtype=np.uint8)).view(dtype).view(shape)
