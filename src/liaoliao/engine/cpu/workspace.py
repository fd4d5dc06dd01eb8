"""The memory that a step works in: the records that the compiled code takes, and the buffers whose addresses they hold."""

import numpy as np
import torch
from jaxtyping import Int64, UInt8

from liaoliao.engine.cpu.dots import BF16_INPUT, INT8_INPUT
from liaoliao.engine.cpu.layout import (
    BLOCK,
    COLUMN,
    GROUP,
    HEADS_OUT,
    INPUTS,
    JOB,
    MAX_COLUMNS,
    MAX_QUERIES,
    MLP_OUT,
    MODEL,
    OWN,
    ROW_GAP,
    SCRATCH,
    TILE,
    WANT,
)
from liaoliao.engine.cpu.weights import PackedModel, aligned_memory
from liaoliao.model.rope import inverse_frequencies

_FIRST_POSITIONS = 256


class Workspace:
    """Buffers of one team: what its threads share, what each has for itself, and the rotary table, which grows.

    `plan` holds the addresses of all records. `job`, `columns` and `wanted` are filled before each step, as rows of int64
    in the order of the fields in `layout`.
    """

    def __init__(self, packed: PackedModel, num_threads: int) -> None:
        self.packed = packed
        self._buffers: list[UInt8[np.ndarray, "N"]] = []
        self._model = np.zeros(1, MODEL)
        self._inputs = np.zeros(OWN + num_threads, INPUTS)
        self._scratch = np.zeros(num_threads, SCRATCH)
        self._fill_model()
        config = packed.config
        self._add_inputs(HEADS_OUT, config.num_attention_heads * config.head_dim)
        self._add_inputs(MLP_OUT, config.intermediate_size)
        for thread in range(num_threads):
            self._add_inputs(OWN + thread, config.hidden_size)
            self._add_scratch(thread)
        self._frequencies = inverse_frequencies(config)
        self._rotary = aligned_memory(4 * config.head_dim * config.max_position_embeddings)
        self._model["rotary"] = self._rotary.ctypes.data
        self._num_positions = 0

        self.job, self.columns, self.wanted = (
            _numbers(1, JOB)[0],
            _numbers(MAX_COLUMNS, COLUMN),
            _numbers(MAX_COLUMNS, WANT),
        )
        records = (self._model, packed.layers, packed.matrices, self._inputs, self._scratch)
        addressed = (*records, self.job, self.columns, self.wanted)
        self.plan = np.array([record.ctypes.data for record in addressed], np.int64)

    def rotate_to(self, num_positions: int) -> None:
        """Have cosines and sines of the first `num_positions` positions."""
        if num_positions <= self._num_positions:
            return
        most = self.packed.config.max_position_embeddings
        stop = min(max(2 * num_positions, _FIRST_POSITIONS), most)
        positions = torch.arange(self._num_positions, stop, dtype=torch.float32)
        angles = torch.outer(positions, self._frequencies)
        table = self._rotary.view(np.float32).reshape(most, -1)
        table[self._num_positions : stop] = torch.cat([angles.cos(), angles.sin()], dim=1).numpy()
        self._num_positions = stop

    def _fill_model(self) -> None:
        config, model = self.packed.config, self._model[0]
        model["width"], model["inner"] = config.hidden_size, config.intermediate_size
        model["layers"], model["vocab"] = config.num_hidden_layers, config.vocab_size
        model["heads"], model["kv_heads"] = config.num_attention_heads, config.num_key_value_heads
        model["head_dim"], model["eps"] = config.head_dim, config.rms_norm_eps
        model["score_scale"], model["final_gain"] = config.head_dim**-0.5, self.packed.final_gain
        heads = (config.num_attention_heads + 2 * config.num_key_value_heads) * config.head_dim
        widths = {"residual": config.hidden_size, "update": config.hidden_size, "qkv": heads}
        widths["gate_up"] = 2 * config.intermediate_size
        for name, width in widths.items():
            model[name] = self._room(4 * width * MAX_COLUMNS)

    def _add_inputs(self, place: int, inner: int) -> None:
        groups = inner // GROUP
        sizes = (max(BF16_INPUT, INT8_INPUT) * inner + ROW_GAP, 4 * groups, 4 * groups)  # codes, scales, sums
        self._inputs[place] = tuple(self._room(size * MAX_COLUMNS) for size in sizes)

    def _add_scratch(self, thread: int) -> None:
        config = self.packed.config
        queries = max(MAX_QUERIES, config.num_attention_heads // config.num_key_value_heads)
        score_bytes = 4 * BLOCK * -(-config.max_position_embeddings // BLOCK)
        row = 4 * max(config.hidden_size, config.intermediate_size, config.head_dim) + 4 * TILE
        heads = 4 * queries * config.head_dim
        sizes = (row, heads, queries * score_bytes, heads)
        self._scratch[thread] = (*map(self._room, sizes), score_bytes)

    def _room(self, size: int) -> int:
        """The address of a new buffer."""
        self._buffers.append(aligned_memory(size))
        return int(self._buffers[-1].ctypes.data)


def _numbers(count: int, record: np.dtype[np.void]) -> Int64[np.ndarray, "N F"]:
    """Records whose fields are all int64, as rows of numbers."""
    return np.zeros((count, len(record.names or ())), np.int64)
