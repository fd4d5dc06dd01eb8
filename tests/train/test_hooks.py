"""A hook that keeps to its share of the time, and a machine whose threads are given back to training."""

import pytest
import torch

from liaoliao.engine.threads import default_threads
from liaoliao.model.config import ModelConfig
from liaoliao.model.transformer import Transformer
from liaoliao.train.hooks import WithinShare
from liaoliao.train.loop import TrainState
from liaoliao.train.machine import prepare_machine
from liaoliao.train.optim import OptimConfig, build_optimizers
from tests.train.test_loop import Steps


def state_of(num_steps: int) -> TrainState:
    model = Transformer(ModelConfig(32, 16, 24, 2, 2, 1, 8))
    return TrainState(model, Steps([]), build_optimizers(model, OptimConfig()), num_steps)


class Calls:
    """A hook that takes some time by a clock of its own, and remembers when it was called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, cost_s: float) -> None:
        self.now, self.cost_s = 0.0, cost_s
        self.steps: list[int] = []
        monkeypatch.setattr("liaoliao.train.hooks.time.perf_counter", lambda: self.now)

    def __call__(self, state: TrainState) -> None:
        self.now += self.cost_s
        self.steps.append(state.step)


def run(hook: WithinShare, num_steps: int, step_s: float, *, begun_s: float = 0.0) -> TrainState:
    state = state_of(num_steps)
    state.elapsed_s = begun_s
    for state.step in range(1, num_steps + 1):
        state.elapsed_s += step_s
        hook(state)
    return state


@pytest.mark.parametrize(("cost_s", "expected"), [(0.01, 31), (0.4, 13), (3.0, 2)])
@pytest.mark.parametrize("begun_s", [0.0, 5000.0])
def test_a_hook_keeps_to_its_share(
    cost_s: float, expected: int, begun_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over 1000 s, of which 5 may be spent; besides the last call and the first, whose cost nobody can know before: it is
    taken for half a second, as long as a step, which is there to be spent after 100 s.
    """
    calls = Calls(monkeypatch, cost_s)
    hook = WithinShare(0.005, 30.0, calls)
    run(hook, 2000, 0.5, begun_s=begun_s)
    assert hook.spent_s == pytest.approx(cost_s * len(calls.steps))
    assert hook.spent_s <= 0.005 * 1000 + 2 * cost_s
    assert len(calls.steps) == expected
    assert calls.steps[0] == 201 and calls.steps[-1] == 2000
    assert all(b - a >= 60 for a, b in zip(calls.steps[:-1], calls.steps[1:-1], strict=False))


def test_it_is_called_at_the_end_of_the_shortest_run_and_when_a_person_stops_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls = Calls(monkeypatch, 1.0)
    run(WithinShare(0.005, 30.0, calls), 3, 0.1)
    assert calls.steps == [3]
    stopped = state_of(100)
    stopped.step, stopped.stop = 7, True
    WithinShare(0.005, 30.0, calls)(stopped)
    assert calls.steps == [3, 7]


def test_training_gets_its_threads_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that was loaded to be talked to has left PyTorch with one."""
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    torch.set_num_threads(1)
    try:
        prepare_machine()
        assert torch.get_num_threads() == default_threads()
    finally:
        torch.set_num_threads(1)
