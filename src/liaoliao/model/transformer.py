"""One Transformer of the Qwen3 / Qwen2.5 / Llama-3 family, for training and inference alike.

    ids (B, T) -> hidden (B, T, D) -> logits (B, T, V)

Parameters carry the names of published checkpoints. They are kept in fp32 (training) or whatever a folder holds; the
arithmetic runs in `compute_dtype`. Training rows pack several documents: `segment_ids` keeps attention inside each.

    model = Transformer(ModelConfig.from_depth(4, vocab_size=4096))
    model.hidden(torch.tensor([[5, 6, 7]])).shape  ->  (1, 3, 256)
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from liaoliao.model.cache import CacheView
from liaoliao.model.config import ModelConfig
from liaoliao.model.fused import causal_attention, norm_rope, query_blocks, rms_norm, swiglu
from liaoliao.model.rope import RotaryTable, inverse_frequencies

EMBEDDING_STD = 0.02
HEAD_GAIN = (
    1.5  # normed heads of 64 reach scores of 8 at most; copying one token of 200 wants about twice that
)
FAST_ANGLE = 0.5  # radians a position: pairs that turn slower carry no sense of "the one before"
HIDDEN = (
    -1e30
)  # added to a score that must not be seen; finite, so a row of nothing but padding stays a number


class RMSNorm(nn.Module):
    """Root-mean-square normalisation with a learned gain."""

    def __init__(self, size: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch D"]:
        """Normalise the last dimension."""
        return rms_norm(x, self.weight, self.eps)


@dataclass(frozen=True, slots=True)
class Sight:
    """Who sees whom in rows without a cache: an additive mask (b, T, T), 0 or HIDDEN, and what `first_keys` promises."""

    mask: Tensor
    first_keys: tuple[int, ...] = ()


def _side_by_side(x: Tensor, *parts: nn.Linear) -> Tensor:
    """The outputs of several projections of x, joined. Training joins the weights, for one product forward and two
    backward; where few tokens are read at a time that would be most of the work, so there the outputs are joined.
    """
    weights = [part.weight.to(x.dtype) for part in parts]
    biases = [None if part.bias is None else part.bias.to(x.dtype) for part in parts]
    if not torch.is_grad_enabled():
        pairs = zip(weights, biases, strict=True)
        return torch.cat([F.linear(x, weight, bias) for weight, bias in pairs], dim=-1)
    given = [bias for bias in biases if bias is not None]
    return F.linear(x, torch.cat(weights), torch.cat(given) if given else None)


class Attention(nn.Module):
    """Grouped-query attention with rotary positions, and a norm on each query and key head where configured."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        d, bias = config.hidden_size, config.attention_bias
        self.q_size = config.num_attention_heads * config.head_dim
        self.kv_size = config.num_key_value_heads * config.head_dim
        self.q_proj = nn.Linear(d, self.q_size, bias=bias)
        self.k_proj = nn.Linear(d, self.kv_size, bias=bias)
        self.v_proj = nn.Linear(d, self.kv_size, bias=bias)
        self.o_proj = nn.Linear(self.q_size, d, bias=False)
        if config.qk_norm:
            self.q_norm = RMSNorm(config.head_dim, config.rms_norm_eps)
            self.k_norm = RMSNorm(config.head_dim, config.rms_norm_eps)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        cos: Tensor,
        sin: Tensor,
        sight: Sight | CacheView,
        layer: int,
    ) -> Float[Tensor, "B T D"]:
        """Attend to earlier positions, within the rows or in a cache."""
        query, key, value = self._project(x, cos, sin)
        if isinstance(sight, CacheView):
            out = sight.attend(layer, query, key, value)
        else:
            out = causal_attention(query, key, value, sight.mask, sight.first_keys)
        merged = out.permute(1, 2, 0, 3).reshape(*x.shape[:2], self.q_size)
        return F.linear(merged, self.o_proj.weight.to(x.dtype))

    def _project(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Rotated queries and keys, and values, heads first: (H, B, T, d)."""
        joined = _side_by_side(x, self.q_proj, self.k_proj, self.v_proj)
        heads = joined.view(*x.shape[:2], -1, self.config.head_dim)  # (B, T, Hq + 2 Hkv, d)
        num_query, num_kv = self.config.num_attention_heads, self.config.num_key_value_heads
        turned, plain = torch.split(heads, [num_query + num_kv, num_kv], dim=2)
        turned = norm_rope(turned, self._head_gains(), cos, sin, self.config.rms_norm_eps)
        query, key = torch.split(turned, [num_query, num_kv])
        return query, key, plain.permute(2, 0, 1, 3).contiguous()

    def _head_gains(self) -> Tensor | None:
        if not self.config.qk_norm:
            return None
        query = self.q_norm.weight.expand(self.config.num_attention_heads, -1)
        return torch.cat([query, self.k_norm.weight.expand(self.config.num_key_value_heads, -1)])


class MLP(nn.Module):
    """The gated feed-forward layer."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Float[Tensor, "B T D"]) -> Float[Tensor, "B T D"]:
        """silu(gate) * up, projected back."""
        gate_up = _side_by_side(x, self.gate_proj, self.up_proj)
        return F.linear(swiglu(gate_up), self.down_proj.weight.to(x.dtype))


class Block(nn.Module):
    """One layer: attention, then the feed-forward, each on a normalised copy and added back."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config)

    def forward(
        self,
        x: Float[Tensor, "B T D"],
        cos: Tensor,
        sin: Tensor,
        sight: Sight | CacheView,
        layer: int,
    ) -> Float[Tensor, "B T D"]:
        """See Attention.forward."""
        x = x + self.self_attn(self.input_layernorm(x), cos, sin, sight, layer)
        fed: Tensor = self.mlp(self.post_attention_layernorm(x))
        return x + fed


class Trunk(nn.Module):
    """Embedding, layers and final norm: the part of a checkpoint named `model.`"""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.embed_tokens = _embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)


def _embedding(num_tokens: int, size: int) -> nn.Embedding:
    """As PyTorch makes it; without storage (the device "meta") its numbers are not drawn, for which PyTorch would first
    load its compiler: two seconds, where a model is only about to be read.
    """
    weight = torch.empty(num_tokens, size)
    if not weight.is_meta:
        nn.init.normal_(weight)
    return nn.Embedding(num_tokens, size, _weight=weight)


@torch.no_grad()
def look_one_back(model: "Transformer") -> None:
    """Let the first head of the first layer begin as "attend to the token before".

    Copying from the context needs such a head below a matching one (Olsson et al. 2022, "induction heads"); left to
    itself a small model finds it only after millions of tokens. Here coordinate 0 of every embedding carries the same
    number, so that the head's query and key start as constants; the query is the key turned forward by one position, and
    their product is largest where the rotary angles differ by one step. Everything stays trainable.
    """
    config, weights = model.config, dict(model.named_parameters())
    angles = inverse_frequencies(config)  # (pairs,) of one step
    fast = (angles > FAST_ANGLE).float()  # slow pairs cannot tell one position from the next
    key = torch.cat([fast, torch.zeros_like(fast)])
    query = torch.cat([fast * angles.cos(), fast * -angles.sin()])
    weights["model.embed_tokens.weight"][:, 0] = EMBEDDING_STD * config.hidden_size**0.5 / 4
    for name, direction in (("q_proj", query), ("k_proj", key)):
        projection = weights[f"model.layers.0.self_attn.{name}.weight"]
        projection[: config.head_dim] *= 0.1
        projection[: config.head_dim, 0] = direction


class Transformer(nn.Module):
    """The language model. Weights are random until loaded; `init_weights` draws them by seed."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.model = Trunk(config)
        self.rotary = RotaryTable(config)
        self.compute_dtype: torch.dtype | None = None  # None: that of the embedding
        if not config.tie_word_embeddings:
            self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)

    @torch.no_grad()
    def init_weights(self, seed: int) -> "Transformer":
        """Draw the weights of a run from nothing.

        Input matrices keep variance (std 1/sqrt(fan-in)); matrices that write into the residual stream start at
        zero, so that each layer begins as the identity (Zhang et al. 2019, "Fixup"; muP's advice for output layers).
        """
        generator = torch.Generator().manual_seed(seed)
        for name, parameter in self.named_parameters():
            if parameter.dim() == 1:
                head_gain = name.endswith(("q_norm.weight", "k_norm.weight"))
                parameter.fill_(HEAD_GAIN if head_gain else 0.0 if name.endswith("bias") else 1.0)
            elif name.endswith(("o_proj.weight", "down_proj.weight")):
                parameter.zero_()
            elif name.endswith(("embed_tokens.weight", "lm_head.weight")):
                parameter.normal_(0.0, EMBEDDING_STD, generator=generator)
            else:
                parameter.normal_(0.0, parameter.shape[1] ** -0.5, generator=generator)
        if self.config.qk_norm:
            look_one_back(self)
        return self

    @property
    def output_weight(self) -> Float[Tensor, "V D"]:
        """The matrix that turns hidden states into logits: `lm_head`, or the embedding where they are tied."""
        return self.model.embed_tokens.weight if self.config.tie_word_embeddings else self.lm_head.weight

    def hidden(
        self,
        token_ids: Int[Tensor, "B T"],
        *,
        positions: Int[Tensor, "B T"] | None = None,
        segment_ids: Int[Tensor, "B T"] | None = None,
        cache: CacheView | None = None,
    ) -> Float[Tensor, "B T D"]:
        """Hidden states after the final norm.

        Without a cache a token sees the earlier tokens of its row, or with `segment_ids` those of its own segment.
        With a cache there is one row: the new tokens of all its sequences, each after what is stored of its own.
        """
        for x in self.residuals(token_ids, positions=positions, segment_ids=segment_ids, cache=cache):
            last = x
        normed: Tensor = self.model.norm(last)
        return normed

    def residuals(
        self,
        token_ids: Int[Tensor, "B T"],
        *,
        positions: Int[Tensor, "B T"] | None = None,
        segment_ids: Int[Tensor, "B T"] | None = None,
        cache: CacheView | None = None,
    ) -> Iterator[Float[Tensor, "B T D"]]:
        """The stream that the layers add to, as it comes: the embedding, then what stands there after each layer."""
        dtype = self.compute_dtype or self.model.embed_tokens.weight.dtype
        sight = cache or packed_sight(token_ids, segment_ids, dtype)
        length = None
        if cache is not None:
            positions, length = cache.positions, cache.length
        elif positions is None:
            length = token_ids.shape[1]
            positions = torch.arange(length, device=token_ids.device).unsqueeze(0)
        cos, sin = self.rotary(positions, dtype, length)
        x = F.embedding(token_ids, self.model.embed_tokens.weight).to(dtype)
        yield x
        for layer, block in enumerate(self.model.layers):
            x = block(x, cos, sin, sight, layer)
            yield x

    def logits(self, hidden: Float[Tensor, "*batch D"]) -> Float[Tensor, "*batch V"]:
        """Unnormalised log-probabilities of the next token."""
        return F.linear(hidden, self.output_weight.to(hidden.dtype))

    def forward(
        self, token_ids: Int[Tensor, "B T"], *, segment_ids: Int[Tensor, "B T"] | None = None
    ) -> Float[Tensor, "B T V"]:
        """Logits at every position."""
        return self.logits(self.hidden(token_ids, segment_ids=segment_ids))


def packed_sight(
    token_ids: Int[Tensor, "B T"], segment_ids: Int[Tensor, "B T"] | None, dtype: torch.dtype
) -> Sight:
    """Earlier tokens of the row, or of a token's own segment; b = B with segments and 1 without."""
    length = token_ids.shape[1]
    seen = torch.ones(length, length, dtype=torch.bool, device=token_ids.device).tril().unsqueeze(0)
    if segment_ids is None:
        return Sight(_additive(seen, dtype))
    seen = seen & (segment_ids.unsqueeze(2) == segment_ids.unsqueeze(1))
    ever = [seen[:, start:end].flatten(0, 1).any(0) for start, end in query_blocks(length)]
    return Sight(_additive(seen, dtype), tuple(int(keys.int().argmax()) for keys in ever))


def _additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(seen.shape, dtype=dtype, device=seen.device).masked_fill_(~seen, HIDDEN)
