"""Small random models of every family, in shapes that the tiles take."""

from typing import Any

import torch

from liaoliao.model.config import ModelConfig, RopeScaling
from liaoliao.model.transformer import Transformer

VOCAB, CONTEXT = 331, 160  # neither is a whole number of tiles or vectors

_SHAPES: dict[str, dict[str, Any]] = {
    "qwen3": {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 64},
    "qwen3-mha": {"num_attention_heads": 3, "num_key_value_heads": 3, "head_dim": 32},
    "llama": {
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "head_dim": 32,
        "qk_norm": False,
        "tie_word_embeddings": False,
        "rope_theta": 5e5,
        "rope_scaling": RopeScaling(8.0, 1.0, 4.0, 64),
    },
    "qwen2": {
        "num_attention_heads": 3,
        "num_key_value_heads": 1,
        "head_dim": 96,
        "qk_norm": False,
        "attention_bias": True,
    },
    "wide": {"num_attention_heads": 10, "num_key_value_heads": 1, "head_dim": 128},
}
FAMILIES = tuple(_SHAPES)


def make_model(family: str = "qwen3", seed: int = 0) -> Transformer:
    config = ModelConfig(
        vocab_size=VOCAB, hidden_size=160, intermediate_size=288, num_hidden_layers=2, max_position_embeddings=CONTEXT,
        eos_token_id=7, **_SHAPES[family],
    )  # fmt: skip
    model = Transformer(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                std = 1.0 if "embed" in name else parameter.shape[1] ** -0.5
                parameter.normal_(0.0, std, generator=generator)
            elif name.endswith("bias"):
                parameter.normal_(0.0, 0.5, generator=generator)
            else:
                parameter.uniform_(0.5, 1.5, generator=generator)
    return model.eval()


def random_ids(seed: int, length: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(VOCAB, (length,), generator=generator).tolist()
