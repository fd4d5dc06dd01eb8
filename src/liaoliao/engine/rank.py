"""Given tokens with their logprobs, and the likeliest tokens in their places: what `echo` with logprobs shows.

rank_pieces((5, 6), [logits after 5], num_top=1)
    ->  [TokenEvent(5, 0.0)], [TokenEvent(6, -3.1, top_logprobs=((9, -0.2),))]
"""

from collections.abc import Iterable, Iterator, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from liaoliao.engine.request import TokenEvent


def rank_pieces(
    token_ids: Sequence[int], logits: Iterable[Float[Tensor, "N V"]], num_top: int
) -> Iterator[list[TokenEvent]]:
    """The tokens of a text as events, a piece for each piece of logits, the first token alone. `logits` hold a row after
    each token but the last.

    A token's logprob and its place among the alternatives come from one calculation, so that the likeliest token
    has exactly the logprob of the first alternative.
    """
    if token_ids:
        yield [TokenEvent(token_ids[0], 0.0)]
    done = 1
    for piece in logits:
        targets = token_ids[done : done + len(piece)]
        yield list(_ranked(targets, piece, min(num_top, piece.shape[-1])))
        done += len(piece)


def _ranked(targets: Sequence[int], logits: Float[Tensor, "N V"], num_top: int) -> Iterator[TokenEvent]:
    total = logits.logsumexp(-1, keepdim=True)
    chosen = logits.gather(-1, torch.tensor(targets, device=logits.device).unsqueeze(-1)) - total
    best, ids = logits.topk(num_top, dim=-1)
    columns = (chosen.squeeze(-1).tolist(), ids.tolist(), (best - total).tolist())
    for token_id, logprob, names, values in zip(targets, *columns, strict=True):
        yield TokenEvent(token_id, logprob, tuple(zip(names, values, strict=True)))
