"""Oracle: greedy replies equal `transformers`; property: company, pieces, prefix cache, drafts, preemption, aborts and
new weights change nothing in what a request is answered.
"""

import random
from collections.abc import Sequence
from functools import cache
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen3Config, Qwen3ForCausalLM

from liaoliao.engine import Completion, Engine, Request, SamplingParams, TokenEvent
from liaoliao.engine.runner import BLOCK_SIZE, TorchRunner
from liaoliao.errors import CheckpointError, ContextLengthError, RequestError
from liaoliao.model.convert import config_to_hf
from tests.engine.fake_runner import FakeRunner
from tests.engine.models import (
    BLOCK_BYTES,
    CONTEXT,
    GREEDY,
    MODEL,
    VOCAB,
    drive,
    make_model,
    prompts,
    uncached,
)


def their_model() -> Any:
    """Stock transformers with the same weights."""
    theirs: Any = Qwen3ForCausalLM(Qwen3Config(**config_to_hf(MODEL.config)))
    theirs.load_state_dict(dict(MODEL.named_parameters()), strict=False)
    theirs.generation_config.eos_token_id = None
    return theirs.eval()


def alone(request: Request) -> Completion:
    return Engine(MODEL, max_running=1).generate([request])[0]


# ---------------------------------------------------------------- oracle and equalities


def test_greedy_equals_transformers() -> None:
    theirs = their_model()
    requests = [Request(ids, GREEDY) for ids in prompts(6)]
    for request, ours in zip(requests, Engine(MODEL, max_running=4).generate(requests), strict=True):
        ids = torch.tensor([request.token_ids])
        expected = theirs.generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=12
        )
        assert ours.token_ids == tuple(expected[0, ids.shape[1] :].tolist())
        assert ours.finish_reason == "length"


def test_repetition_penalty_equals_transformers() -> None:
    theirs = their_model()
    params = SamplingParams(temperature=0.0, max_tokens=12, repetition_penalty=1.7)
    requests = [Request(ids, params if i % 2 else GREEDY) for i, ids in enumerate(prompts(8))]
    ours = Engine(MODEL, max_running=3).generate(requests)
    for request, reply in zip(requests[1::2], ours[1::2], strict=True):
        ids = torch.tensor([request.token_ids])
        expected = theirs.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=12,
            repetition_penalty=1.7,
        )
        assert reply.token_ids == tuple(expected[0, ids.shape[1] :].tolist())
    assert [reply.token_ids for reply in ours[::2]] == [alone(request).token_ids for request in requests[::2]]


def test_cached_equals_uncached() -> None:
    for ids in prompts(5, seed=1):
        assert list(alone(Request(ids, GREEDY)).token_ids) == uncached(ids, 12)


@pytest.mark.parametrize(
    ("max_running", "max_step_tokens"), [(1, 4096), (2, 17), (3, 5), (4, 64), (5, 1), (9, 4096), (17, 100)]
)
def test_batched_equals_alone(max_running: int, max_step_tokens: int) -> None:
    rng = random.Random(max_step_tokens)
    requests = [
        Request(ids, SamplingParams(temperature=0.0, max_tokens=rng.randint(1, 12)))
        for ids in prompts(17, seed=max_running, longest=24)
    ]
    engine = Engine(MODEL, max_running=max_running, max_step_tokens=max_step_tokens)
    for request, reply in zip(requests, engine.generate(requests), strict=True):
        assert list(reply.token_ids) == uncached(request.token_ids, 12)[: len(reply.token_ids)]
        assert len(reply.token_ids) == request.params.max_tokens
    assert engine.idle
    engine.check_integrity()


BEGINNINGS = prompts(3, seed=21, longest=1)[0] * 16, prompts(1, seed=22)[0], ()
ASKED = [
    Request(
        (BEGINNINGS[i % 3] + ids)[:40],
        SamplingParams(temperature=0.0 if i % 3 else 0.9, seed=i, max_tokens=5 + 4 * i),
    )
    for i, ids in enumerate(prompts(5, seed=23, longest=24))
]


@cache
def answered_alone(*, fake: bool) -> dict[int, list[int]]:
    engines = (Engine(FakeRunner() if fake else MODEL) for _ in ASKED)
    replies = [engine.generate([request])[0] for engine, request in zip(engines, ASKED, strict=True)]
    return {i: list(reply.token_ids) for i, reply in enumerate(replies)}


def answer(engine: Engine, order: Sequence[int]) -> dict[int, list[int]]:
    """What each of ASKED is told, asked in some order."""
    said: dict[int, list[int]] = {}
    ids = {engine.add(ASKED[i]): i for i in order}
    drive(engine, said)
    return {ids[request_id]: token_ids for request_id, token_ids in said.items()}


ways_to_run = st.fixed_dictionaries(
    {
        "max_running": st.integers(1, 8),
        "max_step_tokens": st.sampled_from([1, 6, 16, 30, 90]),
        "prefix_cache": st.booleans(),
        "speculate": st.integers(0, 4),
    }
)


@settings(max_examples=20)
@given(ways_to_run, st.integers(CONTEXT // BLOCK_SIZE, 16), st.permutations(range(len(ASKED))))
def test_however_it_runs_each_request_is_told_the_same(
    options: dict[str, Any], num_blocks: int, order: list[int]
) -> None:
    """Company, pieces, a pool so small that there is preemption, the prefix cache, drafts: the tokens stay."""
    assert answer(Engine(FakeRunner(num_blocks=num_blocks), **options), order) == answered_alone(fake=True)


@settings(max_examples=5)
@given(ways_to_run, st.integers(CONTEXT // BLOCK_SIZE, 16), st.permutations(range(len(ASKED))))
def test_and_so_by_a_model(options: dict[str, Any], num_blocks: int, order: list[int]) -> None:
    runner = TorchRunner(MODEL, kv_cache_bytes=num_blocks * BLOCK_BYTES)
    assert runner.num_blocks == num_blocks
    options = {**options, "max_step_tokens": 8 + options["max_step_tokens"]}
    assert answer(Engine(runner, **options), order) == answered_alone(fake=False)


def test_a_seed_gives_the_same_reply_in_any_company() -> None:
    params = SamplingParams(temperature=1.3, top_p=0.9, top_k=40, seed=1234, max_tokens=20)
    request = Request(prompts(1)[0], params)
    expected = alone(request)
    for seed in range(3):
        others = [
            Request(ids, SamplingParams(temperature=seed * 0.7, max_tokens=3 * i + 1))
            for i, ids in enumerate(prompts(9, seed=seed + 5))
        ]
        others.insert(seed * 4, request)
        assert Engine(MODEL, max_running=4).generate(others)[seed * 4].token_ids == expected.token_ids
    other = alone(Request(request.token_ids, SamplingParams(temperature=1.3, seed=1235, max_tokens=20)))
    assert other.token_ids != expected.token_ids


def test_without_a_seed_replies_differ() -> None:
    request = Request((1, 2, 3), SamplingParams(temperature=2.0, max_tokens=30))
    assert len({reply.token_ids for reply in Engine(MODEL, max_running=4).generate([request] * 4)}) == 4


def test_logprobs_are_those_of_the_model() -> None:
    requests = [
        Request(ids, SamplingParams(temperature=0.8, seed=i, max_tokens=9))
        for i, ids in enumerate(prompts(5))
    ]
    engine = Engine(MODEL, max_running=3)
    replies = engine.generate(requests)
    scores = engine.score([[*q.token_ids, *r.token_ids] for q, r in zip(requests, replies, strict=True)])
    for request, reply, score in zip(requests, replies, scores, strict=True):
        assert score[len(request.token_ids) :] == pytest.approx(reply.logprobs, abs=1e-4)


def test_bf16_runs_and_half_agrees() -> None:
    half = make_model().to(torch.bfloat16)
    ids = prompts(1)[0]
    rough, exact = (Engine(model).score([ids])[0] for model in (half, MODEL))
    assert rough == pytest.approx(exact, abs=0.3)
    assert len(Engine(half).generate([Request(ids, GREEDY)])[0].token_ids) == 12


# ---------------------------------------------------------------- stopping


def test_stop_ids_and_eos() -> None:
    prompt = prompts(1, seed=2)[0]
    free = uncached(prompt, 12)
    stop = free[5]
    first = free.index(stop)
    reply = alone(Request(prompt, SamplingParams(temperature=0.0, max_tokens=12, stop_token_ids=(stop,))))
    assert (
        list(reply.token_ids) == free[: first + 1] and reply.finish_reason == "stop"
    )  # the stop token is told too
    model = make_model(eos=stop)
    with_eos = Engine(model).generate([Request(prompt, GREEDY)])[0]
    assert with_eos == reply
    ignored = Request(prompt, SamplingParams(temperature=0.0, max_tokens=12, ignore_eos=True))
    assert list(Engine(model).generate([ignored])[0].token_ids) == free


def test_a_full_context_ends_the_reply() -> None:
    prompt = prompts(1, longest=1)[0] * (CONTEXT - 3)
    reply = alone(Request(prompt, SamplingParams(temperature=0.0)))
    assert len(reply.token_ids) == 3 and reply.finish_reason == "length"
    assert list(reply.token_ids) == uncached(prompt, 3)


# ---------------------------------------------------------------- streams, steps, aborts


def test_streams_interleave_and_owe_nothing() -> None:
    engine = Engine(MODEL, max_running=2)
    queued = [engine.add(Request(ids, GREEDY)) for ids in prompts(3, seed=8)]
    a, b = (engine.stream(Request(ids, GREEDY)) for ids in prompts(2, seed=9))
    got: dict[str, list[TokenEvent]] = {"a": [next(a)], "b": [next(b)]}
    got["a"] += list(a)
    got["b"] += list(b)
    for name, ids in zip("ab", prompts(2, seed=9), strict=True):
        assert [event.token_id for event in got[name]] == uncached(ids, 12)
        assert [event.finish_reason for event in got[name]] == [None] * 11 + ["length"]
    rest: dict[int, list[int]] = {request_id: [] for request_id in queued}
    while not engine.idle or engine._unclaimed:
        for request_id, event in engine.step():
            rest[request_id].append(event.token_id)
    assert list(rest.values()) == [uncached(ids, 12) for ids in prompts(3, seed=8)]
    assert engine.step() == []


def test_closing_a_stream_frees_its_slot() -> None:
    engine = Engine(MODEL, max_running=1)
    stream = engine.stream(Request((1, 2, 3), GREEDY))
    next(stream)
    assert not engine.idle
    stream.close()  # type: ignore[attr-defined]
    assert engine.step() == []
    engine.check_integrity()
    assert engine.stats().num_running == 0


def test_ten_thousand_aborts_leak_nothing_and_disturb_nobody() -> None:
    runner = FakeRunner(num_blocks=40)
    engine, rng = Engine(runner, max_running=12, max_step_tokens=64), random.Random(0)
    kept = {engine.add(Request(ids, GREEDY)): ids for ids in prompts(4, seed=11)}
    said: dict[int, list[int]] = {request_id: [] for request_id in kept}
    pool, doomed, num_aborts = prompts(50, seed=12, longest=50), list[int](), 0
    while num_aborts < 10_000:
        doomed += [engine.add(Request(rng.choice(pool), GREEDY)) for _ in range(40)]
        for request_id, event in engine.step():
            if request_id in said:
                said[request_id].append(event.token_id)
        rng.shuffle(doomed)
        for request_id in doomed[8:]:
            engine.abort(request_id)
            num_aborts += 1
        del doomed[8:]
        engine.check_integrity()
    for request_id in doomed:
        engine.abort(request_id)
    engine.abort(10**9)
    drive(engine, said)
    assert {i: said[i] for i in kept} == {i: runner.greedy(ids, 12) for i, ids in kept.items()}
    stats = engine.stats()
    assert (stats.num_running, stats.num_waiting, stats.num_free_blocks) == (0, 0, 40)


def test_progress_counts_up_to_all() -> None:
    seen: list[tuple[int, int]] = []
    requests = [Request(ids, SamplingParams(max_tokens=i + 1)) for i, ids in enumerate(prompts(7))]
    Engine(MODEL, max_running=3).generate(requests, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (7, 7) and seen == sorted(seen)
    assert Engine(MODEL).generate([]) == []


def test_top_logprobs_come_with_the_events() -> None:
    engine = Engine(MODEL, max_running=3)
    asked = [SamplingParams(temperature=0.0, max_tokens=2, logprobs=n) for n in (0, 2, 5)]
    ids = [engine.add(Request((1, 2), params)) for params in asked]
    events = dict(engine.step())
    assert [len(events[i].top_logprobs) for i in ids] == [0, 2, 5]
    best = events[ids[2]].top_logprobs
    assert best[0][0] == events[ids[2]].token_id and best[0][1] == pytest.approx(events[ids[2]].logprob)
    assert [value for _, value in best] == sorted((value for _, value in best), reverse=True)


# ---------------------------------------------------------------- refusals and failures


@pytest.mark.parametrize(
    ("token_ids", "words"),
    [
        ((), "empty"),
        ((1,) * CONTEXT, f"{CONTEXT} tokens and the context holds {CONTEXT}"),
        ((VOCAB,), "vocabulary"),
        ((-1,), "vocabulary"),
    ],
)
def test_prompts_the_engine_cannot_serve(token_ids: tuple[int, ...], words: str) -> None:
    engine = Engine(MODEL)
    with pytest.raises(RequestError, match=words):
        engine.add(Request(token_ids))
    with pytest.raises(RequestError, match=words):
        engine.generate([Request((1,)), Request(token_ids)])
    assert engine.idle


def test_a_context_that_is_too_small_is_told_in_numbers() -> None:
    with pytest.raises(ContextLengthError) as caught:
        Engine(MODEL).add(Request((1,) * 70))
    assert (caught.value.num_tokens, caught.value.max_length) == (70, CONTEXT)


def test_the_blocks_bound_the_context() -> None:
    engine = Engine(FakeRunner(num_blocks=2))
    assert engine.max_length == 32
    (reply,) = engine.generate([Request((1,) * 20, SamplingParams(temperature=0.0))])
    assert len(reply.token_ids) == 12
    with pytest.raises(ContextLengthError):
        engine.add(Request((1,) * 32))


def test_given_texts_need_room_and_known_ids() -> None:
    engine = Engine(MODEL)
    for ask in (engine.score, engine.embed):
        with pytest.raises(ContextLengthError, match="context"):
            ask([[1] * (CONTEXT + 1)])
        with pytest.raises(RequestError, match="vocabulary"):
            ask([[1], [VOCAB]])
    with pytest.raises(RequestError, match="empty"):
        engine.embed([[1], []])


@pytest.mark.parametrize(
    "options", [{"max_running": 0}, {"max_step_tokens": 0}, {"max_length": 0}, {"speculate": -1}]
)
def test_an_engine_that_could_do_nothing(options: dict[str, Any]) -> None:
    with pytest.raises(RequestError, match=next(iter(options))):
        Engine(MODEL, **options)


def test_nan_raises_and_the_engine_lives_on() -> None:
    model = make_model()
    engine = Engine(model, max_running=2)
    engine.add(Request((1, 2), GREEDY))
    engine.step()
    with torch.no_grad():
        kept = model.model.norm.weight.clone()
        model.model.norm.weight[3] = float("nan")
    with pytest.raises(CheckpointError, match="NaN"):
        engine.step()
    assert engine.idle
    with torch.no_grad():
        model.model.norm.weight.copy_(kept)
    assert list(engine.generate([Request((1, 2), GREEDY)])[0].token_ids) == uncached((1, 2), 12)


def test_a_bias_on_a_token_that_the_model_lacks_is_refused() -> None:
    with pytest.raises(RequestError, match="logit_bias"):
        Engine(MODEL).add(Request((1,), SamplingParams(logit_bias=((VOCAB, 1.0),))))
