"""What a step minimises: `(model, batch) -> (loss sum, metric sums)`. The loop divides both by the step's items.

Pretraining and supervised fine-tuning are the same function; they differ in `batch.loss_weights`:

    document  <bos> the cat sat        weights 1 on every token after the first
    chat      <user> hi <assistant> yo weights 1 on the assistant's tokens alone
"""

from collections.abc import Callable

from torch import Tensor

from liaoliao.data.example import Batch
from liaoliao.model.fused import linear_nll
from liaoliao.model.transformer import Transformer

Metrics = dict[str, float]
Objective = Callable[[Transformer, Batch], tuple[Tensor, Metrics]]


def next_token(model: Transformer, batch: Batch) -> tuple[Tensor, Metrics]:
    """Weighted sum of next-token negative log-likelihoods, in nats.

    Only positions whose next token carries weight reach the vocabulary matrix.
    """
    hidden = model.hidden(batch.token_ids, positions=batch.positions, segment_ids=batch.segment_ids)
    weights = batch.loss_weights[:, 1:]
    learned = weights > 0
    nll = linear_nll(hidden[:, :-1][learned], model.output_weight, batch.token_ids[:, 1:][learned])
    loss = (nll * weights[learned]).sum()
    return loss, {"loss": float(loss.detach())}
