"""Optimizers: Muon for the matrices inside the layers, AdamW for everything else; or AdamW for all.

    optimizers = build_optimizers(model, OptimConfig())
    optimizers.scale_lr(0.5); optimizers.step(); optimizers.zero_grad()

Muon steps along the nearest semi-orthogonal matrix to the momentum (Jordan et al. 2024, "Muon"; Bernstein and Newhouse
2024), so that every direction of a weight matrix moves at the same rate. Per token it learns clearly faster than AdamW
at our sizes, most with 8,000 and more tokens a step.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from liaoliao.errors import ConfigError, TrainingError
from liaoliao.model.transformer import Transformer


@dataclass(frozen=True, slots=True)
class OptimConfig:
    """Learning rates are peaks; the schedule scales them all alike."""

    kind: Literal["muon", "adamw"] = "muon"
    matrix_lr: float = 0.02  # Muon: step length in units of the matrix's own scale
    embedding_lr: float = 6e-3  # AdamW: token tables
    scalar_lr: float = 6e-3  # AdamW: gains and biases
    adamw_lr: float = 1e-3  # kind="adamw": everything
    momentum: float = 0.95
    beta1: float = 0.9
    beta2: float = 0.95
    weight_decay: float = 0.01
    clip_norm: float = 1.0

    def __post_init__(self) -> None:
        for name in ("matrix_lr", "embedding_lr", "scalar_lr", "adamw_lr", "clip_norm"):
            if not getattr(self, name) > 0:  # nor is nan
                raise ConfigError(f"optim.{name} must be above 0, got {getattr(self, name)}")


def orthogonalize(
    matrices: Float[Tensor, "N R C"], dtype: torch.dtype = torch.bfloat16, num_iterations: int = 5
) -> Float[Tensor, "N R C"]:
    """Bring the singular values of each matrix near 1: an odd quintic Newton-Schulz iteration in `dtype`.

    The coefficients are those of Jordan et al. 2024: steepest at zero, ending within about [0.7, 1.2]. bf16 is exact
    enough; on a processor that has no bf16 products it is some hundred times slower than fp32.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrices.to(dtype)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(num_iterations):
        gram = x @ x.mT
        poly = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, poly, x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Momentum orthogonalised in `dtype`, for 2-D parameters. Matrices of one shape are treated in one batched product."""

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        *,
        lr: float,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self._dtype = dtype

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Nesterov momentum, orthogonalised, scaled by sqrt(max(1, rows / columns)); decoupled weight decay."""
        for group in self.param_groups:
            by_shape: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[parameter.shape].append(parameter)
            for shape, parameters in by_shape.items():
                momenta = torch.stack([self._nesterov(p, group["momentum"]) for p in parameters])
                update = orthogonalize(momenta, self._dtype)
                length = group["lr"] * max(1.0, shape[0] / shape[1]) ** 0.5
                for parameter, direction in zip(parameters, update, strict=True):
                    parameter.mul_(1.0 - group["lr"] * group["weight_decay"])
                    parameter.add_(direction.to(parameter.dtype), alpha=-length)

    def _nesterov(self, parameter: nn.Parameter, momentum: float) -> Tensor:
        state = self.state[parameter]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(parameter)
        buffer: Tensor = state["momentum"].lerp_(parameter.grad, 1.0 - momentum)
        return parameter.grad.lerp(buffer, momentum)  # type: ignore[union-attr]


class Optimizers:
    """Several optimizers driven as one. Every parameter belongs to exactly one of them."""

    def __init__(self, optimizers: list[torch.optim.Optimizer], names: dict[int, str]) -> None:
        self.optimizers = optimizers
        self._names = names  # id(parameter) -> its name in the model
        self._peaks = [[group["lr"] for group in o.param_groups] for o in optimizers]

    def scale_lr(self, factor: float) -> None:
        """Set every group's learning rate to `factor` times its peak."""
        for optimizer, peaks in zip(self.optimizers, self._peaks, strict=True):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * factor

    def step(self) -> None:
        """One update of every parameter that has a gradient."""
        for optimizer in self.optimizers:
            optimizer.step()

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor of the optimizers' state, named `PARAMETER:KEY`; with the weights this is all a resume needs."""
        return {
            f"{self._names[id(parameter)]}:{key}": torch.as_tensor(value)
            for optimizer in self.optimizers
            for parameter, state in optimizer.state.items()
            for key, value in state.items()
        }

    def load_tensors(self, tensors: dict[str, Tensor]) -> None:
        """Restore what `tensors` returned. Raises TrainingError where the state is of another model."""
        owners = {
            self._names[id(p)]: (o, p)
            for o in self.optimizers
            for group in o.param_groups
            for p in group["params"]
        }
        for name, value in tensors.items():
            parameter_name, _, key = name.rpartition(":")
            if parameter_name not in owners:
                raise TrainingError(
                    f"the optimizer state speaks of {parameter_name}, which this model does not have"
                )
            optimizer, parameter = owners[parameter_name]
            optimizer.state[parameter][key] = value.clone()


def build_optimizers(model: Transformer, config: OptimConfig) -> Optimizers:
    """The optimizers of a run: see OptimConfig. Token tables and vectors never go to Muon, which multiplies in the
    dtype that the model computes in.
    """
    names = {id(p): name for name, p in model.named_parameters()}
    matrices: list[nn.Parameter] = []
    tables: list[nn.Parameter] = []
    vectors: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        table = name.endswith(("embed_tokens.weight", "lm_head.weight"))
        (tables if table else matrices if parameter.dim() == 2 else vectors).append(parameter)
    adamw: dict[str, Any] = {"betas": (config.beta1, config.beta2), "eps": 1e-10, "fused": True}
    if config.kind == "adamw":
        groups = [
            {"params": matrices + tables, "weight_decay": config.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]
        return Optimizers([torch.optim.AdamW(groups, lr=config.adamw_lr, **(adamw | {"eps": 1e-8}))], names)
    groups = [{"params": tables, "lr": config.embedding_lr}, {"params": vectors, "lr": config.scalar_lr}]
    muon = Muon(
        matrices, lr=config.matrix_lr, momentum=config.momentum, weight_decay=config.weight_decay,
        dtype=model.compute_dtype or model.model.embed_tokens.weight.dtype,
    )  # fmt: skip
    return Optimizers([muon, torch.optim.AdamW(groups, weight_decay=0.0, **adamw)], names)
