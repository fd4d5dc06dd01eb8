"""Grammars that begin later, and tokens that are barred."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from liaoliao.engine.request import Grammar, GrammarState, SamplingParams, for_reply
from liaoliao.server.constrain import AfterMark, ThinkingBudget, WithinMarks, barred

VOCAB, OPEN, CLOSE, STOP = 9, 7, 8, 6


@dataclass
class Exactly:
    """A grammar of one text."""

    ids: tuple[int, ...]

    def start(self) -> "ExactlyState":
        return ExactlyState(list(self.ids))


@dataclass
class ExactlyState:
    left: list[int]
    seen: list[int] = field(default_factory=list)

    @property
    def done(self) -> bool:
        return not self.left

    def mask(self) -> np.ndarray:
        mask = np.zeros(VOCAB, dtype=np.bool_)
        mask[self.left[0] if self.left else STOP] = True
        return mask

    def accept(self, token_id: int) -> None:
        assert self.mask()[token_id], "the sampler chooses only what the mask allows"
        self.seen.append(token_id)
        del self.left[:1]


class Costly(Exactly):
    """One that has to be made for each reply."""

    def for_reply(self) -> Exactly:
        return Exactly(self.ids)


def test_they_are_grammars() -> None:
    for grammar in (
        AfterMark(Exactly((1,)), CLOSE, VOCAB, (STOP,)),
        WithinMarks(Exactly((1,)), OPEN, CLOSE, VOCAB),
    ):
        assert isinstance(grammar, Grammar) and isinstance(grammar.start(), GrammarState)
        assert grammar.start() is not grammar.start()


def test_what_a_reply_needs_of_the_grammar_within_is_made_beforehand() -> None:
    inner = Costly((1,))
    rules: list[Any] = [AfterMark(inner, CLOSE, VOCAB, (STOP,)), WithinMarks(inner, OPEN, CLOSE, VOCAB)]
    for rule in rules:
        made: Any = for_reply(rule)
        assert type(made) is type(rule) and type(made.grammar) is Exactly
    budget: Any = for_reply(ThinkingBudget(3, OPEN, CLOSE, VOCAB, rest=inner))
    assert type(budget.rest) is Exactly and budget.budget == 3
    free = ThinkingBudget(3, OPEN, CLOSE, VOCAB)
    assert for_reply(free) == free


def test_after_a_mark_the_grammar_binds_and_before_it_the_reply_cannot_end() -> None:
    state = AfterMark(Exactly((1, 2)), CLOSE, VOCAB, (STOP,)).start()
    for token_id in (3, OPEN, 5):
        assert state.mask().sum() == VOCAB - 1 and not state.mask()[STOP] and not state.done
        state.accept(token_id)
    state.accept(CLOSE)
    assert np.flatnonzero(state.mask()).tolist() == [1]
    state.accept(1)
    assert np.flatnonzero(state.mask()).tolist() == [2] and not state.done
    state.accept(2)
    assert state.done


def test_within_marks_the_grammar_binds_each_time_anew() -> None:
    state = WithinMarks(Exactly((OPEN, 1, CLOSE)), OPEN, CLOSE, VOCAB).start()
    for _ in range(2):
        assert state.mask().all()
        state.accept(3)
        state.accept(CLOSE)  # outside of a call it is a token like others
        assert state.mask().all()
        state.accept(OPEN)
        assert np.flatnonzero(state.mask()).tolist() == [1]
        state.accept(1)
        assert np.flatnonzero(state.mask()).tolist() == [CLOSE]
        state.accept(CLOSE)
    assert state.mask().all() and not state.done


@pytest.mark.parametrize("bias", [(), ((3, 5.0),), ((2, 1.0), (3, 5.0))])
def test_a_barred_token_stays_barred(bias: tuple[tuple[int, float], ...]) -> None:
    params = barred(SamplingParams(logit_bias=bias, seed=1), 3)
    assert dict(params.logit_bias) == {**dict(bias), 3: -100.0} and params.seed == 1
    assert barred(params, None) is params
