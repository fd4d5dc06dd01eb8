"""The fused operations equal their textbook forms, in value and gradient, in fp64."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from liaoliao.model import fused
from liaoliao.model.transformer import packed_sight


def leaf(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed + sum(shape))
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()


def assert_same(ours: Tensor, textbook: Tensor, leaves: list[Tensor]) -> None:
    """Values equal, and gradients of a random projection equal for every leaf."""
    torch.testing.assert_close(ours, textbook)
    direction = torch.randn(ours.shape, dtype=ours.dtype, generator=torch.Generator().manual_seed(1))
    for got, expected in zip(
        torch.autograd.grad(ours, leaves, direction),
        torch.autograd.grad(textbook, leaves, direction),
        strict=True,
    ):
        torch.testing.assert_close(got, expected)


def plain_norm(x: Tensor, weight: Tensor) -> Tensor:
    return x * (x.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * weight


def test_rms_norm() -> None:
    x, weight = leaf(2, 5, 8), leaf(8)
    assert_same(fused.rms_norm(x, weight, 1e-6), plain_norm(x, weight), [x, weight])


@pytest.mark.parametrize("normed", [True, False])
def test_norm_rope(normed: bool) -> None:
    x, gain = leaf(2, 5, 3, 8), leaf(3, 8)
    angles = torch.rand(2, 5, 4, dtype=torch.float64)
    cos, sin = angles.cos(), angles.sin()
    y = plain_norm(x, gain) if normed else x
    first, second = y.chunk(2, -1)
    c, s = cos.unsqueeze(2), sin.unsqueeze(2)
    textbook = torch.cat([first * c - second * s, second * c + first * s], -1).permute(2, 0, 1, 3)
    ours = fused.norm_rope(x, gain if normed else None, cos, sin, 1e-6)
    assert_same(ours, textbook, [x, gain] if normed else [x])


@pytest.mark.parametrize(("heads", "kv_heads"), [(4, 4), (4, 2), (4, 1)])
@pytest.mark.parametrize("length", [7, fused.QUERY_CHUNK + 9])
def test_causal_attention(heads: int, kv_heads: int, length: int) -> None:
    query, key, value = (
        leaf(heads, 2, length, 8),
        leaf(kv_heads, 2, length, 8, seed=1),
        leaf(kv_heads, 2, length, 8, seed=2),
    )
    segments = (torch.arange(length) // 5 + 1).expand(2, -1)
    sight = packed_sight(segments, segments, torch.float64)
    textbook = F.scaled_dot_product_attention(
        query.transpose(0, 1),
        key.transpose(0, 1),
        value.transpose(0, 1),
        attn_mask=sight.mask.unsqueeze(1),
        enable_gqa=True,
    ).transpose(0, 1)
    assert_same(
        fused.causal_attention(query, key, value, sight.mask, sight.first_keys), textbook, [query, key, value]
    )


def test_attention_multiplies_keys_in_few_sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever documents begin (LOG.md, 2026-11-30)."""
    widths, softmax, length = set(), torch.softmax, 2 * fused.QUERY_CHUNK

    def note(scores: Tensor, dim: int) -> Tensor:
        widths.add(scores.shape[-1])
        return softmax(scores, dim=dim)

    monkeypatch.setattr(torch, "softmax", note)
    heads, mask = torch.randn(1, 1, length, 8), torch.zeros(1, length, length)
    for first in range(fused.QUERY_CHUNK):
        fused.causal_attention(heads, heads, heads, mask, (0, first))
    assert widths == {fused.QUERY_CHUNK, *range(160, length + 1, 32)}


def test_swiglu() -> None:
    gate_up = leaf(3, 4, 10)
    gate, up = gate_up.chunk(2, -1)
    assert_same(fused.swiglu(gate_up), F.silu(gate) * up, [gate_up])


@pytest.mark.parametrize("kept_bytes", [2**30, 0])
def test_linear_nll(kept_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the probabilities kept, and with them computed again; over more rows than one chunk."""
    monkeypatch.setattr(fused, "MAX_KEPT_BYTES", kept_bytes)
    monkeypatch.setattr(fused, "LOGIT_CHUNK", 4)
    hidden, weight, targets = leaf(11, 6), leaf(9, 6), torch.randint(0, 9, (11,))
    textbook = F.cross_entropy(hidden @ weight.T, targets, reduction="none")
    assert_same(fused.linear_nll(hidden, weight, targets), textbook, [hidden, weight])


def test_linear_nll_of_no_rows_is_empty() -> None:
    hidden, weight = leaf(0, 6), leaf(9, 6)
    loss = fused.linear_nll(hidden, weight, torch.zeros(0, dtype=torch.long)).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0.0 and weight.grad is not None and not weight.grad.any()
