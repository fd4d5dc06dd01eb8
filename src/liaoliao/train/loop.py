"""The one loop: every stage of the project, from pretraining to RL, is a source of steps and an objective.

    state = TrainState(model, source, optimizers, num_steps=1000)
    train(state, next_token, schedule=lambda p: warmup_stable_decay(p, warmup=.02, warmdown=.4), hooks=[log])

One item of the source is one optimizer step: a list of microbatches. The loss is a sum over items, divided by the items
of the whole step, so that the split into microbatches changes nothing. A hook is any callable that takes the state; it
may evaluate, log, save, shorten the run (`num_steps`) or end it (`stop`).
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from torch import nn

from liaoliao.data.example import Batch
from liaoliao.errors import TrainingError
from liaoliao.model.transformer import Transformer
from liaoliao.train.objectives import Metrics, Objective
from liaoliao.train.optim import Optimizers


@runtime_checkable
class Source(Protocol):
    """An endless iterator of optimizer steps whose place can be saved."""

    def __iter__(self) -> Iterator[list[Batch]]: ...
    def state_dict(self) -> dict[str, Any]:
        """Its place, as JSON values."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go to a place that `state_dict` gave."""


@dataclass(slots=True)
class TrainState:
    """Where a run is. `step` counts finished optimizer steps; `metrics` are those of the last one."""

    model: Transformer
    source: Source
    optimizers: Optimizers
    num_steps: int
    step: int = 0
    num_tokens: int = 0
    elapsed_s: float = 0.0
    metrics: Metrics = field(default_factory=dict)
    stop: bool = False

    @property
    def progress(self) -> float:
        """Share of the run that is done, 0 to 1."""
        return self.step / self.num_steps

    @property
    def done(self) -> bool:
        """Whether the run has reached its end."""
        return self.step >= self.num_steps


Hook = Callable[[TrainState], None]
Schedule = Callable[[float], float]
MOST_EMPTY = 100  # steps in a row with nothing to learn from: then there is nothing in the source


def train(
    state: TrainState,
    objective: Objective,
    *,
    schedule: Schedule,
    clip_norm: float = 1.0,
    hooks: Iterable[Hook] = (),
) -> None:
    """Run from `state.step` to `state.num_steps`, or until a hook sets `state.stop`.

    What has nothing to learn from is passed over, and is no step. Raises TrainingError where the source gives nothing else,
    and where the loss or the gradient is not a number: weights of that step are not touched.
    """
    state.model.train()
    hooks = tuple(hooks)
    steps = iter(state.source)
    while not (state.done or state.stop):
        started = time.perf_counter()
        microbatches = _next_step(steps)
        factor = schedule(state.progress)
        state.metrics = _gradients(state.model, microbatches, objective)
        norm = float(nn.utils.clip_grad_norm_(state.model.parameters(), clip_norm))
        _check_finite(state, norm)
        state.optimizers.scale_lr(factor)
        state.optimizers.step()
        state.optimizers.zero_grad()
        state.step += 1
        num_tokens = sum(batch.num_tokens for batch in microbatches)
        seconds = time.perf_counter() - started
        state.num_tokens += num_tokens
        state.elapsed_s += seconds
        state.metrics |= {"grad_norm": norm, "lr_factor": factor, "tokens_per_s": num_tokens / seconds}
        for hook in hooks:
            hook(state)
    state.model.eval()


def _next_step(steps: Iterator[list[Batch]]) -> list[Batch]:
    """The next one that has something to learn from."""
    for _ in range(MOST_EMPTY):
        microbatches = next(steps)
        if sum(batch.num_items for batch in microbatches):
            return microbatches
    raise TrainingError(
        f"{MOST_EMPTY} steps in a row had nothing to learn from: all their loss weights are 0 (is there an assistant turn?)"
    )


def _gradients(model: Transformer, microbatches: Sequence[Batch], objective: Objective) -> Metrics:
    """Accumulate the gradient of the mean loss of one step; return the step's metrics, each a mean over its items."""
    num_items = sum(batch.num_items for batch in microbatches)
    metrics: Metrics = {}
    for batch in microbatches:
        loss, sums = objective(model, batch)
        (loss / num_items).backward()  # type: ignore[no-untyped-call]
        for name, value in sums.items():
            metrics[name] = metrics.get(name, 0.0) + value / num_items
    return metrics


def _check_finite(state: TrainState, norm: float) -> None:
    values = state.metrics | {"grad_norm": norm}
    for name, value in values.items():
        if not math.isfinite(value):
            raise TrainingError(
                f"step {state.step + 1}: {name} is {value}; the last checkpoint is intact. "
                "Lower the learning rates (optim.matrix_lr, optim.embedding_lr) or look at the data of this step"
            )
