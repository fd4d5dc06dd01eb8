"""A lane's step: what it shares, preempts, guesses and drops; new weights, failing steps and failing grammars."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liaoliao.engine import Engine, Request, SamplingParams
from liaoliao.engine.lane import MAX_DRAFTING
from liaoliao.engine.speculate import MIN_TALLY
from liaoliao.errors import RequestError
from tests.engine.fake_runner import FakeRunner
from tests.engine.models import GREEDY, MODEL, Spelled, drive, make_model, prompts, uncached

GREEDY_LONG = SamplingParams(temperature=0.0, max_tokens=34)


# ---------------------------------------------------------------- prefix cache, preemption, drafts


def test_a_known_beginning_is_counted_and_changes_nothing() -> None:
    runner = FakeRunner()
    engine = Engine(runner)
    first, second = (3,) * 40, (3,) * 33 + (4,) * 5
    assert engine.generate([Request(first, GREEDY)])[0].num_cached == 0
    reply = engine.generate([Request(second, GREEDY)])[0]
    assert reply.num_cached == 32 and list(reply.token_ids) == runner.greedy(second, 12)
    runner.steps.clear()
    again = list(engine.stream(Request(second, GREEDY)))
    assert [event.num_cached for event in again] == [32] * 12
    assert runner.steps[0] == [(32, 6)]
    turn = second + tuple(event.token_id for event in again) + (9,)  # the next turn of the same talk
    assert engine.generate([Request(turn, GREEDY)])[0].num_cached == 48
    stats = engine.stats()
    assert (stats.prompt_tokens, stats.cached_tokens) == (40 + 38 + 38 + 51, 32 + 32 + 48)
    assert Engine(runner, prefix_cache=False).generate([Request(first, GREEDY)] * 2)[1].num_cached == 0


def test_preempted_replies_are_what_they_would_have_been() -> None:
    runner = FakeRunner(num_blocks=6)
    engine = Engine(runner, max_running=6, max_step_tokens=40)
    params = [SamplingParams(temperature=i % 2 * 0.8, seed=i, max_tokens=30) for i in range(6)]
    requests = [Request(ids, p) for ids, p in zip(prompts(6, seed=5), params, strict=True)]
    expected = [Engine(FakeRunner()).generate([request])[0].token_ids for request in requests]
    replies = engine.generate(requests)
    assert [reply.token_ids for reply in replies] == expected
    assert engine.stats().preemptions > 0
    assert all(len(reply.logprobs) == len(reply.token_ids) for reply in replies)
    engine.check_integrity()


def test_a_penalty_goes_on_after_preemption() -> None:
    params = SamplingParams(temperature=0.0, repetition_penalty=3.0, max_tokens=30)
    requests = [Request(ids, params) for ids in prompts(5, seed=6)]
    expected = [Engine(FakeRunner()).generate([request])[0].token_ids for request in requests]
    engine = Engine(FakeRunner(num_blocks=5))
    assert [reply.token_ids for reply in engine.generate(requests)] == expected
    assert engine.stats().preemptions > 0


def test_drafts_that_come_true_save_steps() -> None:
    runner = FakeRunner(next_token=lambda ids: ids[-5] if len(ids) >= 5 else len(ids))
    request = Request((1, 2, 3, 4, 5) * 2, SamplingParams(temperature=0.0, max_tokens=40))
    (reply,) = Engine(runner, speculate=4).generate([request])
    fast = len(runner.steps)
    assert list(reply.token_ids) == [1, 2, 3, 4, 5] * 8
    runner.steps.clear()
    assert Engine(runner).generate([request])[0] == reply
    assert len(runner.steps) == 40 and fast <= 12


def test_drafts_end_where_the_reply_does() -> None:
    runner = FakeRunner(next_token=lambda ids: ids[-5])
    params = SamplingParams(temperature=0.0, max_tokens=17, stop_token_ids=(4,))
    engine = Engine(runner, speculate=8)
    (reply,) = engine.generate([Request((1, 2, 3, 4, 5) * 3, params)])
    assert reply.token_ids == (1, 2, 3, 4) and reply.finish_reason == "stop"
    params = SamplingParams(temperature=0.0, max_tokens=17)
    (reply,) = engine.generate([Request((1, 2, 3, 4, 5) * 3, params)])
    assert len(reply.token_ids) == 17 and reply.finish_reason == "length"
    stats = engine.stats()
    assert 0 < stats.accepted <= stats.speculated
    engine.check_integrity()


def test_a_crowded_step_has_no_drafts() -> None:
    runner = FakeRunner(next_token=lambda ids: ids[-5])
    request = Request((1, 2, 3, 4, 5) * 2, SamplingParams(temperature=0.0, max_tokens=20))
    speculated = []
    for together in (MAX_DRAFTING, MAX_DRAFTING + 1):
        engine = Engine(runner, speculate=4)
        replies = engine.generate([request] * together)
        assert [list(reply.token_ids) for reply in replies] == [[1, 2, 3, 4, 5] * 4] * together
        speculated.append(engine.stats().speculated)
    assert speculated[0] > 0 and speculated[1] == 0


def test_drafts_that_never_come_true_are_few() -> None:
    """Between 1 2 and the next 1 2 stands another token every time."""
    runner = FakeRunner(
        vocab_size=200,
        max_length=256,
        next_token=lambda ids: (1, 2, 10 + len(ids) // 3)[len(ids) % 3],
    )
    request = Request((1, 2, 10), SamplingParams(temperature=0.0, max_tokens=150))
    engine = Engine(runner, speculate=4)
    (reply,) = engine.generate([request])
    assert list(reply.token_ids) == runner.greedy(request.token_ids, 150)
    stats = engine.stats()
    assert (stats.speculated, stats.accepted) == (2 * MIN_TALLY, 0)  # at the beginning, and after a pause


@settings(max_examples=10)
@given(
    seed=st.integers(0, 10**6),
    num_letters=st.integers(1, 5),
    stretch=st.sampled_from([1, 9, 50]),
    speculate=st.integers(1, 8),
    together=st.sampled_from([1, 4, MAX_DRAFTING + 2]),
    num_blocks=st.integers(8, 60),
)
def test_however_many_drafts_come_true_replies_stay(
    seed: int, num_letters: int, stretch: int, speculate: int, together: int, num_blocks: int
) -> None:
    """Texts of few letters that repeat themselves for a stretch: drafts, pauses, crowds, preemption."""
    runner = FakeRunner(
        num_blocks=num_blocks,
        max_length=128,
        next_token=lambda ids: hash((seed, len(ids) // stretch, *ids[-2:])) % num_letters,
    )
    params = SamplingParams(temperature=0.0, max_tokens=110)
    requests = [Request(ids, params) for ids in prompts(together, seed=seed, longest=9)]
    engine = Engine(runner, speculate=speculate)
    replies = engine.generate(requests)
    assert [list(reply.token_ids) for reply in replies] == [
        runner.greedy(request.token_ids, 110) for request in requests
    ]
    engine.check_integrity()


@pytest.mark.parametrize(
    "params",
    [
        {"temperature": 0.5},
        {"presence_penalty": 1.0},
        {"repetition_penalty": 1.2},
        {"logit_bias": ((1, 1.0),)},
    ],
)
def test_only_replies_that_can_be_foreseen_get_drafts(params: dict[str, Any]) -> None:
    runner = FakeRunner(next_token=lambda ids: ids[-5])
    engine = Engine(runner, speculate=4)
    sampling = SamplingParams(**{"temperature": 0.0, "max_tokens": 10, **params})
    engine.generate([Request((1, 2, 3, 4, 5) * 3, sampling)])
    assert engine.stats().speculated == 0


# ---------------------------------------------------------------- new weights


def test_running_replies_finish_on_the_old_weights_and_new_ones_get_the_new() -> None:
    old, new = FakeRunner(num_blocks=24), FakeRunner(num_blocks=24, seed=7)
    engine = Engine(old, max_running=3)
    before = {engine.add(Request(ids, GREEDY)): ids for ids in prompts(5, seed=1)}
    said: dict[int, list[int]] = {}
    for request_id, event in engine.step():
        said[request_id] = [event.token_id]
    engine.update_weights(new, "v2")
    after = {engine.add(Request(ids, GREEDY)): ids for ids in prompts(5, seed=1)}
    assert engine.stats().version == "v2" and engine.stats().num_waiting == 7
    drive(engine, said)
    assert [said[i] for i in before] == [old.greedy(ids, 12) for ids in before.values()]
    assert [said[i] for i in after] == [new.greedy(ids, 12) for ids in after.values()]
    assert engine.runner is new and len(engine._lanes) == 1


def test_aborting_the_last_old_reply_frees_the_old_weights() -> None:
    engine = Engine(FakeRunner())
    request_id = engine.add(Request((1, 2), GREEDY))
    engine.step()
    engine.update_weights(FakeRunner(seed=1))
    assert len(engine._lanes) == 2
    engine.abort(request_id)
    assert len(engine._lanes) == 1
    engine.check_integrity()


def test_a_runner_that_is_at_work_is_not_given_a_second_lane() -> None:
    runner = FakeRunner()
    engine = Engine(runner)
    engine.update_weights(runner, "again")
    engine.add(Request((1, 2), GREEDY))
    with pytest.raises(RequestError, match="of their own"):
        engine.update_weights(runner)


def test_nothing_read_with_the_old_weights_serves_the_new() -> None:
    model = make_model(seed=3)
    engine, ids = Engine(model), prompts(1, seed=4, longest=1)[0] * 40
    engine.generate([Request(ids, GREEDY)])
    model.load_state_dict(MODEL.state_dict())
    engine.update_weights(model)
    (reply,) = engine.generate([Request(ids, GREEDY)])
    assert reply.num_cached == 0 and list(reply.token_ids) == uncached(ids, 12)


# ---------------------------------------------------------------- failures


def test_a_step_that_fails_drops_those_in_it_and_nobody_else() -> None:
    runner = FakeRunner()
    engine = Engine(runner, max_running=2)
    ids = [engine.add(Request(prompt, GREEDY)) for prompt in prompts(4, seed=3)]
    engine.step()
    runner.fail = RuntimeError("the device is gone")
    with pytest.raises(RuntimeError, match="gone"):
        engine.step()
    assert [engine.alive(i) for i in ids] == [False, False, True, True]
    engine.check_integrity()
    said: dict[int, list[int]] = {}
    drive(engine, said)
    assert [said[i] for i in ids[2:]] == [runner.greedy(prompt, 12) for prompt in prompts(4, seed=3)[2:]]


def test_what_a_failed_step_left_in_its_blocks_is_never_found() -> None:
    runner = FakeRunner()
    engine = Engine(runner)
    prompt = (5,) * 40
    engine.add(Request(prompt, GREEDY))
    engine.add(Request(prompt, GREEDY))
    runner.fail = RuntimeError("half of it is stored")
    with pytest.raises(RuntimeError):
        engine.step()
    (reply,) = engine.generate([Request(prompt, GREEDY)])
    assert reply.num_cached == 0 and list(reply.token_ids) == runner.greedy(prompt, 12)


def test_a_grammar_ends_a_reply_and_goes_on_after_preemption() -> None:
    text = tuple(range(30))
    requests = [Request((i,) * 12, GREEDY_LONG, Spelled(text)) for i in range(4)]
    engine = Engine(FakeRunner(num_blocks=6), speculate=4)
    replies = engine.generate(requests)
    assert [(reply.token_ids, reply.finish_reason) for reply in replies] == [(text, "stop")] * 4
    assert engine.stats().preemptions > 0 and engine.stats().speculated == 0


@pytest.mark.parametrize(("broken", "num_told"), [("start", 0), ("mask", 2)])
def test_a_grammar_that_fails_fails_its_own_request_only(broken: str, num_told: int) -> None:
    runner = FakeRunner()
    engine = Engine(runner)
    bad = engine.add(Request((1, 2), GREEDY_LONG, Spelled((1, 2, 3, 4), broken)))
    good = engine.add(Request((3, 4), GREEDY))
    said: dict[int, list[int]] = {bad: [], good: []}
    with pytest.raises(RequestError, match="this grammar"):
        drive(engine, said)
    assert len(said[bad]) == num_told and list(engine.failures) == [bad]
    drive(engine, said)
    assert said[good] == runner.greedy((3, 4), 12)
    with pytest.raises(RequestError, match="this grammar"):
        list(engine.stream(Request((1, 2), GREEDY_LONG, Spelled((1, 2, 3, 4), broken))))
    with pytest.raises(RequestError, match="this grammar"):
        engine.generate([Request((3, 4), GREEDY), Request((1, 2), GREEDY, Spelled((1, 2, 3, 4), broken))])
    assert engine.idle
    engine.check_integrity()


def test_the_end_of_a_reply_is_told_though_another_fails_in_the_same_step() -> None:
    runner = FakeRunner()
    engine = Engine(runner)
    good = engine.add(Request((3, 4), SamplingParams(temperature=0.0, max_tokens=3)))
    engine.add(Request((1, 2), GREEDY_LONG, Spelled((1, 2, 3, 4), "mask")))
    said: dict[int, list[int]] = {}
    with pytest.raises(RequestError, match="lost its way"):
        drive(engine, said)
    assert not engine.alive(good) and len(said[good]) == 2
    drive(engine, said)
    assert said[good] == runner.greedy((3, 4), 3)
    assert engine.idle


def test_a_failing_lane_leaves_the_other_alone() -> None:
    old, new = FakeRunner(), FakeRunner(seed=2)
    engine = Engine(old)
    first = engine.add(Request((1, 2), GREEDY))
    said: dict[int, list[int]] = {first: [event.token_id for _, event in engine.step()]}
    engine.update_weights(new)
    second = engine.add(Request((1, 2), GREEDY))
    new.fail = RuntimeError("broken")
    with pytest.raises(RuntimeError):
        engine.step()
    assert engine.alive(first) and not engine.alive(second)
    drive(engine, said)
    assert said == {first: old.greedy((1, 2), 12)}
