"""What a task is and what comes of it: a number with its standard error, and a few samples to look at.

Place in the flow: assistant -> **Task.evaluate** -> **TaskResult** -> report. A task is a plain object; the
registry makes it from a name (`town:facts:en`) or it is made directly (`BitsPerByte(file, "zh")`).

    mean_and_stderr([1, 0, 1, 1])  ->  (0.75, 0.25)
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from liaoliao.chat.assistant import Assistant

Progress: TypeAlias = Callable[[int, int], None]  # (how much is done, of how much)


@dataclass(frozen=True, slots=True)
class Sample:
    """One question of a task and what came of it."""

    prompt: str
    reply: str
    expected: str
    score: float


@dataclass(frozen=True, slots=True)
class TaskResult:
    """`value` of the `metric` over `n` items (questions, documents), plus or minus `stderr`, one standard
    error.

    `details` are further figures for the reader, such as the share that guessing would get.
    """

    name: str
    metric: str
    value: float
    stderr: float
    n: int
    samples: tuple[Sample, ...] = ()
    details: Mapping[str, float] = field(default_factory=dict)


@runtime_checkable
class Task(Protocol):
    """Something an assistant can be measured by."""

    @property
    def name(self) -> str:
        """What the result is filed under, such as `town:facts:en`."""

    @property
    def metric(self) -> str:
        """What the value means, such as `accuracy`."""

    def evaluate(
        self,
        assistant: Assistant,
        *,
        limit: int | None = None,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> TaskResult:
        """Measure: on at most `limit` items, chosen by `seed`; `progress(done, total)` is called as it goes
        on."""


def mean_and_stderr(values: Sequence[int | float] | NDArray[np.float64]) -> tuple[float, float]:
    """The mean and its standard error (sample deviation / sqrt n); 0 where there is one value only."""
    array = np.asarray(values, dtype=np.float64)
    stderr = float(array.std(ddof=1) / len(array) ** 0.5) if len(array) > 1 else 0.0
    return float(array.mean()), stderr


def ratio_and_stderr(
    tops: Sequence[int | float] | NDArray[np.float64], bottoms: Sequence[float] | NDArray[np.float64]
) -> tuple[float, float]:
    """sum(tops) / sum(bottoms) over independent units, and its standard error by the delta method.

    The error is sqrt(n / (n - 1) * sum((top - ratio * bottom)^2)) / sum(bottoms); 0 where there is one unit
    only.
    """
    top, bottom = np.asarray(tops, dtype=np.float64), np.asarray(bottoms, dtype=np.float64)
    ratio = top.sum() / bottom.sum()
    if len(top) < 2:
        return float(ratio), 0.0
    spread = ((top - ratio * bottom) ** 2).sum() * len(top) / (len(top) - 1)
    return float(ratio), float(spread**0.5 / bottom.sum())


def bootstrap_stderr(
    statistic: Callable[[NDArray[np.int64]], float], size: int, *, seed: int = 0, rounds: int = 500
) -> float:
    """The standard error of `statistic(indices)` over `rounds` samples of `size` items drawn with
    replacement."""
    rng = np.random.default_rng(seed)
    values = [statistic(rng.integers(0, size, size)) for _ in range(rounds)] if size > 1 else [0.0]
    return float(np.std(values))
