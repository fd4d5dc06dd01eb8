"""A Transformer's weights as the compiled step wants them: packed matrices in one piece of memory, and their addresses.

packed = pack_model(model, "int8")      packed.matrices[layer, QKV]["data"]  ->  an address inside packed.memory
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from liaoliao.engine.cpu.layout import (
    BF16,
    DOWN,
    EMBEDDING,
    GATE_UP,
    GROUP,
    HEAD,
    INT4,
    INT8,
    LAYER,
    MATRIX,
    OUT,
    QKV,
    TILE,
)
from liaoliao.engine.cpu.pack import pack, packed_size
from liaoliao.model.config import ModelConfig
from liaoliao.model.transformer import Block, Transformer

WeightDtype = Literal["bf16", "int8", "int4"]
_ALIGN = 4096


@dataclass(frozen=True, slots=True)
class PackedModel:
    """Everything of a model that does not change from step to step. `memory` and `vectors` keep the addresses alive."""

    config: ModelConfig
    layers: Shaped[np.ndarray, "L"]  # of LAYER
    matrices: Shaped[np.ndarray, "M 4"]  # of MATRIX: a row a layer, then the embedding and the head
    final_gain: int  # an address
    bytes_per_token: int  # of weights that a step reads
    memory: UInt8[np.ndarray, "N"]
    vectors: tuple[Tensor, ...]


def unfit(config: ModelConfig) -> str | None:
    """Why a model's shape does not fit the tiles, or None where it does."""
    for name in ("hidden_size", "intermediate_size", "head_dim"):
        if getattr(config, name) % GROUP:
            return f"{name} is {getattr(config, name)}, not a multiple of {GROUP}"
    return None


def pack_model(model: Transformer, dtype: WeightDtype) -> PackedModel:
    """Pack, and quantise where asked, all matrices of a model. Raises CheckpointError for NaN and infinities."""
    config = model.config
    wanted = list(_matrices(model, dtype))
    sizes = [packed_size(kind, *shape) for _, kind, shape, _ in wanted]
    memory = aligned_memory(sum(sizes))
    matrices = np.zeros((config.num_hidden_layers + 1, 4), MATRIX)
    begin = 0
    for (place, kind, (rows, inner), weight), size in zip(wanted, sizes, strict=True):
        pack(kind, weight(), memory[begin : begin + size])
        tile_bytes = packed_size(kind, TILE, inner)
        matrices[place] = (kind, memory.ctypes.data + begin, -(-rows // TILE), inner, tile_bytes)
        begin += size
    read = begin
    if matrices[-1, HEAD]["data"]:  # then the embedding only gives single rows
        read -= packed_size(int(matrices[-1, EMBEDDING]["kind"]), config.vocab_size, config.hidden_size)
    else:
        matrices[-1, HEAD] = matrices[-1, EMBEDDING]
    layers = np.zeros(config.num_hidden_layers, LAYER)
    vectors: list[Tensor] = []
    for i, block in enumerate(model.model.layers):
        assert isinstance(block, Block)
        layers[i] = tuple(_keep(vector, vectors) for vector in _layer_vectors(block))
    final_gain = _keep(model.model.norm.weight, vectors)
    return PackedModel(config, layers, matrices, final_gain, read, memory, tuple(vectors))


def aligned_memory(size: int) -> UInt8[np.ndarray, "N"]:
    """Memory that begins at a page, not yet filled: the system gives it when it is written."""
    room = np.empty(size + _ALIGN, np.uint8)
    start = -room.ctypes.data % _ALIGN
    return room[start : start + size]


_Wanted = tuple[tuple[int, int], int, tuple[int, int], Callable[[], Tensor]]


def _matrices(model: Transformer, dtype: WeightDtype) -> Iterator[_Wanted]:
    """Place, kind, shape and weight of every matrix, in the order in which a step reads them; the head comes last.

    int4 spends 8 bits where 4 would cost most: on the embedding, of which a step reads single rows, and on the first layer,
    whose mistakes all others inherit. A head that is tied to the embedding is then stored once more, in 4 bits.
    """
    config, layers = model.config, model.config.num_hidden_layers
    width, inner, dims = config.hidden_size, config.intermediate_size, config.head_dim
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    plain = {"bf16": BF16, "int8": INT8, "int4": INT4}[dtype]
    fine = INT8 if dtype == "int4" else plain
    for i, block in enumerate(model.model.layers):
        assert isinstance(block, Block)
        kind = fine if i == 0 else plain
        yield (i, QKV), kind, ((heads + 2 * kv_heads) * dims, width), partial(_qkv, block)
        yield (i, OUT), kind, (width, heads * dims), block.self_attn.o_proj.weight.detach
        yield (i, GATE_UP), kind, (2 * inner, width), partial(_gate_up, block)
        yield (i, DOWN), kind, (width, inner), block.mlp.down_proj.weight.detach
    shape = (config.vocab_size, width)
    yield (layers, EMBEDDING), fine, shape, model.model.embed_tokens.weight.detach
    if fine != plain or not config.tie_word_embeddings:
        yield (layers, HEAD), plain, shape, model.output_weight.detach


def _qkv(block: Block) -> Tensor:
    """For each key-value head its queries' rows, its key's and its value's."""
    attention = block.self_attn
    parts = (attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight)
    return _by_head(parts, attention.config.num_key_value_heads)


def _by_head(parts: tuple[Tensor, ...], kv_heads: int) -> Tensor:
    joined = torch.cat([part.detach().view(kv_heads, -1, *part.shape[1:]) for part in parts], dim=1)
    return joined.flatten(0, 1)


def _gate_up(block: Block) -> Tensor:
    """16 rows of gate and their 16 rows of up in turn."""
    gate, up = (
        p.weight.detach().view(-1, 16, p.in_features) for p in (block.mlp.gate_proj, block.mlp.up_proj)
    )
    return torch.stack([gate, up], dim=1).flatten(0, 2)


def _layer_vectors(block: Block) -> Iterator[Tensor | None]:
    """In the order of LAYER."""
    attention, config = block.self_attn, block.self_attn.config
    yield block.input_layernorm.weight
    yield block.post_attention_layernorm.weight
    yield attention.q_norm.weight if config.qk_norm else None
    yield attention.k_norm.weight if config.qk_norm else None
    biases = (attention.q_proj.bias, attention.k_proj.bias, attention.v_proj.bias)
    yield _by_head(biases, config.num_key_value_heads) if config.attention_bias else None


def _keep(vector: Tensor | None, vectors: list[Tensor]) -> int:
    """The address of an fp32 copy; 0 for none."""
    if vector is None:
        return 0
    vectors.append(vector.detach().float().clone().contiguous())
    return vectors[-1].data_ptr()
