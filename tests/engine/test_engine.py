"""Oracle: greedy replies equal `transformers`; property: company, caching, slots and aborts change
nothing.
"""

import math
import random
from functools import cache
from typing import Any

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from liaoliao.engine import Completion, Engine, Request, SamplingParams, TokenEvent
from liaoliao.errors import CheckpointError, RequestError
from liaoliao.model.config import ModelConfig
from liaoliao.model.convert import config_to_hf
from liaoliao.model.transformer import Transformer

VOCAB, CONTEXT = 61, 64
GREEDY = SamplingParams(temperature=0.0, max_tokens=12)


def make_model(seed: int = 0, *, eos: int | None = None) -> Transformer:
    config = ModelConfig(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=CONTEXT, eos_token_id=eos,
    )  # fmt: skip
    model = Transformer(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.4, generator=generator)
    return model.eval()


MODEL = make_model()


def prompts(count: int, seed: int = 0, longest: int = 30) -> list[tuple[int, ...]]:
    rng = random.Random(seed)
    return [tuple(rng.randrange(VOCAB) for _ in range(rng.randint(1, longest))) for _ in range(count)]


@cache
def uncached(token_ids: tuple[int, ...], max_tokens: int) -> list[int]:
    """Greedy, the whole text through the model for every token."""
    ids = list(token_ids)
    with torch.no_grad():
        for _ in range(max_tokens):
            ids.append(int(MODEL(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(token_ids) :]


def their_model() -> Any:
    """Stock transformers with the same weights."""
    theirs: Any = Qwen3ForCausalLM(Qwen3Config(**config_to_hf(MODEL.config)))
    theirs.load_state_dict(dict(MODEL.named_parameters()), strict=False)
    theirs.generation_config.eos_token_id = None
    return theirs.eval()


def alone(request: Request) -> Completion:
    return Engine(MODEL, max_slots=1).generate([request])[0]


# ---------------------------------------------------------------- oracle and equalities


def test_greedy_equals_transformers() -> None:
    theirs = their_model()
    requests = [Request(ids, GREEDY) for ids in prompts(6)]
    for request, ours in zip(requests, Engine(MODEL, max_slots=4).generate(requests), strict=True):
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
    ours = Engine(MODEL, max_slots=3).generate(requests)
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
    ("max_slots", "max_prefill_tokens"), [(1, 4096), (2, 17), (3, 5), (4, 64), (5, 1), (9, 4096)]
)
def test_batched_equals_alone(max_slots: int, max_prefill_tokens: int) -> None:
    rng = random.Random(max_prefill_tokens)
    requests = [
        Request(ids, SamplingParams(temperature=0.0, max_tokens=rng.randint(1, 12)))
        for ids in prompts(9, seed=max_slots, longest=24)
    ]
    engine = Engine(MODEL, max_slots=max_slots, max_prefill_tokens=max_prefill_tokens)
    for request, reply in zip(requests, engine.generate(requests), strict=True):
        assert list(reply.token_ids) == uncached(request.token_ids, 12)[: len(reply.token_ids)]
        assert len(reply.token_ids) == request.params.max_tokens
    assert engine.idle
    engine.scheduler.check_integrity()


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
        assert Engine(MODEL, max_slots=4).generate(others)[seed * 4].token_ids == expected.token_ids
    other = alone(Request(request.token_ids, SamplingParams(temperature=1.3, seed=1235, max_tokens=20)))
    assert other.token_ids != expected.token_ids


def test_without_a_seed_replies_differ() -> None:
    request = Request((1, 2, 3), SamplingParams(temperature=2.0, max_tokens=30))
    assert len({reply.token_ids for reply in Engine(MODEL, max_slots=4).generate([request] * 4)}) == 4


def test_logprobs_are_those_of_the_model() -> None:
    requests = [
        Request(ids, SamplingParams(temperature=0.8, seed=i, max_tokens=9))
        for i, ids in enumerate(prompts(5))
    ]
    engine = Engine(MODEL, max_slots=3)
    replies = engine.generate(requests)
    scores = engine.score([[*q.token_ids, *r.token_ids] for q, r in zip(requests, replies, strict=True)])
    for request, reply, score in zip(requests, replies, scores, strict=True):
        assert score[len(request.token_ids) :] == pytest.approx(reply.logprobs, abs=1e-4)


def test_score_is_the_log_softmax_of_the_logits() -> None:
    texts = [list(ids) for ids in prompts(7, seed=3, longest=CONTEXT)] + [[], [5]]
    for text, score in zip(texts, Engine(MODEL, max_prefill_tokens=50).score(texts), strict=True):
        assert len(score) == len(text)
        if len(text) > 1:
            with torch.no_grad():
                logprobs = MODEL(torch.tensor([text]))[0].log_softmax(-1)
            expected = logprobs[:-1].gather(1, torch.tensor(text[1:])[:, None]).flatten()
            assert score[0] == 0.0 and score[1:] == pytest.approx(expected.tolist(), abs=1e-4)


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
    engine = Engine(MODEL, max_slots=2)
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
    engine = Engine(MODEL, max_slots=1)
    stream = engine.stream(Request((1, 2, 3), GREEDY))
    next(stream)
    assert not engine.idle
    stream.close()  # type: ignore[attr-defined]
    assert engine.step() == []
    engine.scheduler.check_integrity()
    assert not engine.scheduler.running


def test_many_aborts_leak_nothing_and_disturb_nobody() -> None:
    engine, rng = Engine(MODEL, max_slots=6), random.Random(0)
    kept = {engine.add(Request(ids, GREEDY)): ids for ids in prompts(4, seed=11)}
    said: dict[int, list[int]] = {request_id: [] for request_id in kept}
    doomed: list[int] = []
    for _ in range(40):
        doomed += [engine.add(Request(ids, GREEDY)) for ids in prompts(4, seed=rng.randrange(9))]
        for request_id, event in engine.step():
            if request_id in said:
                said[request_id].append(event.token_id)
        rng.shuffle(doomed)
        while len(doomed) > 5:
            engine.abort(doomed.pop())
        engine.scheduler.check_integrity()
    for request_id in doomed:
        engine.abort(request_id)
    engine.abort(10**9)
    assert engine.idle and not engine.scheduler.running and not engine.scheduler.waiting
    assert int(engine._cache.lengths.sum()) == 0
    assert {i: said[i] for i in kept} == {i: uncached(ids, 12) for i, ids in kept.items()}


def test_progress_counts_up_to_all() -> None:
    seen: list[tuple[int, int]] = []
    requests = [Request(ids, SamplingParams(max_tokens=i + 1)) for i, ids in enumerate(prompts(7))]
    Engine(MODEL, max_slots=3).generate(requests, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (7, 7) and seen == sorted(seen)
    assert Engine(MODEL).generate([]) == []


def test_top_logprobs_come_with_the_events() -> None:
    engine = Engine(MODEL, max_slots=3)
    asked = [SamplingParams(temperature=0.0, max_tokens=2, logprobs=n) for n in (0, 2, 5)]
    ids = [engine.add(Request((1, 2), params)) for params in asked]
    events = dict(engine.step())
    assert [len(events[i].top_logprobs) for i in ids] == [0, 2, 5]
    best = events[ids[2]].top_logprobs
    assert best[0][0] == events[ids[2]].token_id and best[0][1] == pytest.approx(events[ids[2]].logprob)
    assert [value for _, value in best] == sorted((value for _, value in best), reverse=True)


# ---------------------------------------------------------------- refusals


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


def test_scoring_needs_room() -> None:
    with pytest.raises(RequestError, match="context"):
        Engine(MODEL).score([[1] * (CONTEXT + 1)])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("max_tokens", 0), ("temperature", -0.1), ("temperature", math.nan), ("top_p", 0.0), ("top_p", 1.1),
        ("top_k", -1), ("min_p", 2.0), ("repetition_penalty", 0.0), ("logprobs", 101), ("logprobs", True),
        ("stop_token_ids", (-1,)),
    ],
)  # fmt: skip
def test_a_bad_parameter_is_named(field: str, value: Any) -> None:
    with pytest.raises(RequestError, match=field):
        SamplingParams(**{field: value})


def test_nan_raises_and_the_engine_lives_on() -> None:
    model = make_model()
    engine = Engine(model, max_slots=2)
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
