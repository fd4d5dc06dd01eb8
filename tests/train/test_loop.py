"""The loop: microbatches change nothing, a stage learns, and what is not a number stops the run."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import torch

from liaoliao.data.example import Batch, Example, collate
from liaoliao.errors import TrainingError
from liaoliao.model.config import ModelConfig
from liaoliao.model.transformer import Transformer
from liaoliao.train.hooks import Every, KeepToDeadline
from liaoliao.train.loop import MOST_EMPTY, TrainState, train
from liaoliao.train.objectives import next_token
from liaoliao.train.optim import OptimConfig, build_optimizers
from liaoliao.train.schedule import warmup_stable_decay

ROWS = [[1, 2, 3, 4, 5, 6], [3, 4, 5, 6], [7, 8, 9, 10, 11], [9, 10, 11, 12, 13, 14, 15]]


class Steps:
    """The same step for ever."""

    def __init__(self, step: list[Batch]) -> None:
        self.step = step

    def __iter__(self) -> Iterator[list[Batch]]:
        while True:
            yield self.step

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


def run(step: list[Batch], num_steps: int, lr_factor: float = 1.0) -> TrainState:
    model = Transformer(ModelConfig(32, 16, 24, 2, 2, 1, 8)).init_weights(0)
    state = TrainState(model, Steps(step), build_optimizers(model, OptimConfig()), num_steps)
    train(state, next_token, schedule=lambda progress: lr_factor)
    return state


def test_microbatches_change_nothing() -> None:
    """One batch of four uneven rows, or the same rows in pieces: the same weights after three steps."""
    examples = [Example(row) for row in ROWS]
    whole = run([collate(examples)], 3)
    pieces = run([collate(examples[:1]), collate(examples[1:])], 3)
    assert whole.metrics["loss"] == pytest.approx(pieces.metrics["loss"], rel=1e-5)
    for a, b in zip(whole.model.parameters(), pieces.model.parameters(), strict=True):
        torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-3)


def test_a_fresh_model_knows_nothing_and_learns() -> None:
    """ln(32) nats at the start, nearly none once the rows are learned."""
    step = [collate([Example(row) for row in ROWS])]
    assert run(step, 1).metrics["loss"] == pytest.approx(math.log(32), abs=0.15)
    assert run(step, 60).metrics["loss"] < 0.5


def test_loss_weights_choose_what_is_learned() -> None:
    """Weight on the last token alone: its loss is the loss, by hand from the logits."""
    example = Example([1, 2, 3], [0, 0, 1])
    model = Transformer(ModelConfig(32, 16, 24, 2, 2, 1, 8)).init_weights(0)
    loss, _ = next_token(model, collate([example]))
    by_hand = -model(torch.tensor([[1, 2, 3]]))[0, 1].log_softmax(-1)[3]
    torch.testing.assert_close(loss, by_hand)


def test_packed_documents_do_not_see_each_other() -> None:
    """The loss of a packed row is the sum of its documents' losses."""
    a, b = [1, 2, 3, 4], [9, 8, 7]
    row = Batch(
        torch.tensor([a + b + [0]]),
        torch.tensor([[0.0, 1, 1, 1, 0, 1, 1, 0]]),
        torch.tensor([[1, 1, 1, 1, 2, 2, 2, 0]]),
        torch.tensor([[0, 1, 2, 3, 0, 1, 2, 0]]),
        5.0,
    )
    model = Transformer(ModelConfig(32, 16, 24, 2, 2, 1, 8)).init_weights(0)
    for parameter in model.parameters():  # the zero matrices of a fresh model would hide a leak
        torch.nn.init.normal_(parameter, std=0.2)
    apart = sum(next_token(model, collate([Example(document)]))[0] for document in (a, b))
    torch.testing.assert_close(next_token(model, row)[0], apart)


def test_a_loss_that_is_no_number_stops_before_the_weights_are_touched() -> None:
    step = [collate([Example([1, 2], [0, math.inf])])]
    model = Transformer(ModelConfig(32, 16, 24, 2, 2, 1, 8)).init_weights(0)
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(TrainingError, match="step 1"):
        train(
            TrainState(model, Steps(step), build_optimizers(model, OptimConfig()), 3),
            next_token,
            schedule=lambda p: 1.0,
        )
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


EMPTY = [collate([Example([1, 2, 3], [0, 0, 0])])]


def test_a_source_with_nothing_to_learn_is_an_error_that_says_so() -> None:
    with pytest.raises(TrainingError, match="nothing to learn"):
        run(EMPTY, 1)


class WithEmpty(Steps):
    """A step, with others between in which there is nothing to learn."""

    def __iter__(self) -> Iterator[list[Batch]]:
        while True:
            yield from [*[EMPTY] * (MOST_EMPTY - 1), self.step]


def test_a_step_with_nothing_to_learn_is_passed_over() -> None:
    """It changes no weight, and is not counted."""
    step = [collate([Example(ROWS[0])])]
    plain = run(step, 3)
    model = Transformer(ModelConfig(32, 16, 24, 2, 2, 1, 8)).init_weights(0)
    state = TrainState(model, WithEmpty(step), build_optimizers(model, OptimConfig()), 3)
    train(state, next_token, schedule=lambda progress: 1.0)
    assert (state.step, state.num_tokens) == (plain.step, plain.num_tokens) == (3, 3 * len(ROWS[0]))
    for a, b in zip(model.parameters(), plain.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_schedule() -> None:
    factors = [warmup_stable_decay(p, warmup=0.1, warmdown=0.5) for p in (0.05, 0.1, 0.5, 0.75, 1.0)]
    assert factors == pytest.approx([0.5, 1.0, 1.0, 0.5, 0.0])


def test_hooks_are_called_every_few_steps_and_at_the_end() -> None:
    seen: list[int] = []
    state = run([collate([Example(ROWS[0])])], 1)
    state.num_steps, state.step = 8, 0
    train(state, next_token, schedule=lambda p: 0.1, hooks=[Every(3, lambda s: seen.append(s.step))])
    assert seen == [3, 6, 8]


def test_a_deadline_shortens_and_lengthens_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """Steps take 2 s by a clock of our own; 100 s hold 50 of them, whatever the first guess was."""
    now = [0.0]
    monkeypatch.setattr("liaoliao.train.hooks.time.monotonic", lambda: now[0])
    for guess in (10_000, 20):
        now[0] = 0.0
        state = run([collate([Example(ROWS[0])])], 1)
        state.num_steps, state.step = guess, 0
        keep = KeepToDeadline(100.0)

        def clock(state: TrainState) -> None:
            now[0] += 2.0

        train(state, next_token, schedule=lambda p: 0.1, hooks=[clock, keep])
        assert 48 <= state.step <= 51
