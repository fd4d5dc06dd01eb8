"""What a model is made of, in the field's names: one frozen value shared by training and inference.

Every shape of the Qwen3, Qwen2.5 and Llama-3 families fits. `ModelConfig.from_depth` is the one dial of our own models:

    ModelConfig.from_depth(4, vocab_size=4096)  ->  4 layers, width 256, 4 heads of 64, SwiGLU of 704
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from liaoliao.errors import ConfigError

Family = Literal["qwen3", "qwen2", "llama"]


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """Llama 3's stretching of the rotary frequencies beyond the length it was trained on."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position_embeddings: int

    def __post_init__(self) -> None:
        if self.factor <= 0 or self.original_max_position_embeddings < 1:
            raise ConfigError(f"a rope scaling needs a factor and an original length above 0, got {self}")
        if self.low_freq_factor >= self.high_freq_factor:
            raise ConfigError(f"a rope scaling needs low_freq_factor below high_freq_factor, got {self}")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The shape of one Transformer; names are those of `config.json` on model hubs."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    max_position_embeddings: int = 2048
    rms_norm_eps: float = 1e-6
    rope_theta: float = 10_000.0
    rope_scaling: RopeScaling | None = None
    tie_word_embeddings: bool = True
    attention_bias: bool = False
    qk_norm: bool = True
    bos_token_id: int | None = None
    eos_token_id: int | tuple[int, ...] | None = None
    pad_token_id: int | None = None

    def __post_init__(self) -> None:
        for name in (
            "vocab_size",
            "hidden_size",
            "intermediate_size",
            "num_hidden_layers",
            "num_attention_heads",
            "num_key_value_heads",
            "head_dim",
            "max_position_embeddings",
        ):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ConfigError(
                f"num_attention_heads ({self.num_attention_heads}) must be a multiple of "
                f"num_key_value_heads ({self.num_key_value_heads})"
            )
        if self.head_dim % 2:
            raise ConfigError(f"head_dim must be even for rotary positions, got {self.head_dim}")
        if self.rope_theta <= 0 or self.rms_norm_eps < 0:
            raise ConfigError(
                f"rope_theta ({self.rope_theta}) must be above 0, and rms_norm_eps ({self.rms_norm_eps}) not below it"
            )
        if self.qk_norm and self.attention_bias:
            raise ConfigError("qk_norm and attention_bias together belong to no family this project can save")

    @classmethod
    def from_depth(
        cls,
        depth: int,
        vocab_size: int,
        *,
        max_position_embeddings: int = 2048,
        tie_word_embeddings: bool = True,
    ) -> "ModelConfig":
        """One dial: width 64 x depth, heads of 64, a SwiGLU of 8/3 the width; ~12 x depth x width^2 parameters.

        Fewer key-value heads than query heads only from depth 12 on, where the cache begins to weigh.
        """
        if depth < 1:
            raise ConfigError(f"depth must be at least 1, got {depth}")
        width = 64 * depth
        return cls(
            vocab_size=vocab_size,
            hidden_size=width,
            intermediate_size=64 * round(width * 8 / 3 / 64),
            num_hidden_layers=depth,
            num_attention_heads=depth,
            num_key_value_heads=depth if depth < 12 or depth % 2 else depth // 2,
            head_dim=64,
            max_position_embeddings=max_position_embeddings,
            tie_word_embeddings=tie_word_embeddings,
        )

    @property
    def family(self) -> Family:
        """The `transformers` family whose code computes exactly this model."""
        return "qwen3" if self.qk_norm else "qwen2" if self.attention_bias else "llama"

    def num_parameters(self, *, embeddings: bool = True) -> int:
        """Trained numbers in all, or with `embeddings=False` those of the layers and norms alone."""
        d, kv = self.hidden_size, self.num_key_value_heads * self.head_dim
        q = self.num_attention_heads * self.head_dim
        layer = 2 * d * q + 2 * d * kv + 3 * d * self.intermediate_size + 2 * d
        layer += 2 * self.head_dim if self.qk_norm else 0
        layer += q + 2 * kv if self.attention_bias else 0
        tables = self.vocab_size * d * (1 if self.tie_word_embeddings else 2)
        return self.num_hidden_layers * layer + d + (tables if embeddings else 0)

    def parameter_shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Name and shape of every weight, in the order in which `Transformer` has them; nothing is built for it."""
        d = self.hidden_size
        yield "model.embed_tokens.weight", (self.vocab_size, d)
        for layer in range(self.num_hidden_layers):
            for name, shape in self._layer_shapes():
                yield f"model.layers.{layer}.{name}", shape
        yield "model.norm.weight", (d,)
        if not self.tie_word_embeddings:
            yield "lm_head.weight", (self.vocab_size, d)

    def _layer_shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        d, inner, kv = self.hidden_size, self.intermediate_size, self.num_key_value_heads * self.head_dim
        q = self.num_attention_heads * self.head_dim
        yield "input_layernorm.weight", (d,)
        for name, size in (("q_proj", q), ("k_proj", kv), ("v_proj", kv)):
            yield f"self_attn.{name}.weight", (size, d)
            if self.attention_bias:
                yield f"self_attn.{name}.bias", (size,)
        yield "self_attn.o_proj.weight", (d, q)
        if self.qk_norm:
            yield "self_attn.q_norm.weight", (self.head_dim,)
            yield "self_attn.k_norm.weight", (self.head_dim,)
        yield "post_attention_layernorm.weight", (d,)
        for name in ("gate_proj", "up_proj"):
            yield f"mlp.{name}.weight", (inner, d)
        yield "mlp.down_proj.weight", (d, inner)
