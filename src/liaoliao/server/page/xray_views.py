"""What the X-ray shows, as JSON: tokens with their texts, probabilities, and attention in a byte a weight.

xray_view(slide, scored)  ->  XRayView(prompt=[...], tokens=[MadeView(text=" cat", prob=0.31, rank=2, ...)], ...)
look_view(slide, look, context_ids)
"""

import base64
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from liaoliao.model.inspect import Choice, Look, Scored
from liaoliao.server.openai_shapes import Shape
from liaoliao.server.page.slide import Slide
from liaoliao.server.page.trace import Kind, Piece

_STEPS = 255  # of a weight in a byte
_LEAST = 1e-9


class TokenView(Shape):
    """A token that was given. `special`: a mark of the template, which nobody can type."""

    id: int
    text: str
    special: bool


class MadeView(Shape):
    """A token of the answer. `start`: the character of the answer's text where its words begin, or null; `kind`: "tool" is
    what stands in a call. `given`: what was put between the token before and this one, as results of tools are.
    """

    id: int
    text: str
    prob: float
    rank: int
    entropy_bits: float
    start: int | None
    kind: Kind
    given: list[TokenView]


class XRayView(Shape):
    """An answer from inside. `generated`: it was sampled like this; else these are its words as the template writes
    them. `end`: the last token is the one that ended it. `dtype`: in which numbers the figures were computed.
    """

    prompt: list[TokenView]
    tokens: list[MadeView]
    model: str
    version: str
    dtype: str
    generated: bool
    end: bool
    took_ms: float


class ChoiceView(Shape):
    """A token that could have come."""

    id: int
    text: str
    prob: float


class LayerView(Shape):
    """What the model would have said after a layer; 0 is the embedding."""

    layer: int
    top: list[ChoiceView]


class AttentionView(Shape):
    """Where each head looked: the weight of head h in layer l on token i is
    `values[(l * heads + h) * tokens + i] / 255 * max[l * heads + h]`, with `values` as bytes in base64. `context` has the
    texts of the tokens that were looked at.
    """

    layers: int
    heads: int
    tokens: int
    values: str
    max: list[float]
    context: list[str]


class LookView(Shape):
    """One choice from inside."""

    id: int
    text: str
    prob: float
    rank: int
    entropy_bits: float
    alternatives: list[ChoiceView]
    lens: list[LayerView]
    attention: AttentionView
    dtype: str
    took_ms: float


def xray_view(slide: Slide, scored: Sequence[Scored], *, dtype: str, took_ms: float) -> XRayView:
    """An answer with the figures of its tokens."""
    given = slide.trace.given()
    pairs = zip(slide.trace.pieces, scored, strict=True)
    return XRayView(
        prompt=_tokens(slide, slide.trace.rounds[0].prompt),
        tokens=[_made(slide, *pair, given.get(index, ())) for index, pair in enumerate(pairs)],
        model=slide.served.id,
        version=slide.served.version,
        dtype=dtype,
        generated=slide.generated,
        end=slide.end,
        took_ms=took_ms,
    )


def look_view(slide: Slide, look: Look, context: Sequence[int], *, dtype: str, took_ms: float) -> LookView:
    """One choice; `context` are the tokens before it."""
    layers = enumerate(look.lens)
    return LookView(
        id=look.token.token_id,
        text=slide.text(look.token.token_id),
        prob=look.token.prob,
        rank=look.token.rank,
        entropy_bits=look.token.entropy_bits,
        alternatives=_choices(slide, look.alternatives),
        lens=[LayerView(layer=layer, top=_choices(slide, choices)) for layer, choices in layers],
        attention=attention_view(look.attention, [slide.text(token_id) for token_id in context]),
        dtype=dtype,
        took_ms=took_ms,
    )


def attention_view(attention: Float[Tensor, "L H n"], context: list[str]) -> AttentionView:
    """Weights in a byte each, of the largest of their head."""
    layers, heads, num_tokens = attention.shape
    rows = attention.flatten(0, 1)  # (L * H, n)
    largest = rows.amax(-1, keepdim=True).clamp_min(_LEAST)
    steps = (rows / largest * _STEPS).round().to(torch.uint8)
    return AttentionView(
        layers=layers,
        heads=heads,
        tokens=num_tokens,
        values=base64.b64encode(steps.numpy().tobytes()).decode("ascii"),
        max=largest.squeeze(-1).tolist(),
        context=context,
    )


def _made(slide: Slide, piece: Piece, scored: Scored, given: Sequence[int]) -> MadeView:
    return MadeView(
        id=piece.token_id,
        text=slide.text(piece.token_id),
        prob=scored.prob,
        rank=scored.rank,
        entropy_bits=scored.entropy_bits,
        start=piece.start,
        kind=piece.kind,
        given=_tokens(slide, given),
    )


def _tokens(slide: Slide, token_ids: Sequence[int]) -> list[TokenView]:
    special = frozenset(slide.served.tokenizer.special_ids.values())
    return [TokenView(id=i, text=slide.text(i), special=i in special) for i in token_ids]


def _choices(slide: Slide, choices: Sequence[Choice]) -> list[ChoiceView]:
    return [ChoiceView(id=c.token_id, text=slide.text(c.token_id), prob=c.prob) for c in choices]
