"""The operations a training step spends its time in besides matrix products, each with its own backward.

Eager autograd stores every intermediate and walks memory once per operation, and on a CPU in bf16
`scaled_dot_product_attention` runs at a tenth of the speed of matrix products. The functions here keep to bf16 products
and touch each activation as few times as plain PyTorch allows. The arithmetic is the textbook's: tests hold values and
gradients equal to the plain forms in fp64.

    rms_norm          (..., D)                   -> (..., D)
    norm_rope         (B, T, H, d)               -> (H, B, T, d)      heads first, ready for batched products
    causal_attention  (H, B, T, d), mask         -> (H, B, T, d)
    swiglu            (..., 2F) gate then up     -> (..., F)
    linear_nll        (N, D) x (V, D), targets   -> (N,)              logits exist a chunk of rows at a time
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

QUERY_CHUNK = 128  # queries a block: keys after its last query are never multiplied
KEY_STEP = 32  # a block's keys begin at a multiple: products of few sizes, for each of which oneDNN keeps code and memory
LOGIT_CHUNK = 1024  # rows of logits alive at a time
MAX_KEPT_BYTES = 512 * 2**20  # probabilities kept from forward to backward, at most
_TINY = 1e-38  # a probability that underflowed counts as 87 nats, not as infinity


def rms_norm(
    x: Float[Tensor, "*batch D"], weight: Float[Tensor, "D"], eps: float
) -> Float[Tensor, "*batch D"]:
    """Root-mean-square normalisation (Zhang and Sennrich 2019, eq. 4); the mean square is taken in fp32."""
    return _apply(_RMSNorm, x, weight.to(x.dtype), eps)


def norm_rope(
    x: Float[Tensor, "B T H d"],
    weight: Float[Tensor, "H d"] | None,
    cos: Float[Tensor, "b T h"],
    sin: Float[Tensor, "b T h"],
    eps: float,
) -> Float[Tensor, "H B T d"]:
    """Normalise each head (where `weight` is given), rotate by position, and put heads first.

    `cos` and `sin` hold one angle a pair (h = d/2); b is B, or 1 where all rows share their positions. Pairs are
    (i, i + d/2), the layout of Llama and Qwen checkpoints (Su et al. 2021, eq. 34, permuted).
    """
    return _apply(_NormRope, x, None if weight is None else weight.to(x.dtype), cos, sin, eps)


def causal_attention(
    query: Float[Tensor, "Hq B T d"],
    key: Float[Tensor, "Hkv B T d"],
    value: Float[Tensor, "Hkv B T d"],
    mask: Float[Tensor, "b T T"],
    first_keys: Sequence[int] = (),
) -> Float[Tensor, "Hq B T d"]:
    """Softmax attention under an additive mask that hides at least all later positions (b is B, or 1 for all rows).

    Query heads h*G .. h*G+G-1 share key-value head h (grouped queries, Ainslie et al. 2023). `first_keys[i]` promises
    that no query of block i looks further back; in rows packed with short documents that saves most of the work.
    """
    grouped = query.view(key.shape[0], -1, *query.shape[1:])
    firsts = tuple(first // KEY_STEP * KEY_STEP for first in first_keys)
    firsts = firsts or (0,) * len(list(query_blocks(query.shape[2])))
    return _apply(_CausalAttention, grouped, key.unsqueeze(1), value.unsqueeze(1), mask, firsts).view(
        query.shape
    )


def query_blocks(length: int) -> Iterator[tuple[int, int]]:
    """(start, end) of each block of queries that attention works on."""
    for start in range(0, length, QUERY_CHUNK):
        yield start, min(start + QUERY_CHUNK, length)


def swiglu(gate_up: Float[Tensor, "*batch FF"]) -> Float[Tensor, "*batch F"]:
    """silu(gate) * up of one fused projection (Shazeer 2020, eq. 5)."""
    return _apply(_SwiGLU, gate_up)


def linear_nll(
    hidden: Float[Tensor, "N D"], weight: Float[Tensor, "V D"], targets: Int[Tensor, "N"]
) -> Float[Tensor, "N"]:
    """Negative log-likelihood (nats, fp32) of each target under softmax(hidden @ weight.T).

    Logits exist a chunk of rows at a time. For the backward pass their probabilities are kept in the dtype of `hidden`
    while they fit in MAX_KEPT_BYTES, and computed again otherwise. Without gradients the normaliser is summed in fp32.
    """
    return _apply(_LinearNLL, hidden, weight.to(hidden.dtype), targets)


def _apply(function: type[torch.autograd.Function], *args: Any) -> Tensor:
    result: Tensor = function.apply(*args)  # type: ignore[no-untyped-call]
    return result


def _reciprocal_rms(x: Tensor, eps: float) -> Tensor:
    wide = torch.promote_types(x.dtype, torch.float32)
    norm: Tensor = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=wide)
    return norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_().to(x.dtype)


def _unit_backward(grad_unit: Tensor, unit: Tensor, rstd: Tensor) -> Tensor:
    """Gradient through unit = x * rstd(x); consumes grad_unit."""
    along = torch.linalg.vecdot(grad_unit, unit).unsqueeze(-1).div_(unit.shape[-1])
    return grad_unit.addcmul_(unit, along, value=-1).mul_(rstd)


class _RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        rstd = _reciprocal_rms(x, eps)
        unit = x * rstd
        ctx.save_for_backward(unit, rstd, weight)
        return unit * weight

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        unit, rstd, weight = ctx.saved_tensors
        grad_weight = (grad * unit).flatten(0, -2).sum(0)
        return _unit_backward(grad * weight, unit, rstd), grad_weight, None


class _NormRope(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, cos: Tensor, sin: Tensor, eps: float) -> Tensor:
        cos, sin = cos.unsqueeze(2), sin.unsqueeze(2)  # (b, T, 1, h)
        if weight is None:
            ctx.save_for_backward(cos, sin)
            return _rotate(x, cos, sin)
        rstd = _reciprocal_rms(x, eps)
        unit = x * rstd
        ctx.save_for_backward(cos, sin, unit, rstd, weight)
        return _rotate(unit * weight, cos, sin)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor | None, None, None, None]:
        cos, sin, *normed = ctx.saved_tensors
        grad = grad.permute(1, 2, 0, 3)  # (B, T, H, d)
        turned = torch.empty(grad.shape, dtype=grad.dtype)
        _rotate_into(turned, grad, cos, -sin)
        if not normed:
            return turned, None, None, None, None
        unit, rstd, weight = normed
        grad_weight = (turned * unit).flatten(0, 1).sum(0)
        return _unit_backward(turned.mul_(weight), unit, rstd), grad_weight, None, None, None


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    batch, length, heads, dim = x.shape
    out = torch.empty(heads, batch, length, dim, dtype=x.dtype, device=x.device)
    _rotate_into(out.permute(1, 2, 0, 3), x, cos, sin)
    return out


def _rotate_into(out: Tensor, x: Tensor, cos: Tensor, sin: Tensor) -> None:
    first, second = x.chunk(2, dim=-1)
    out_first, out_second = out.chunk(2, dim=-1)
    torch.mul(first, cos, out=out_first).addcmul_(second, sin, value=-1)
    torch.mul(second, cos, out=out_second).addcmul_(first, sin)


class _CausalAttention(torch.autograd.Function):
    """query (Hkv, G, B, T, d), key and value (Hkv, 1, B, T, d); the probabilities of each block of queries are kept."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, firsts: tuple[int, ...]
    ) -> Tensor:
        scale = query.shape[4] ** -0.5
        out, blocks = torch.empty_like(query), []
        for (start, end), first in zip(query_blocks(query.shape[3]), firsts, strict=True):
            scores = query[..., start:end, :] @ key[..., first:end, :].transpose(-1, -2)
            scores = scores.mul_(scale).add_(mask[:, start:end, first:end])
            blocks.append(torch.softmax(scores, dim=-1))
            out[..., start:end, :] = blocks[-1] @ value[..., first:end, :]
        ctx.firsts = firsts
        ctx.save_for_backward(query, key, value, *blocks)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        query, key, value, *blocks = ctx.saved_tensors
        scale, groups = query.shape[4] ** -0.5, query.shape[1]
        grad_query = torch.empty_like(query)
        grad_key, grad_value = torch.zeros_like(key), torch.zeros_like(value)
        for (start, end), first, probs in zip(query_blocks(query.shape[3]), ctx.firsts, blocks, strict=True):
            grad_out = grad[..., start:end, :]
            grad_probs = grad_out @ value[..., first:end, :].transpose(-1, -2)
            grad_scores = torch._softmax_backward_data(grad_probs, probs, -1, probs.dtype).mul_(scale)
            grad_query[..., start:end, :] = grad_scores @ key[..., first:end, :]
            seen = (..., slice(first, end), slice(None))
            grad_key[seen] += _over_groups(grad_scores.transpose(-1, -2) @ query[..., start:end, :], groups)
            grad_value[seen] += _over_groups(probs.transpose(-1, -2) @ grad_out, groups)
        return grad_query, grad_key, grad_value, None, None


def _over_groups(grad: Tensor, groups: int) -> Tensor:
    return grad if groups == 1 else grad.sum(1, keepdim=True)


class _SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        gate, up = gate_up.chunk(2, dim=-1)
        ctx.save_for_backward(gate_up)
        return torch.nn.functional.silu(gate).mul_(up)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (gate_up,) = ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        out = torch.empty_like(gate_up)
        out_gate, out_up = out.chunk(2, dim=-1)
        torch.mul(torch.nn.functional.silu(gate), grad, out=out_up)
        out_gate.copy_(torch.ops.aten.silu_backward(grad * up, gate))
        return out


class _LinearNLL(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        num_bytes = hidden.shape[0] * weight.shape[0] * hidden.element_size()
        keep = any(ctx.needs_input_grad) and num_bytes <= MAX_KEPT_BYTES
        nll = torch.empty(
            hidden.shape[0], dtype=torch.promote_types(hidden.dtype, torch.float32), device=hidden.device
        )
        kept = []
        for rows in _chunks(hidden.shape[0]):
            logits, column = hidden[rows] @ weight.T, targets[rows].unsqueeze(-1)
            if keep:  # the probabilities are needed anyway: one pass over the logits instead of four
                kept.append(torch.softmax(logits, dim=-1))
                nll[rows] = (
                    kept[-1].gather(-1, column).to(nll.dtype).clamp_min(_TINY).log_().neg_().squeeze(-1)
                )
            else:
                target_logits = logits.gather(-1, column).squeeze(-1)
                nll[rows] = torch.logsumexp(logits.to(nll.dtype), dim=-1).sub_(target_logits)
        ctx.save_for_backward(hidden, weight, targets, *kept)
        return nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        hidden, weight, targets, *kept = ctx.saved_tensors
        grad = grad.to(hidden.dtype).unsqueeze(-1)
        grad_hidden, grad_weight = (
            torch.empty_like(hidden),
            torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32)),
        )
        for index, rows in enumerate(_chunks(hidden.shape[0])):
            probs = kept[index] if kept else torch.softmax(hidden[rows] @ weight.T, dim=-1)
            grad_logits = probs.mul_(grad[rows])
            grad_logits.scatter_add_(-1, targets[rows].unsqueeze(-1), -grad[rows])
            torch.mm(grad_logits, weight, out=grad_hidden[rows])
            grad_weight += grad_logits.T @ hidden[rows]
        return grad_hidden, grad_weight.to(weight.dtype), None


def _chunks(num_rows: int) -> list[slice]:
    return [slice(start, start + LOGIT_CHUNK) for start in range(0, num_rows, LOGIT_CHUNK)]
