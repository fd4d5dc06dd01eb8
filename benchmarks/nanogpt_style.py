"""A nanoGPT-style baseline, written for this comparison: a GPT-2 block stack under plain AdamW, with bf16 autocast where
the processor has it.

Learned positions, LayerNorm without bias, GELU of four times the width, tied embeddings, SDPA over rows cut from one
stream of tokens (documents run into each other), AdamW (0.9, 0.95), weight decay 0.1, cosine to a tenth.
"""

import math
import time
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from liaoliao.train.machine import pick_dtype


class Block(nn.Module):
    """Attention and a GELU layer, each on a normalised copy and added back."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.LayerNorm(width, bias=False), nn.LayerNorm(width, bias=False)
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)
        self.num_heads = num_heads

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D) -> (B, T, D), causal."""
        heads = self.qkv(self.norm_1(x)).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(heads[0], heads[1], heads[2], is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm_2(x))))


class GPT(nn.Module):
    """ids (B, T) -> logits (B, T, V)."""

    def __init__(self, vocab_size: int, width: int, num_layers: int, num_heads: int, max_length: int) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocab_size, width), nn.Embedding(max_length, width)
        self.blocks = nn.ModuleList(Block(width, num_heads) for _ in range(num_layers))
        self.norm = nn.LayerNorm(width, bias=False)
        self.max_length = max_length
        for name, parameter in self.named_parameters():
            if parameter.dim() == 2:
                residual = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / (math.sqrt(2 * num_layers) if residual else 1))

    def forward(self, token_ids: Tensor) -> Tensor:
        """Logits at every position."""
        x = self.tokens(token_ids) + self.places(torch.arange(token_ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.tokens.weight)

    def num_layer_parameters(self) -> int:
        """Parameters that are not tables."""
        return (
            sum(p.numel() for p in self.parameters())
            - self.tokens.weight.numel()
            - self.places.weight.numel()
        )


def train(
    model: GPT, stream: np.ndarray, *, seconds: float, lr: float, tokens_per_step: int, seed: int
) -> int:
    """Train for `seconds`; return the tokens seen. The cosine follows the clock."""
    decay = [p for p in model.parameters() if p.dim() == 2]
    plain = [p for p in model.parameters() if p.dim() < 2]
    groups = [{"params": decay, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.95))
    rng, length = np.random.default_rng(seed), model.max_length
    has_bf16 = pick_dtype("auto") == torch.bfloat16
    began, num_tokens = time.monotonic(), 0
    while (progress := (time.monotonic() - began) / seconds) < 1:
        factor = min(1.0, progress / 0.02) * (0.1 + 0.45 * (1 + math.cos(math.pi * progress)))
        for group in optimizer.param_groups:
            group["lr"] = lr * factor
        starts = rng.integers(0, len(stream) - length - 1, tokens_per_step // length)
        rows = torch.from_numpy(np.stack([stream[s : s + length + 1] for s in starts]).astype(np.int64))
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=has_bf16):
            logits = model(rows[:, :-1])
            loss = F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        num_tokens += rows[:, 1:].numel()
    return num_tokens


class Scorer:
    """Logprobs of given tokens, as `liaoliao.tasks.bits_per_byte` asks for them."""

    def __init__(self, model: GPT) -> None:
        self.model, self.max_length = model.eval(), model.max_length

    @torch.no_grad()
    def score(self, batch: Sequence[Sequence[int]]) -> list[list[float]]:
        """The logprob of every token given those before it, in fp32; 0 for the first."""
        scores = []
        for ids in batch:
            row = torch.tensor([list(ids)])
            logprobs = self.model(row).float().log_softmax(-1)[:, :-1]
            scores.append([0.0, *logprobs.gather(-1, row[:, 1:, None]).flatten().tolist()])
        return scores
