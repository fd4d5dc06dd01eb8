"""What a step minimises: `(model, batch) -> (loss sum, metric sums)`. The loop divides both by the step's items.

Pretraining and supervised fine-tuning are the same function; they differ in `batch.loss_weights`:

    document  <bos> the cat sat        weights 1 on every token after the first
    chat      <user> hi <assistant> yo weights 1 on the assistant's tokens alone
"""

from collections.abc import Callable
from typing import Final

import torch.nn.functional as F
from torch import Tensor

from liaoliao.data.example import Batch
from liaoliao.model.fused import linear_nll
from liaoliao.model.transformer import Transformer

# Learned positions are filled up to a multiple of this. Their number is another in every batch, and oneDNN would keep code
# and megabytes for each product of a size that it has not seen.
PLACES: Final = 256
Metrics = dict[str, float]
Objective = Callable[[Transformer, Batch], tuple[Tensor, Metrics]]


def next_token(model: Transformer, batch: Batch) -> tuple[Tensor, Metrics]:
    """Weighted sum of next-token negative log-likelihoods, in nats.

    Only positions whose next token carries weight reach the vocabulary matrix.
    """
    hidden = model.hidden(batch.token_ids, positions=batch.positions, segment_ids=batch.segment_ids)
    hidden, targets, weights = (
        rows.flatten(0, 1) for rows in (hidden[:, :-1], batch.token_ids[:, 1:], batch.loss_weights[:, 1:])
    )
    learned = weights.nonzero().squeeze(-1)
    filling = (0, -len(learned) % PLACES)
    places = F.pad(learned, filling)  # the first position, again and again, with weight 0
    nll = linear_nll(hidden[places], model.output_weight, targets[places])
    loss = (nll * F.pad(weights[learned], filling)).sum()
    return loss, {"loss": float(loss.detach())}
