"""The model as the engine sees it: rows of new tokens in, logits out; keys and values stay in blocks inside.

    runner = TorchRunner(model)
    runner.forward([Row((5, 6, 7), start=0, block_ids=(3,), num_logits=1)])     ->  logits (1, V), fp32

`Runner` is what an engine needs. `TorchRunner` is the readable one: any device, any dtype, and the reference that others
are held against. Which blocks a sequence holds is the engine's business (`blocks.py`); a runner only writes and reads
where it is told to.

What a row gives does not depend on the other rows, nor on the pieces in which it came: no operation mixes rows. On an
x86 CPU with one or two threads not even its last bit does, since products are kept to shapes whose sums are taken in one
order (`model/cache.py`); in fp32 that costs a reply that runs alone about half of its speed, and many at once nothing.
With more threads, and on other devices, the last bit of a logit may follow the company: a greedy choice changes only
between two tokens that are equal to within that bit.
"""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from liaoliao.errors import RequestError
from liaoliao.model.cache import BLOCK_SIZE as BLOCK_SIZE
from liaoliao.model.cache import PagedCache, Span, in_fours, shape_key
from liaoliao.model.fused import linear_nll
from liaoliao.model.transformer import Transformer

BATCH_TOKENS = 4096  # of texts to score or embed, padded, at a time
PIECE_BYTES = 2**26  # of a text's logits at a time
SPAN_TOKENS = 256  # of a text that is read in pieces; a shorter one is read in one pass
FULL_CONTEXTS = 64  # more memory than for so many helps nobody
_UNKNOWN_MEMORY = 4 * 2**30  # taken to be free where the system does not say


@dataclass(frozen=True, slots=True)
class Row:
    """New tokens of one sequence: they stand at positions `start` and on, whose keys and values go into the blocks of
    `block_ids` (which covers start + len(token_ids)). Logits are wanted of the last `num_logits` of them.
    """

    token_ids: Sequence[int]
    start: int
    block_ids: Sequence[int]
    num_logits: int = 0


@runtime_checkable
class Runner(Protocol):
    """A model with its memory of keys and values. It belongs to one engine, and is used by one thread at a time."""

    vocab_size: int
    hidden_size: int
    max_length: int  # positions that the model was made for
    num_blocks: int
    device: torch.device
    eos_token_ids: tuple[int, ...]

    def forward(self, rows: Sequence[Row]) -> Float[Tensor, "N V"]:
        """Store keys and values of all new tokens; the wanted logits in the order of rows, fp32. They are good until
        the next call. A row's logits never depend on the other rows, nor on what its blocks held before.
        """

    def score(self, batch: Sequence[Sequence[int]]) -> list[list[float]]:
        """The logprob of every token given those before it; the first has nothing before it and gets 0.0."""

    def text_logits(self, token_ids: Sequence[int]) -> Iterator[Float[Tensor, "N V"]]:
        """The logits after each token of a text, fp32, a piece at a time, each good until the next one. Needs no blocks
        of the pool.
        """

    def text_hidden(self, token_ids: Sequence[int]) -> Iterator[Float[Tensor, "N D"]]:
        """The hidden states of a text after the final norm, fp32, in pieces as `text_logits`."""

    def embed(self, batch: Sequence[Sequence[int]]) -> Float[Tensor, "B D"]:
        """The mean over each text's tokens of the hidden states after the final norm, fp32. Texts are not empty."""


class TorchRunner:
    """A Transformer on its own device, in its own dtype.

    `kv_cache_bytes` is the size of the block memory; on a CPU it is taken from the system as blocks are first used.
    Left out: a quarter of the free memory, or what 64 full contexts need where that is less.
    """

    def __init__(self, model: Transformer, *, kv_cache_bytes: int | None = None) -> None:
        config, weight = model.config, model.output_weight
        self.model, self.device = model, weight.device
        self.vocab_size, self.hidden_size = weight.shape
        self.max_length = config.max_position_embeddings
        self.eos_token_ids = _as_tuple(config.eos_token_id)
        dtype = model.compute_dtype or weight.dtype
        position = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
        block_bytes = position * BLOCK_SIZE * dtype.itemsize
        self.num_blocks = affordable_blocks(block_bytes, self.max_length, self.device, kv_cache_bytes)
        self._cache = PagedCache(config, self.num_blocks, dtype=dtype, device=self.device)

    @torch.inference_mode()
    def forward(self, rows: Sequence[Row]) -> Float[Tensor, "N V"]:
        """See Runner."""
        spans = [Span(row.block_ids, row.start, len(row.token_ids)) for row in rows]
        order = sorted(range(len(rows)), key=lambda i: shape_key(spans[i]))
        token_ids = list(itertools.chain.from_iterable(rows[i].token_ids for i in order))
        view = self._cache.view([spans[i] for i in order])
        token_ids += itertools.repeat(0, view.positions.shape[1] - len(token_ids))
        columns = torch.tensor([token_ids], device=self.device)
        hidden = self.model.hidden(columns, cache=view)[0]  # (columns, D)
        wanted = _wanted(rows, order)
        index = wanted + [0] * (in_fours(len(wanted), self.device) - len(wanted))
        logits = self.model.logits(hidden[torch.tensor(index, dtype=torch.long, device=self.device)])
        return logits[: len(wanted)].float()

    @torch.inference_mode()
    def score(self, batch: Sequence[Sequence[int]]) -> list[list[float]]:
        """See Runner."""
        scores: list[list[float]] = [[] for _ in batch]
        for rows in _batches([len(ids) for ids in batch]):
            for i, logprobs in zip(rows, self._score_rows([batch[i] for i in rows]), strict=True):
                scores[i] = logprobs
        return scores

    @torch.inference_mode()
    def text_logits(self, token_ids: Sequence[int]) -> Iterator[Float[Tensor, "N V"]]:
        """See Runner."""
        for hidden in self._hidden_spans(token_ids):
            for piece in torch.split(hidden, max(1, PIECE_BYTES // (4 * self.vocab_size))):
                yield self.model.logits(piece).float()

    @torch.inference_mode()
    def text_hidden(self, token_ids: Sequence[int]) -> Iterator[Float[Tensor, "N D"]]:
        """See Runner."""
        for hidden in self._hidden_spans(token_ids):
            yield hidden.float()

    @torch.inference_mode()
    def embed(self, batch: Sequence[Sequence[int]]) -> Float[Tensor, "B D"]:
        """See Runner."""
        if not all(map(len, batch)):
            raise RequestError("a text to embed is empty; it needs at least one token")
        means = torch.empty(len(batch), self.hidden_size, device=self.device)
        for rows in _batches([len(ids) for ids in batch]):
            hidden = self.model.hidden(_padded([batch[i] for i in rows], self.device)).float()  # (b, T, D)
            for i, states in zip(rows, hidden, strict=True):
                means[i] = states[: len(batch[i])].mean(0)
        return means

    def _hidden_spans(self, token_ids: Sequence[int]) -> Iterator[Float[Tensor, "N D"]]:
        """The hidden states of a text, SPAN_TOKENS at a time, through a memory of its own: one pass over a long text would
        hold up all others until its end.
        """
        if len(token_ids) <= SPAN_TOKENS:
            yield self.model.hidden(torch.tensor([token_ids], device=self.device))[0]
            return
        blocks = range(-(-len(token_ids) // BLOCK_SIZE))
        cache = PagedCache(self.model.config, len(blocks), dtype=self._cache.keys.dtype, device=self.device)
        for start in range(0, len(token_ids), SPAN_TOKENS):
            span = token_ids[start : start + SPAN_TOKENS]
            view = cache.view([Span(blocks, start, len(span))])
            columns = [*span, *itertools.repeat(0, view.positions.shape[1] - len(span))]
            yield self.model.hidden(torch.tensor([columns], device=self.device), cache=view)[0, : len(span)]

    def _score_rows(self, rows: Sequence[Sequence[int]]) -> Iterator[list[float]]:
        token_ids = _padded(rows, self.device)  # (B, T)
        hidden = self.model.hidden(token_ids)[:, :-1].flatten(0, 1)  # (B * (T - 1), D)
        nll = linear_nll(hidden, self.model.output_weight, token_ids[:, 1:].flatten())
        for row, values in zip(rows, (-nll).view(len(rows), -1).tolist(), strict=True):
            yield [0.0, *values[: len(row) - 1]]


def affordable_blocks(
    block_bytes: int, max_length: int, device: torch.device, kv_cache_bytes: int | None
) -> int:
    """How many blocks of `block_bytes` a runner gets: from the budget, or by default from what is free. Raises
    RequestError where the budget does not hold a single block.
    """
    if kv_cache_bytes is None:
        enough = FULL_CONTEXTS * -(-max_length // BLOCK_SIZE)
        return max(1, min(free_memory(device) // 4 // block_bytes, enough))
    if kv_cache_bytes < block_bytes:
        raise RequestError(
            f"a key-value memory of {kv_cache_bytes} bytes holds no block; this model needs {block_bytes} for "
            f"each {BLOCK_SIZE} tokens"
        )
    return kv_cache_bytes // block_bytes


def free_memory(device: torch.device) -> int:
    """Bytes that could be had on a device now."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    meminfo = Path("/proc/meminfo")
    if not meminfo.exists():
        return _UNKNOWN_MEMORY
    lines = meminfo.read_text(encoding="utf-8").splitlines()
    free_kib = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    return min(1024 * free_kib, _container_limit())


def _container_limit() -> int:
    """What the container may use in all (control groups, version 2), or a number beyond any machine."""
    limit = Path("/sys/fs/cgroup/memory.max")
    text = limit.read_text(encoding="utf-8").strip() if limit.exists() else "max"
    return int(text) if text.isdigit() else 2**63


def _wanted(rows: Sequence[Row], order: Sequence[int]) -> list[int]:
    """Where the wanted tokens of each row stand in a pass whose rows come in another order."""
    ends = dict(zip(order, itertools.accumulate(len(rows[i].token_ids) for i in order), strict=True))
    return [place for i, row in enumerate(rows) for place in range(ends[i] - row.num_logits, ends[i])]


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> Int[Tensor, "B T"]:
    width = max(map(len, rows))
    return torch.tensor([[*row, *itertools.repeat(0, width - len(row))] for row in rows], device=device)


def _batches(lengths: Sequence[int]) -> Iterator[list[int]]:
    """Indices of texts of like length, together at most BATCH_TOKENS when padded; an empty text needs no model."""
    rows: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if rows and lengths[rows[0]] * (len(rows) + 1) > BATCH_TOKENS:
            yield rows
            rows = []
        if lengths[i] > 0:
            rows.append(i)
    if rows:
        yield rows


def _as_tuple(ids: int | tuple[int, ...] | None) -> tuple[int, ...]:
    return ids if isinstance(ids, tuple) else () if ids is None else (ids,)
