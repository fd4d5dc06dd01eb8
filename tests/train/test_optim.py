"""Muon's direction, the grouping of parameters, and a state that survives a round trip."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.errors import ConfigError, TrainingError
from liaoliao.model.config import ModelConfig
from liaoliao.model.transformer import Transformer
from liaoliao.train.optim import OptimConfig, build_optimizers, orthogonalize


def tiny() -> Transformer:
    return Transformer(ModelConfig(32, 16, 24, 2, 2, 1, 8)).init_weights(0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@given(rows=st.integers(2, 24), columns=st.integers(2, 24), seed=st.integers(0, 99))
def test_orthogonalize_brings_singular_values_near_one_and_keeps_directions(
    dtype: torch.dtype, rows: int, columns: int, seed: int
) -> None:
    """Against the exact answer U V^T of an SVD. The iteration cannot lift what is all but zero, so none is here."""
    generator = torch.Generator().manual_seed(seed)
    left, _, right = torch.linalg.svd(torch.randn(rows, columns, generator=generator), full_matrices=False)
    values = torch.linspace(1.0, 0.2, len(left.T))
    ours = orthogonalize((left * values @ right).unsqueeze(0), dtype)[0].float()
    singular = torch.linalg.svdvals(ours)
    assert singular.min() > 0.5 and singular.max() < 1.4
    assert torch.nn.functional.cosine_similarity(ours.flatten(), (left @ right).flatten(), dim=0) > 0.95


def test_every_parameter_has_exactly_one_optimizer_and_tables_are_not_muons() -> None:
    model = tiny()
    muon, adamw = build_optimizers(model, OptimConfig()).optimizers
    of_muon = [p for group in muon.param_groups for p in group["params"]]
    of_adamw = [p for group in adamw.param_groups for p in group["params"]]
    assert sorted(map(id, of_muon + of_adamw)) == sorted(map(id, model.parameters()))
    assert all(p.dim() == 2 for p in of_muon)
    assert any(p is model.model.embed_tokens.weight for p in of_adamw)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_muon_multiplies_in_the_dtype_of_the_model(dtype: torch.dtype) -> None:
    """On a processor without bf16 such products would take most of a step: the dtype that was chosen must reach them."""
    model = tiny()
    model.compute_dtype = dtype
    optimizers = build_optimizers(model, OptimConfig(weight_decay=0.0))
    weight = model.get_parameter("model.layers.0.mlp.down_proj.weight")
    before, generator = weight.detach().clone(), torch.Generator().manual_seed(0)
    weight.grad = torch.randn(weight.shape, generator=generator)
    nesterov = weight.grad.lerp(0.05 * weight.grad, 0.95)
    optimizers.step()
    expected = before.add(orthogonalize(nesterov.unsqueeze(0), dtype)[0].float(), alpha=-0.02)
    torch.testing.assert_close(weight.detach(), expected, atol=1e-6, rtol=0.0)


@pytest.mark.parametrize("kind", ["muon", "adamw"])
def test_state_round_trip_gives_the_same_next_step(kind: str) -> None:
    def grads(model: Transformer, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)

    first, second = tiny(), tiny()
    config = OptimConfig(kind=kind)  # type: ignore[arg-type]
    ours, theirs = build_optimizers(first, config), build_optimizers(second, config)
    grads(first, 1)
    ours.step()
    second.load_state_dict(first.state_dict())
    theirs.load_tensors(ours.tensors())
    for model, optimizers in ((first, ours), (second, theirs)):
        grads(model, 2)
        optimizers.scale_lr(0.5)
        optimizers.step()
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_state_of_another_model_is_refused() -> None:
    with pytest.raises(TrainingError, match="does not have"):
        build_optimizers(tiny(), OptimConfig()).load_tensors(
            {"model.layers.9.mlp.up_proj.weight:momentum": torch.zeros(1)}
        )


def test_learning_rates_must_be_positive() -> None:
    with pytest.raises(ConfigError, match=r"optim\.matrix_lr"):
        OptimConfig(matrix_lr=0.0)
