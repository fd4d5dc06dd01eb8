"""The objectives are the textbook's sums, and what the machine is asked to multiply comes in few sizes."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from liaoliao.data.example import Batch
from liaoliao.model.config import ModelConfig
from liaoliao.model.transformer import Transformer
from liaoliao.train import objectives
from liaoliao.train.objectives import PLACES, next_token

VOCAB = 64


def batch_of(num_learned: int, *, rows: int = 3, length: int = 200) -> Batch:
    """Rows of one document each, with weights of 0 but at so many places."""
    generator = torch.Generator().manual_seed(num_learned)
    weights = torch.zeros(rows, length)
    places = torch.randperm(rows * (length - 1), generator=generator)[:num_learned]
    flat = torch.zeros(rows * (length - 1))
    flat[places] = torch.rand(num_learned, generator=generator) + 0.1
    weights[:, 1:] = flat.view(rows, -1)
    return Batch(
        token_ids=torch.randint(VOCAB, (rows, length), generator=generator),
        loss_weights=weights,
        segment_ids=torch.ones(rows, length, dtype=torch.long),
        positions=torch.arange(length).expand(rows, -1),
        num_items=float(weights.sum()),
    )


@pytest.fixture(scope="module")
def model() -> Transformer:
    return Transformer(ModelConfig.from_depth(1, VOCAB, max_position_embeddings=256)).init_weights(0).double()


def plain(model: Transformer, batch: Batch) -> Tensor:
    """Every position's loss, weighted."""
    logits = model(batch.token_ids, segment_ids=batch.segment_ids)[:, :-1]
    nll = F.cross_entropy(logits.transpose(1, 2), batch.token_ids[:, 1:], reduction="none")
    return (nll * batch.loss_weights[:, 1:]).sum()


@pytest.mark.parametrize("num_learned", [0, 1, PLACES - 1, PLACES, PLACES + 1, 3 * 199])
def test_next_token_is_the_weighted_sum(model: Transformer, num_learned: int) -> None:
    batch = batch_of(num_learned)
    loss, metrics = next_token(model, batch)
    expected = plain(model, batch)
    torch.testing.assert_close(loss, expected)
    assert metrics["loss"] == pytest.approx(float(expected.detach()))
    if num_learned:
        parameters = list(model.parameters())
        torch.testing.assert_close(
            torch.autograd.grad(loss, parameters), torch.autograd.grad(expected, parameters)
        )


def test_products_with_the_vocabulary_come_in_few_sizes(
    model: Transformer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Training would take gigabytes for the products of every size, and slow down (LOG.md, 2026-11-30)."""
    sizes = set()

    def note(hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        sizes.add(len(hidden))
        return hidden.new_zeros(len(hidden))

    monkeypatch.setattr(objectives, "linear_nll", note)
    for num_learned in range(1, 590, 7):
        next_token(model, batch_of(num_learned))
    assert sizes == {PLACES, 2 * PLACES, 3 * PLACES}
