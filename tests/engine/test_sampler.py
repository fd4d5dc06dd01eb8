"""Oracle: penalties equal transformers' processor and plain NumPy; property: a row depends on its own request alone,
and an interruption changes nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from transformers import RepetitionPenaltyLogitsProcessor

from liaoliao.engine.penalties import Penalties
from liaoliao.engine.request import Request, SamplingParams
from liaoliao.engine.sampler import Sampler
from liaoliao.errors import CheckpointError, RequestError

CPU = torch.device("cpu")
VOCAB = 50


def scores(rows: int, seed: int, vocab: int = VOCAB) -> torch.Tensor:
    return torch.randn(rows, vocab, generator=torch.Generator().manual_seed(seed)) * 3


def request(prompt: Sequence[int] = (1,), grammar: Any = None, **params: Any) -> Request:
    return Request(tuple(prompt), SamplingParams(**params), grammar)


# ---------------------------------------------------------------- seeds and temperatures


def test_negative_and_huge_seeds_are_seeds() -> None:
    sampler = Sampler(3, VOCAB, CPU)
    for slot, seed in enumerate((-1, 2**64 - 1, 2**80 + 5)):
        sampler.assign(slot, request(seed=seed))
    assert sampler.seed[0] == sampler.seed[1] and sampler.seed[2] == 5


def test_no_temperature_is_too_low() -> None:
    sampler = Sampler(1, VOCAB, CPU)
    x = scores(1, 0)
    for temperature in (1e-5, 1e-30, 1e-44):
        sampler.assign(0, request(temperature=temperature))
        assert torch.equal(sampler.sample([0], x).token_ids, x.argmax(-1))


# ---------------------------------------------------------------- bias and penalties

token_lists = st.lists(st.integers(0, VOCAB - 1), max_size=12)
penalties = st.fixed_dictionaries(
    {},
    optional={
        "repetition_penalty": st.floats(0.5, 2.0),
        "presence_penalty": st.floats(-2.0, 2.0),
        "frequency_penalty": st.floats(-2.0, 2.0),
        "logit_bias": st.dictionaries(st.integers(0, VOCAB - 1), st.floats(-100, 100), max_size=4).map(
            lambda biases: tuple(biases.items())
        ),
    },
)


def by_hand(
    row: NDArray[np.float32], prompt: Sequence[int], reply: Sequence[int], params: SamplingParams
) -> Any:
    """The order of the agreement, one number after the other."""
    row = row.copy()
    for token_id, bias in params.logit_bias:
        row[token_id] += np.float32(bias)
    for token_id in {*prompt, *reply}:
        penalty = np.float32(params.repetition_penalty)
        row[token_id] = row[token_id] / penalty if row[token_id] > 0 else row[token_id] * penalty
    for token_id in set(reply):
        row[token_id] -= np.float32(params.presence_penalty)
        row[token_id] -= np.float32(params.frequency_penalty) * reply.count(token_id)
    return row


@given(st.lists(st.tuples(penalties, token_lists, token_lists), min_size=1, max_size=5), st.integers(0, 99))
def test_penalties_equal_those_by_hand(
    rows: list[tuple[dict[str, Any], list[int], list[int]]], seed: int
) -> None:
    table, x = Penalties(len(rows), VOCAB, CPU), scores(len(rows), seed)
    asked = [request((1, *prompt), **params) for params, prompt, _ in rows]
    for slot, (_, _, reply) in enumerate(rows):
        earlier = request(range(9), repetition_penalty=2.0)  # what was there before leaves no trace
        table.assign(slot, earlier, (3, 4))
        table.assign(slot, asked[slot], reply[: len(reply) // 2])
        for token_id in reply[len(reply) // 2 :]:
            table.count(np.array([slot]), torch.tensor([token_id]))
    given = x.clone()
    ours = table.apply(np.arange(len(rows)), given)
    assert torch.equal(given, x)
    for slot, (_, _, reply) in enumerate(rows):
        expected = by_hand(x[slot].numpy(), asked[slot].token_ids, reply, asked[slot].params)
        np.testing.assert_allclose(ours[slot].numpy(), expected, rtol=1e-6, atol=1e-5)


@given(st.floats(0.1, 5.0), token_lists, token_lists, st.integers(0, 99))
def test_repetition_penalty_equals_transformers(
    penalty: float, prompt: list[int], reply: list[int], seed: int
) -> None:
    table, x = Penalties(1, VOCAB, CPU), scores(1, seed)
    table.assign(0, request((1, *prompt), repetition_penalty=penalty), reply)
    processor: Any = RepetitionPenaltyLogitsProcessor(penalty)
    theirs = processor(torch.tensor([[1, *prompt, *reply]]), x.clone())
    torch.testing.assert_close(table.apply(np.array([0]), x), theirs)


def test_rows_that_ask_for_nothing_are_left_alone() -> None:
    sampler, x = Sampler(2, VOCAB, CPU), scores(2, 0)
    table = Penalties(2, VOCAB, CPU)
    table.assign(0, request(), ())
    assert table.apply(np.array([0]), x[:1]) is not None and table.apply(np.arange(2), x) is x
    sampler.assign(0, request(temperature=0.0, logit_bias=((7, 100.0),), logprobs=2))
    sampler.assign(1, request(temperature=0.0))
    sampled = sampler.sample([0, 1], x)
    assert sampled.token_ids.tolist() == [7, int(x[1].argmax())]
    bare = x.log_softmax(-1)
    torch.testing.assert_close(sampled.logprobs, bare.gather(-1, sampled.token_ids[:, None])[:, 0])
    assert sampled.top_logprobs is not None  # of the bare model, in which 7 is nothing special
    assert [token_id for token_id, _ in sampled.top_logprobs[0]] == bare[0].topk(2).indices.tolist()
    assert sampled.top_logprobs[1] == ()


def test_a_bias_outside_of_the_vocabulary_is_refused() -> None:
    sampler = Sampler(1, VOCAB, CPU)
    sampler.check(request(logit_bias=((VOCAB - 1, 1.0),)))
    with pytest.raises(RequestError, match=r"token id 50 is outside of the vocabulary \(0 to 49\)"):
        sampler.check(request(logit_bias=((VOCAB, 1.0),)))


# ---------------------------------------------------------------- grammars


class OnlyIn:
    """A grammar of tokens that must come in this order, one of each set; `breaks` after so many."""

    def __init__(self, *choices: Sequence[int], width: int = VOCAB, breaks: int = 99) -> None:
        self.choices, self.width, self.breaks = choices, width, breaks

    def start(self) -> "InOrder":
        return InOrder(self)


class InOrder:
    def __init__(self, grammar: OnlyIn) -> None:
        self.grammar, self.said = grammar, list[int]()

    @property
    def done(self) -> bool:
        return len(self.said) == len(self.grammar.choices)

    def mask(self) -> NDArray[np.bool_]:
        if len(self.said) >= self.grammar.breaks:
            raise RequestError("too costly")
        mask = np.zeros(self.grammar.width, dtype=np.bool_)
        mask[list(self.grammar.choices[len(self.said)])] = True
        return mask

    def accept(self, token_id: int) -> None:
        self.said.append(token_id)


@given(st.integers(0, 99), st.sampled_from([0.0, 1.0, 30.0]))
def test_a_grammar_has_its_way(seed: int, temperature: float) -> None:
    sampler = Sampler(2, VOCAB, CPU)
    sampler.assign(
        0, request(temperature=temperature, seed=seed, top_k=3, grammar=OnlyIn([4], [5, 6], [7, 8, 9]))
    )
    sampler.assign(1, request(temperature=0.0))
    for step, allowed in enumerate(([4], [5, 6], [7, 8, 9])):
        assert not sampler.finished(0)
        x = scores(2, seed + step)
        said, free = sampler.sample([0, 1], x).token_ids.tolist()
        assert said in allowed and free == int(x[1].argmax())
        if temperature == 0:
            assert said == max(allowed, key=lambda i: float(x[0, i]))
    assert sampler.finished(0) and sampler.failure(0) is None and not sampler.finished(1)
    sampler.release(0)
    assert not sampler.finished(0)


def test_a_vocabulary_may_be_narrower_or_wider_than_the_logits() -> None:
    for width in (VOCAB - 10, VOCAB + 10):
        sampler = Sampler(1, VOCAB, CPU)
        sampler.assign(0, request(temperature=0.0, grammar=OnlyIn([3], width=width)))
        assert sampler.sample([0], scores(1, 0)).token_ids.tolist() == [3]


def test_a_grammar_that_fails_fails_alone() -> None:
    sampler = Sampler(3, VOCAB, CPU)
    sampler.assign(0, request(temperature=0.0, grammar=OnlyIn([4], [5], breaks=1)))
    sampler.assign(1, request(temperature=0.0, grammar=OnlyIn([4], [], [5])))
    sampler.assign(2, request(temperature=0.0, grammar=OnlyIn([4], [6], [7])))
    assert sampler.sample([0, 1, 2], scores(3, 0)).token_ids.tolist() == [4, 4, 4]
    assert sampler.sample([0, 1, 2], scores(3, 1)).token_ids.tolist()[2] == 6
    assert sampler.finished(0) and str(sampler.failure(0)) == "too costly"
    assert sampler.finished(1) and "no token" in str(sampler.failure(1))
    assert not sampler.finished(2) and sampler.failure(2) is None
    sampler.assign(0, request())
    assert not sampler.finished(0) and sampler.failure(0) is None


# ---------------------------------------------------------------- company and interruptions

MANY = [
    request(temperature=0.0),
    request(seed=1),
    request((3, 4), seed=2, repetition_penalty=1.4, top_k=9),
    request(seed=3, frequency_penalty=1.5, top_p=0.8),
    request(seed=4, presence_penalty=-1.0, min_p=0.05, logit_bias=((5, 3.0), (6, -3.0))),
    request(temperature=0.0, presence_penalty=2.0, repetition_penalty=1.2),
    request(seed=5, temperature=1.7, top_k=40, top_p=0.95, min_p=0.01),
    request(seed=6, grammar=OnlyIn(*[range(k, k + 30) for k in range(20)]), frequency_penalty=0.5),
]


def reply(
    sampler: Sampler,
    slot: int,
    asked: Request,
    length: int,
    between: Callable[[int, list[int]], None] = lambda *_: None,
) -> list[int]:
    """What one request says; its logits follow from how many tokens it has said."""
    sampler.assign(slot, asked)
    said: list[int] = []
    for step in range(length):
        between(step, said)
        said += sampler.sample([slot], scores(1, 31 * MANY.index(asked) + step)).token_ids.tolist()
    return said


def test_company_changes_nothing() -> None:
    alone = [reply(Sampler(1, VOCAB, CPU), 0, asked, 12) for asked in MANY]
    sampler = Sampler(len(MANY), VOCAB, CPU)
    slots = list(reversed(range(len(MANY))))
    for i, asked in enumerate(MANY):
        sampler.assign(slots[i], asked)
    together: list[list[int]] = [[] for _ in MANY]
    for step in range(12):
        x = torch.cat([scores(1, 31 * i + step) for i in range(len(MANY))])
        for said, token_id in zip(together, sampler.sample(slots, x).token_ids.tolist(), strict=True):
            said.append(token_id)
    assert together == alone


@pytest.mark.parametrize("cut", [0, 1, 5, 11])
def test_an_interruption_changes_nothing(cut: int) -> None:
    for asked in MANY:
        sampler = Sampler(2, VOCAB, CPU)

        def interrupt(step: int, said: list[int], sampler: Sampler = sampler, asked: Request = asked) -> None:
            if step == cut:
                sampler.release(1)
                sampler.assign(1, request((9,), repetition_penalty=1.9, grammar=OnlyIn([2], [2])), (2,))
                sampler.assign(1, asked, said)

        assert reply(sampler, 1, asked, 12, interrupt) == reply(Sampler(1, VOCAB, CPU), 0, asked, 12)


def test_mixed_rows_each_follow_their_own_settings() -> None:
    sampler = Sampler(5, VOCAB, CPU)
    settings: list[dict[str, Any]] = [
        {"temperature": 0.0},
        {"top_k": 1},
        {"top_p": 1e-6},
        {"min_p": 1.0},
        {"temperature": 1e-4},
    ]
    for slot, params in enumerate(settings):
        sampler.assign(slot, request(**params))
    for seed in range(20):
        x = scores(5, seed)
        assert torch.equal(sampler.sample(range(5), x).token_ids, x.argmax(-1))
        assert torch.equal(sampler.sample([3, 1], x[:2]).token_ids, x[:2].argmax(-1))


def test_a_greedy_slot_may_stand_in_several_rows() -> None:
    sampler, x = Sampler(2, VOCAB, CPU), scores(4, 0)
    sampler.assign(0, request(temperature=0.0))
    sampler.assign(1, request(seed=1))
    assert sampler.sample([0, 0, 0, 1], x).token_ids.tolist()[:3] == x[:3].argmax(-1).tolist()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_broken_logits_are_told(bad: float) -> None:
    sampler, x = Sampler(2, VOCAB, CPU), scores(2, 0)
    sampler.assign(0, request())
    sampler.assign(1, request(temperature=0.0))
    x[1, 7] = bad
    with pytest.raises(CheckpointError, match="NaN or infinite logits"):
        sampler.sample([0, 1], x)
