"""vLLM behind our routes, against a stand-in for its documented interface; the real one: `make test-vllm`."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liaoliao.engine.async_engine import AsyncEngine
from liaoliao.engine.engine import Engine
from liaoliao.engine.load import load_runner
from liaoliao.engine.request import Request, SamplingParams, TokenEvent
from liaoliao.errors import ContextLengthError, OverloadedError, RequestError, UsageError
from liaoliao.server.app import create_app
from liaoliao.server.served import ServedEngine, served_model
from liaoliao.server.settings import Settings
from liaoliao.server.vllm_engine import NoGrammars, VllmEngine, served_vllm
from tests.engine.fake_runner import FakeRunner
from tests.engine.models import prompts
from tests.server import vllm_stand_in as stand_in
from tests.server.plain import ask

EOS = 7
PARAMS = st.builds(
    SamplingParams,
    max_tokens=st.none() | st.integers(1, 30),
    temperature=st.floats(0.0, 2.0),
    top_p=st.floats(0.1, 1.0),
    top_k=st.integers(0, 20),
    min_p=st.floats(0.0, 0.5),
    repetition_penalty=st.floats(0.5, 2.0),
    presence_penalty=st.floats(-2.0, 2.0),
    frequency_penalty=st.floats(-2.0, 2.0),
    logit_bias=st.dictionaries(st.integers(0, 60), st.floats(-100, 100), max_size=3).map(
        lambda biases: tuple(biases.items())
    ),
    seed=st.integers(0, 2**62),
    stop_token_ids=st.lists(st.integers(0, 60), max_size=3, unique=True).map(tuple),
    logprobs=st.integers(0, 5),
    ignore_eos=st.booleans(),
)


@asynccontextmanager
async def pair(**options: Any) -> AsyncIterator[tuple[AsyncEngine, VllmEngine, Any]]:
    """An engine of ours, and one around the stand-in with the same runner behind it; and the stand-in itself."""
    own = AsyncEngine(Engine(FakeRunner(eos_token_ids=(EOS,))))
    vllm = stand_in.stand_in(FakeRunner(**options))
    args = vllm.engine_args(model="m", skip_tokenizer_init=True, max_model_len=64)
    llm = vllm.engine.from_engine_args(args)
    engine = VllmEngine(vllm, llm, max_length=64, vocab_size=61, eos_ids=(EOS,), max_running=4, max_waiting=2)
    try:
        yield own, engine, llm
    finally:
        await asyncio.to_thread(engine.close)
        await asyncio.to_thread(own.close)
    assert llm.is_shut_down


async def collect(engine: ServedEngine, request: Request) -> list[TokenEvent]:
    return [event async for event in engine.stream(request)]


@settings(max_examples=8)
@given(PARAMS, st.integers(0, 50))
def test_it_says_what_our_engine_says(params: SamplingParams, seed: int) -> None:
    async def main() -> None:
        async with pair() as (own, engine, _):
            assert isinstance(engine, ServedEngine)
            for ids in prompts(2, seed=seed):
                request = Request(ids, params)
                assert await collect(engine, request) == await collect(own, request)

    asyncio.run(main())


def test_settings_arrive_under_vllms_names() -> None:
    async def main() -> None:
        params = SamplingParams(
            max_tokens=500, temperature=0.5, top_p=0.9, top_k=5, min_p=0.1, repetition_penalty=1.1,
            presence_penalty=0.2, frequency_penalty=0.3, logit_bias=((3, -100.0),), seed=2**64 + 5,
            stop_token_ids=(9,), logprobs=2,
        )  # fmt: skip
        async with pair() as (_, engine, llm):
            await collect(engine, Request((1, 2, 3), params))
            await collect(engine, Request((1, 2, 3), SamplingParams(ignore_eos=True)))
            asked, plain = llm.asked
        assert asked == stand_in.SamplingParams(
            max_tokens=61, temperature=0.5, top_p=0.9, top_k=5, min_p=0.1, repetition_penalty=1.1,
            presence_penalty=0.2, frequency_penalty=0.3, logit_bias={3: -100.0}, seed=5,
            stop_token_ids=[EOS, 9], logprobs=2, detokenize=False,
            output_kind=stand_in.RequestOutputKind.DELTA,
        )  # fmt: skip
        assert plain.ignore_eos and plain.stop_token_ids == [] and plain.seed is None
        assert plain.logit_bias is None and plain.logprobs == 0

    asyncio.run(main())


def test_texts_are_scored_as_by_our_engine() -> None:
    async def main() -> None:
        async with pair() as (own, engine, _):
            batch = [*map(list, prompts(5, seed=2)), [4], []]
            for got, wanted in zip(await engine.score(batch), await own.score(batch), strict=True):
                assert got == pytest.approx(wanted, abs=1e-5)
            assert await engine.score_top(batch, 3) == await own.score_top(batch, 3)

    asyncio.run(main())


def test_what_it_cannot_do_it_says() -> None:
    class Anything:
        def start(self) -> Any:
            raise AssertionError

    async def main() -> None:
        async with pair() as (_, engine, llm):
            with pytest.raises(RequestError, match=r"vLLM.*grammars"):
                await collect(engine, Request((1, 2), grammar=Anything()))
            with pytest.raises(RequestError, match=r"vLLM.*embeddings"):
                await engine.embed([[1, 2]])
            with pytest.raises(ContextLengthError) as caught:
                await collect(engine, Request((1,) * 64))
            assert (caught.value.num_tokens, caught.value.max_length) == (64, 64)
            with pytest.raises(RequestError, match="empty"):
                await collect(engine, Request(()))
            with pytest.raises(RequestError, match="vocabulary"):
                await engine.score([[1, 61]])
            assert not llm.asked

    asyncio.run(main())
    for refuse in (
        NoGrammars().json_object,
        lambda: NoGrammars().json_schema({}),
        lambda: NoGrammars().tool_call(()),
    ):
        with pytest.raises(RequestError, match="vLLM"):
            refuse()


def test_a_flood_is_overload_and_counted() -> None:
    async def main() -> None:
        async with pair(delay_s=0.003) as (_, engine, _llm):
            request = Request((1, 2, 3), SamplingParams(max_tokens=10, temperature=0.0))
            tasks = [asyncio.create_task(collect(engine, request)) for _ in range(6)]
            await asyncio.sleep(0)
            assert (engine.stats().num_running, engine.stats().num_waiting) == (4, 2)
            with pytest.raises(OverloadedError, match="waiting"):
                await collect(engine, request)
            assert not await engine.drain(0.0)
            assert all(events[-1].finish_reason for events in await asyncio.gather(*tasks))
            assert await engine.drain(1.0)
            stats = engine.stats()
            assert (stats.num_running, stats.prompt_tokens, stats.generated_tokens) == (0, 18, 60)
            with pytest.raises(OverloadedError, match="shutting down"):
                await collect(engine, request)

    asyncio.run(main())


def test_an_answer_that_has_begun_goes_on_however_many_wait() -> None:
    async def main() -> None:
        async with pair(delay_s=0.003) as (_, engine, _llm):
            request = Request((1, 2, 3), SamplingParams(max_tokens=10, temperature=0.0))
            tasks = [asyncio.create_task(collect(engine, request)) for _ in range(6)]
            await asyncio.sleep(0)
            assert len(await collect(engine, replace(request, begun=True))) == 10
            await asyncio.gather(*tasks)

    asyncio.run(main())


def test_leaving_a_stream_leaves_vllms() -> None:
    async def main() -> None:
        async with pair(delay_s=0.003) as (_, engine, llm):
            async with aclosing(engine.stream(Request((1, 2, 3)))) as events:
                await anext(events)
            for _ in range(1000):
                if not llm.engine.stats().num_running:
                    break
                await asyncio.sleep(0.003)
            assert llm.engine.stats().num_running == engine.stats().num_running == 0

    asyncio.run(main())


@pytest.mark.parametrize("reason", ["abort", "error"])
def test_a_reply_that_vllm_gives_up_is_to_be_asked_again(reason: str) -> None:
    async def main() -> None:
        async with pair() as (_, engine, llm):
            llm.end_as = reason
            with pytest.raises(OverloadedError, match=reason):
                await collect(engine, Request((1, 2), SamplingParams(max_tokens=5)))

    asyncio.run(main())


def test_what_vllm_refuses_is_refused() -> None:
    async def main() -> None:
        async with pair() as (_, engine, llm):
            llm.args = replace(llm.args, max_model_len=4)
            with pytest.raises(RequestError, match="longer than the model"):
                await collect(engine, Request((1, 2, 3, 4, 5)))

    asyncio.run(main())


def test_the_same_app_in_front(monkeypatch: pytest.MonkeyPatch, model_folder: Path) -> None:
    stand_in.installed(monkeypatch, load_runner(model_folder, dtype="fp32"))
    lines: list[str] = []
    served = served_vllm(model_folder, dtype="fp32", speculate=0, on_progress=lines.append)
    own = served_model(model_folder, dtype="fp32")
    answers = []
    try:
        for model in (served, own):
            app = create_app(Settings(), [model])
            body = {"model": "tiny", "messages": [{"role": "user", "content": "the cat"}], "seed": 3}
            wanted = {**body, "max_tokens": 8, "logprobs": True, "top_logprobs": 2}
            answers.append(ask(app, "/v1/chat/completions", method="POST", json=wanted).json()["choices"])
            if model is served:
                formed = {**body, "response_format": {"type": "json_object"}}
                refused = ask(app, "/v1/chat/completions", method="POST", json=formed)
                assert refused.status_code == 400
                assert "vLLM and cannot do response_format json_object" in refused.json()["error"]["message"]
                embed = {"model": "tiny", "input": "the cat"}
                assert ask(app, "/v1/embeddings", method="POST", json=embed).status_code == 400
    finally:
        served.engine.close()
        own.engine.close()
    assert answers[0] == answers[1]
    assert lines == ["starting vLLM"]


def test_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch, model_folder: Path) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(UsageError, match="--backend vllm needs vLLM"):
        served_vllm(model_folder)
    with pytest.raises(UsageError, match="--dtype int8 is not possible"):
        served_vllm(model_folder, dtype="int8")
    with pytest.raises(UsageError, match="--speculate is not possible"):
        served_vllm(model_folder, speculate=4)
