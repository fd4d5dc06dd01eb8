"""CpuRunner: the engine's `Runner` on the compiled step.

    runner = CpuRunner(model, "int8")
    runner.forward([Row((5, 6, 7), start=0, block_ids=(3,), num_logits=1)])     ->  logits (1, V), fp32

It computes with weights of bf16, int8 or int4, fp32 sums, norms and softmax, and fp16 keys and values. A token's result is
the same bits whether it comes alone, in a prompt or among others.
"""

import itertools
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from liaoliao.engine.cpu.kernel_cache import OnProgress, compiled_work
from liaoliao.engine.cpu.layout import (
    BLOCK,
    HIDDEN,
    JOB,
    LOGITS,
    MAX_COLUMNS,
    MAX_THREADS,
    SCORES,
    TILE,
)
from liaoliao.engine.cpu.team import Team
from liaoliao.engine.cpu.weights import WeightDtype, aligned_memory, pack_model
from liaoliao.engine.cpu.workspace import Workspace
from liaoliao.engine.runner import Row, affordable_blocks
from liaoliao.engine.threads import default_threads as default_threads
from liaoliao.errors import RequestError
from liaoliao.model.transformer import Transformer

WORKERS_FIELD, OUT_FIELD, STRIDE_FIELD = (
    list(JOB.names or ()).index(name) for name in ("workers", "out", "stride")
)
BATCH_TOKENS = 4096  # of texts to score or embed, that share one temporary memory of keys and values
SCORED_BYTES = 2**26  # of logits at a time, while texts are scored


@dataclass(frozen=True, slots=True)
class KeyValues:
    """Block memory of keys and of values, layer after layer. The system gives each page when it is first written."""

    keys: UInt8[np.ndarray, "N"]
    values: UInt8[np.ndarray, "N"]
    num_blocks: int
    key_address: int
    value_address: int

    @classmethod
    def of(cls, layers: int, num_blocks: int, block_bytes: int) -> "KeyValues":
        """Room for `num_blocks` blocks, each of `block_bytes` of keys and as many of values in each layer."""
        keys, values = (aligned_memory(layers * num_blocks * block_bytes) for _ in range(2))
        return cls(keys, values, num_blocks, keys.ctypes.data, values.ctypes.data)


@dataclass(frozen=True, slots=True)
class Columns:
    """The tokens of some rows one after the other, and which of them are wanted."""

    token_ids: list[int]
    positions: list[int]
    tables: list[int]  # where each token's row begins in `block_ids`
    block_ids: Int64[np.ndarray, "N"]
    wanted: list[int]


class CpuRunner:
    """A model packed for this machine's processor, with a team of threads to run it.

    `kv_cache_bytes` as for TorchRunner; `num_threads` is by default the number of cores that the process may use. The first
    runner on a machine compiles its kernels, and says so through `on_progress`. PyTorch is set to a single thread for
    the whole process: its pool would spin on the cores that the team needs.
    """

    def __init__(
        self,
        model: Transformer,
        dtype: WeightDtype = "bf16",
        *,
        kv_cache_bytes: int | None = None,
        num_threads: int | None = None,
        on_progress: OnProgress = lambda line: None,
    ) -> None:
        config = model.config
        self.vocab_size, self.hidden_size = config.vocab_size, config.hidden_size
        self.max_length, self.device = config.max_position_embeddings, torch.device("cpu")
        eos = config.eos_token_id
        self.eos_token_ids = eos if isinstance(eos, tuple) else () if eos is None else (eos,)
        self._block_bytes = 2 * BLOCK * config.head_dim * config.num_key_value_heads
        self._layers = config.num_hidden_layers
        both = 2 * self._layers * self._block_bytes
        self.num_blocks = affordable_blocks(both, self.max_length, self.device, kv_cache_bytes)
        self._cache = KeyValues.of(self._layers, self.num_blocks, self._block_bytes)
        threads = min(num_threads or default_threads(), MAX_THREADS)
        packed = pack_model(model, dtype)
        self.size_bytes, self.bytes_per_token = packed.memory.nbytes, packed.bytes_per_token  # of the weights
        self._workspace = workspace = Workspace(packed, threads)
        self._logits = self._room_for_logits(1)
        work = compiled_work(on_progress)
        plan: int = workspace.plan.ctypes.data

        def serve(me: int, team: int, workspace: Workspace = workspace) -> None:  # keeps the plan's memory
            work(me, team, plan)

        self._serve, self._team = serve, Team(threads, serve)
        torch.set_num_threads(1)

    def close(self) -> None:
        """Stop the helper threads; they start again with the next call. Letting go of the runner does the same."""
        self._team.close()

    # ------------------------------------------------------------ what a runner does

    def forward(self, rows: Sequence[Row]) -> Float[Tensor, "N V"]:
        """See Runner. The result is a view of memory that the next call writes into."""
        columns = self._columns_of(rows, self.num_blocks)
        if len(columns.wanted) > len(self._logits):
            self._logits = self._room_for_logits(len(columns.wanted))
        done = 0
        for wanted in self._steps(columns, self._cache, LOGITS, MAX_COLUMNS):
            done += self._run(wanted, self._logits[done:])
        return torch.from_numpy(self._logits[: len(columns.wanted), : self.vocab_size])

    def score(self, batch: Sequence[Sequence[int]]) -> list[list[float]]:
        """See Runner. Keys and values go into blocks of their own, which are gone afterwards."""
        scores = [[0.0] * min(1, len(ids)) for ids in batch]
        most = max(1, min(MAX_COLUMNS, SCORED_BYTES // (4 * self._logits.shape[1])))
        logits = self._room_for_logits(most)
        for texts in _batches(batch, 2):
            columns, cache = self._with_own_blocks([batch[i] for i in texts], leave_out_last=True)
            targets = [token for i in texts for token in batch[i][1:]]
            found: list[float] = []
            for wanted in self._steps(columns, cache, SCORES, most):
                self._workspace.wanted[: len(wanted), 1] = targets[len(found) : len(found) + len(wanted)]
                found += logits[: self._run(wanted, logits), 0].tolist()
            for i in texts:
                scores[i] += found[: len(batch[i]) - 1]
                del found[: len(batch[i]) - 1]
        return scores

    def text_logits(self, token_ids: Sequence[int]) -> Iterator[Float[Tensor, "N V"]]:
        """See Runner."""
        columns, cache = self._with_own_blocks([token_ids])
        most = max(1, min(MAX_COLUMNS, SCORED_BYTES // (4 * self._logits.shape[1])))
        logits = self._room_for_logits(most)
        for wanted in self._steps(columns, cache, LOGITS, most):
            yield torch.from_numpy(logits[: self._run(wanted, logits), : self.vocab_size])

    def text_hidden(self, token_ids: Sequence[int]) -> Iterator[Float[Tensor, "N D"]]:
        """See Runner."""
        columns, cache = self._with_own_blocks([token_ids])
        hidden = np.empty((MAX_COLUMNS, self.hidden_size), np.float32)
        for wanted in self._steps(columns, cache, HIDDEN, MAX_COLUMNS):
            yield torch.from_numpy(hidden[: self._run(wanted, hidden)])

    def embed(self, batch: Sequence[Sequence[int]]) -> Float[Tensor, "B D"]:
        """See Runner."""
        if not all(map(len, batch)):
            raise RequestError("a text to embed is empty; it needs at least one token")
        means = torch.empty(len(batch), self.hidden_size)
        hidden = np.empty((BATCH_TOKENS + self.max_length, self.hidden_size), np.float32)
        for texts in _batches(batch, 1):
            columns, cache = self._with_own_blocks([batch[i] for i in texts])
            done = 0
            for wanted in self._steps(columns, cache, HIDDEN, MAX_COLUMNS):
                done += self._run(wanted, hidden[done:])
            start = 0
            for i in texts:
                means[i] = torch.from_numpy(hidden[start : start + len(batch[i])]).mean(0)
                start += len(batch[i])
        return means

    # ------------------------------------------------------------ from rows to steps

    def _columns_of(self, rows: Sequence[Row], num_blocks: int) -> Columns:
        """The columns of rows. Raises RequestError for what lies outside of the model: compiled code would not."""
        token_ids: list[int] = []
        positions: list[int] = []
        tables: list[int] = []
        block_ids: list[int] = []
        wanted: list[int] = []
        for row in rows:
            count = len(row.token_ids)
            if row.start + count > min(self.max_length, BLOCK * len(row.block_ids)):
                raise RequestError(
                    f"a sequence of {row.start + count} tokens does not fit its {len(row.block_ids)} blocks of "
                    f"{BLOCK}, or the context of {self.max_length}"
                )
            tables += [len(block_ids)] * count
            block_ids += row.block_ids
            token_ids += row.token_ids
            positions += range(row.start, row.start + count)
            wanted += range(len(token_ids) - row.num_logits, len(token_ids))
        if token_ids and not (min(token_ids) >= 0 and max(token_ids) < self.vocab_size):
            raise RequestError(f"a token id is outside of the vocabulary (0 to {self.vocab_size - 1})")
        if block_ids and not (min(block_ids) >= 0 and max(block_ids) < num_blocks):
            raise RequestError(f"a block id is outside of the memory of {num_blocks} blocks")
        return Columns(token_ids, positions, tables, np.array(block_ids, np.int64), wanted)

    def _with_own_blocks(
        self, texts: Sequence[Sequence[int]], *, leave_out_last: bool = False
    ) -> tuple[Columns, KeyValues]:
        """Columns of texts of which every token is wanted, and a memory just for them."""
        fresh, rows = itertools.count(), []
        for ids in texts:
            ids = ids[:-1] if leave_out_last else ids
            blocks = [next(fresh) for _ in range(-(-len(ids) // BLOCK))]
            rows.append(Row(ids, 0, blocks, len(ids)))
        num_blocks = next(fresh)
        cache = KeyValues.of(self._layers, num_blocks, self._block_bytes)
        return self._columns_of(rows, num_blocks), cache

    def _steps(self, columns: Columns, cache: KeyValues, result: int, most: int) -> Iterator[list[int]]:
        """Set up one step after another; each gives the columns that are wanted of it, for `_run`."""
        workspace = self._workspace
        workspace.rotate_to(max(columns.positions, default=0) + 1)
        memory = (cache.key_address, cache.value_address, cache.num_blocks, columns.block_ids.ctypes.data)
        tokens = list(zip(columns.token_ids, columns.positions, columns.tables, strict=True))
        first_wanted = 0
        for start in range(0, len(tokens), most):
            part = tokens[start : start + most]
            workspace.columns[: len(part)] = part
            last_wanted = bisect_left(columns.wanted, start + most)
            wanted = [column - start for column in columns.wanted[first_wanted:last_wanted]]
            workspace.job[:] = (0, len(part), *memory, len(wanted), result, 0, 0)
            yield wanted
            first_wanted = last_wanted

    def _run(self, wanted: list[int], out: Float[np.ndarray, "N W"]) -> int:
        """Carry out the step that is set up; results go into the first rows of `out`. Returns how many."""
        workspace, workers = self._workspace, self._team.workers()
        workspace.wanted[: len(wanted), 0] = wanted
        workspace.job[WORKERS_FIELD] = workers
        workspace.job[OUT_FIELD] = out.ctypes.data
        workspace.job[STRIDE_FIELD] = out.strides[0]
        self._serve(0, self._team.address)
        self._team.settle(workers)
        return len(wanted)

    def _room_for_logits(self, rows: int) -> Float[np.ndarray, "N W"]:
        return np.empty((rows, -(-self.vocab_size // TILE) * TILE), np.float32)


def _batches(texts: Sequence[Sequence[int]], shortest: int) -> Iterator[list[int]]:
    """Indices of texts of at least `shortest` tokens, in order, together about BATCH_TOKENS."""
    batch: list[int] = []
    size = 0
    for i, ids in enumerate(texts):
        if len(ids) < shortest:
            continue
        if batch and size + len(ids) > BATCH_TOKENS:
            yield batch
            batch, size = [], 0
        batch.append(i)
        size += len(ids)
    if batch:
        yield batch
