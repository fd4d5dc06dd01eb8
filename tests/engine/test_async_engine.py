"""The engine behind tasks: replies as without it, aborts within a step, failures and floods that stay where they are."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from liaoliao.engine.async_engine import PIECE_TOKENS, AsyncEngine
from liaoliao.engine.engine import Engine
from liaoliao.engine.request import Request, SamplingParams
from liaoliao.errors import CheckpointError, ContextLengthError, OverloadedError, RequestError
from tests.engine.fake_runner import FakeRunner
from tests.engine.models import prompts

GREEDY = SamplingParams(temperature=0.0, max_tokens=12)
LONG = SamplingParams(temperature=0.0, max_tokens=40)
STEP_S = 0.005  # of a runner that is slow enough to be watched
WAIT_S = 20.0  # more than anything here takes, on a busy machine too


@asynccontextmanager
async def serving(
    runner: FakeRunner, *, max_waiting: int = 256, max_running: int = 8
) -> AsyncIterator[AsyncEngine]:
    engine = Engine(runner, max_running=max_running)
    served = AsyncEngine(engine, max_waiting=max_waiting)
    try:
        yield served
        await until(lambda: engine.idle)
        engine.check_integrity()
    finally:
        await asyncio.to_thread(served.close)


async def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.001)


async def collect(engine: AsyncEngine, request: Request) -> list[int]:
    return [event.token_id async for event in engine.stream(request)]


def test_many_streams_say_what_each_says_alone() -> None:
    async def main() -> None:
        runner = FakeRunner()
        async with serving(runner) as engine:
            asked = prompts(30, seed=1)
            got = await asyncio.gather(*(collect(engine, Request(ids, GREEDY)) for ids in asked))
            assert got == [runner.greedy(ids, 12) for ids in asked]
            assert engine.stats().generated_tokens == 30 * 12
            assert (engine.max_length, engine.vocab_size) == (64, 61)

    asyncio.run(main())


def test_closing_a_stream_frees_its_place_within_a_step() -> None:
    async def main() -> None:
        runner = FakeRunner(delay_s=STEP_S)
        async with serving(runner) as engine:
            async with aclosing(engine.stream(Request((1, 2), LONG))) as stream:
                assert (await anext(stream)).token_id == runner.greedy((1, 2), 1)[0]
            num_steps = len(runner.steps)
            await until(lambda: engine.stats().num_running == 0)
            assert len(runner.steps) - num_steps <= 2
            num_steps = len(runner.steps)
            await asyncio.sleep(4 * STEP_S)
            assert len(runner.steps) == num_steps

    asyncio.run(main())


def test_a_cancelled_task_frees_its_place_and_disturbs_nobody() -> None:
    async def main() -> None:
        runner = FakeRunner(delay_s=STEP_S)
        async with serving(runner, max_running=2) as engine:
            other = asyncio.create_task(collect(engine, Request((9, 9), LONG)))
            tasks = [asyncio.create_task(collect(engine, Request(ids, LONG))) for ids in prompts(5)]
            await until(lambda: len(runner.steps) > 3)
            for task in tasks:
                task.cancel()
            await until(lambda: engine.stats().num_running + engine.stats().num_waiting == 1)
            assert await other == runner.greedy((9, 9), 40)

    asyncio.run(main())


def test_a_thousand_streams_that_are_left_leak_nothing() -> None:
    async def main() -> None:
        runner = FakeRunner(num_blocks=20)
        async with serving(runner, max_waiting=50) as engine:

            async def leave(num_events: int) -> None:
                async with aclosing(engine.stream(Request((1, 2, 3) * 10, LONG))) as stream:
                    for _ in range(num_events):
                        await anext(stream)

            for i in range(20):
                await asyncio.gather(*(leave((i + j) % 4) for j in range(50)))
            await until(lambda: engine.stats().num_free_blocks == 20)

    asyncio.run(main())


# ---------------------------------------------------------------- refusals


def test_a_full_queue_refuses_at_once_and_takes_the_next_when_there_is_room() -> None:
    async def main() -> None:
        async with serving(FakeRunner(delay_s=STEP_S), max_running=1, max_waiting=2) as engine:
            tasks = [asyncio.create_task(collect(engine, Request(ids, LONG))) for ids in prompts(3)]
            await until(lambda: engine.stats().num_running + engine.stats().num_waiting == 3)
            with pytest.raises(OverloadedError, match="2 requests are waiting beside 1") as caught:
                await collect(engine, Request((1,), GREEDY))
            assert 1.0 <= caught.value.retry_after_s <= 60.0
            with pytest.raises(OverloadedError):
                await engine.score([[1, 2]])
            tasks[2].cancel()
            await asyncio.wait(tasks[2:])
            assert len(await collect(engine, Request((1,), GREEDY))) == 12
            await asyncio.gather(*tasks[:2])

    asyncio.run(main())


def test_an_answer_that_has_begun_is_taken_however_many_wait() -> None:
    async def main() -> None:
        async with serving(FakeRunner(delay_s=STEP_S), max_running=1, max_waiting=0) as engine:
            first = asyncio.create_task(collect(engine, Request((9, 9), LONG)))
            await until(lambda: engine.stats().num_running == 1)
            with pytest.raises(OverloadedError):
                await collect(engine, Request((1, 2), GREEDY))
            assert len(await collect(engine, Request((1, 2), GREEDY, begun=True))) == 12
            assert len(await first) == 40

    asyncio.run(main())


def test_bad_requests_are_refused_before_anything_runs() -> None:
    async def main() -> None:
        runner = FakeRunner()
        async with serving(runner) as engine:
            with pytest.raises(RequestError, match="empty"):
                await collect(engine, Request(()))
            with pytest.raises(ContextLengthError, match="shorten"):
                await collect(engine, Request((1,) * 64))
            with pytest.raises(ContextLengthError):
                await engine.embed([[1] * 65])
            with pytest.raises(RequestError, match="vocabulary"):
                await engine.score([[61]])
            assert runner.steps == []

    asyncio.run(main())


# ---------------------------------------------------------------- failures


def test_a_failing_step_fails_those_in_it_and_the_engine_goes_on() -> None:
    async def main() -> None:
        runner = FakeRunner(delay_s=STEP_S)
        async with serving(runner, max_running=2) as engine:
            tasks = [
                asyncio.create_task(collect(engine, Request(ids, LONG))) for ids in prompts(4, longest=9)
            ]
            await until(lambda: len(runner.steps) > 3)
            runner.fail = RuntimeError("the device is gone")
            got = await asyncio.gather(*tasks, return_exceptions=True)
            assert [str(e) for e in got[:2]] == ["the device is gone"] * 2
            assert got[2:] == [runner.greedy(ids, 40) for ids in prompts(4, longest=9)[2:]]

    asyncio.run(main())


def test_nan_is_told_to_its_reader() -> None:
    async def main() -> None:
        runner = FakeRunner()
        runner.poison = 13
        async with serving(runner) as engine:
            with pytest.raises(CheckpointError, match="NaN"):
                await collect(engine, Request((1, 13), GREEDY))
            assert await collect(engine, Request((1, 2), GREEDY)) == runner.greedy((1, 2), 12)

    asyncio.run(main())


def test_a_failure_that_takes_nobody_with_it_ends_all_instead_of_coming_back_for_ever() -> None:
    async def main() -> None:
        async with serving(FakeRunner()) as engine:

            def broken() -> Any:
                raise RuntimeError("not of this step")

            step, engine._engine.step = engine._engine.step, broken  # type: ignore[method-assign]
            with pytest.raises(RuntimeError, match="not of this step"):
                await collect(engine, Request((1, 2), GREEDY))
            engine._engine.step = step  # type: ignore[method-assign]
            assert len(await collect(engine, Request((1, 2), GREEDY))) == 12

    asyncio.run(main())


# ---------------------------------------------------------------- jobs


def test_texts_are_scored_and_embedded_between_the_steps() -> None:
    async def main() -> None:
        runner = FakeRunner()
        async with serving(runner) as engine:
            texts = [list(ids) for ids in prompts(40, seed=2, longest=60)] + [[]]
            stream = asyncio.create_task(collect(engine, Request((1, 2), LONG)))
            assert await engine.score(texts) == runner.score(texts)
            assert await engine.score_top(texts, 2) == engine._engine.score_top(texts, 2)
            assert (await engine.embed(texts[:-1])).equal(runner.embed(texts[:-1]))
            assert (await engine.embed([])).shape == (0, runner.hidden_size)
            with pytest.raises(RequestError, match="empty"):
                await engine.embed([[]])
            assert await stream == runner.greedy((1, 2), 40)

    asyncio.run(main())


def test_a_long_job_lets_the_streams_go_on() -> None:
    async def main() -> None:
        runner = FakeRunner()
        score = runner.score
        sizes: list[int] = []

        def slow_score(batch: Any) -> list[list[float]]:
            sizes.append(sum(map(len, batch)))
            time.sleep(STEP_S)
            return score(batch)

        runner.score = slow_score  # type: ignore[method-assign]
        async with serving(runner) as engine:
            job = asyncio.create_task(engine.score([[1] * 60] * 60))
            assert len(await collect(engine, Request((1, 2), GREEDY))) == 12
            assert not job.done()
            assert len(await job) == 60
        assert max(sizes) <= PIECE_TOKENS and sum(sizes) == 3600

    asyncio.run(main())


def test_a_long_text_lets_the_streams_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is taken in pieces, which give what the whole would."""
    monkeypatch.setattr("liaoliao.engine.async_engine.PIECE_TOKENS", 8)

    async def main() -> None:
        runner = FakeRunner(delay_s=STEP_S)
        long = list(prompts(1, seed=4, longest=64)[0]) + [7] * 40
        long = long[:60]
        async with serving(runner) as engine:
            job = asyncio.create_task(engine.embed([long, [3, 4], long]))
            assert len(await collect(engine, Request((1, 2), GREEDY))) == 12
            assert not job.done()
            assert (await job).numpy() == pytest.approx(runner.embed([long, [3, 4], long]).numpy(), rel=1e-5)
            runner.delay_s = 0.0
            scores, expected = await engine.score([long, [3, 4]]), runner.score([long, [3, 4]])
            assert [pytest.approx(row, abs=1e-5) for row in expected] == scores
            ranked = await engine.score_top([[3, 4], long], 2)
            assert ranked == engine._engine.score_top([[3, 4], long], 2)

    asyncio.run(main())


def test_new_weights_come_between_two_steps() -> None:
    async def main() -> None:
        old, new = FakeRunner(delay_s=STEP_S), FakeRunner(seed=5)
        async with serving(old) as engine:
            before = asyncio.create_task(collect(engine, Request((1, 2), LONG)))
            await until(lambda: len(old.steps) > 2)
            await engine.update_weights(new, "v2")
            assert engine.stats().version == "v2"
            assert await collect(engine, Request((1, 2), LONG)) == new.greedy((1, 2), 40)
            assert await before == old.greedy((1, 2), 40)

    asyncio.run(main())


def test_weights_with_a_smaller_context_refuse_what_was_on_its_way() -> None:
    async def main() -> None:
        async with serving(FakeRunner()) as engine:
            engine._engine.check = lambda request: None  # type: ignore[method-assign]  # it had passed
            add = engine._engine.add

            def refuse(request: Request) -> int:
                raise ContextLengthError("too long now", num_tokens=60, max_length=32)

            engine._engine.add = refuse  # type: ignore[method-assign]
            with pytest.raises(ContextLengthError, match="too long now"):
                await collect(engine, Request((1,) * 60))
            engine._engine.add = add  # type: ignore[method-assign]

    asyncio.run(main())


# ---------------------------------------------------------------- the end


def test_draining_lets_replies_finish_and_takes_no_more() -> None:
    async def main() -> None:
        runner = FakeRunner(delay_s=STEP_S)
        async with serving(runner) as engine:
            task = asyncio.create_task(collect(engine, Request((1, 2), LONG)))
            await until(lambda: len(runner.steps) > 1)
            assert not await engine.drain(timeout_s=0.0)
            with pytest.raises(OverloadedError, match="shutting down"):
                await collect(engine, Request((1, 2), GREEDY))
            assert len(await collect(engine, Request((1, 2), GREEDY, begun=True))) == 12
            assert await engine.drain(timeout_s=WAIT_S)
            assert await task == runner.greedy((1, 2), 40)

    asyncio.run(main())


def test_closing_ends_what_is_open_and_leaves_nobody_waiting() -> None:
    async def main() -> None:
        engine = AsyncEngine(Engine(FakeRunner(delay_s=STEP_S), max_running=1))
        tasks: list[asyncio.Task[Any]] = []
        tasks += [asyncio.create_task(collect(engine, Request(ids, LONG))) for ids in prompts(3)]
        tasks.append(asyncio.create_task(engine.score([[1, 2]] * 2000)))
        await until(lambda: engine.stats().num_running == 1)
        engine.close()
        got = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), WAIT_S)
        assert all(isinstance(e, OverloadedError) for e in got), got
        with pytest.raises(OverloadedError):
            await engine.update_weights(FakeRunner())
        with pytest.raises(OverloadedError):
            await collect(engine, Request((1, 2), GREEDY, begun=True))
        engine.close()

    asyncio.run(main())


# ---------------------------------------------------------------- thread and loops


def test_an_idle_engine_sleeps() -> None:
    async def main() -> None:
        runner = FakeRunner()
        async with serving(runner) as engine:
            await collect(engine, Request((1, 2), GREEDY))
            num_steps, used = len(runner.steps), time.process_time()
            await asyncio.sleep(0.2)
            assert len(runner.steps) == num_steps and time.process_time() - used < 0.1

    asyncio.run(main())


def test_a_step_reaches_a_loop_in_one_call(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        runner, calls = FakeRunner(delay_s=STEP_S), list[int]()
        async with serving(runner) as engine:
            loop = asyncio.get_running_loop()
            call = loop.call_soon_threadsafe

            def counted(callback: Any, *args: Any, **kwargs: Any) -> Any:
                calls.append(len(args[0]))
                return call(callback, *args, **kwargs)

            monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
            await asyncio.gather(*(collect(engine, Request(ids, GREEDY)) for ids in prompts(8)))
            monkeypatch.undo()
        assert sum(calls) == 8 * 12 and len(calls) <= len(runner.steps)

    asyncio.run(main())


def test_several_loops_share_an_engine() -> None:
    runner = FakeRunner()
    engine = AsyncEngine(Engine(runner, max_running=4))
    got: dict[int, list[list[int]]] = {}

    def user(seed: int) -> None:
        async def main() -> None:
            asked = [Request(ids, GREEDY) for ids in prompts(6, seed=seed)]
            got[seed] = await asyncio.gather(*(collect(engine, request) for request in asked))

        asyncio.run(main())

    threads = [threading.Thread(target=user, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    engine.close()
    assert got == {s: [runner.greedy(ids, 12) for ids in prompts(6, seed=s)] for s in range(3)}


@pytest.fixture
def dead_loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def test_a_loop_that_has_gone_takes_its_streams_with_it(dead_loop: asyncio.AbstractEventLoop) -> None:
    engine = AsyncEngine(Engine(FakeRunner(delay_s=STEP_S)))
    stream = engine.stream(Request((1, 2), LONG))
    dead_loop.run_until_complete(anext(stream))
    dead_loop.close()

    async def main() -> None:
        await until(lambda: engine.stats().num_running == 0)
        assert engine.stats().generated_tokens < 40
        assert len(await collect(engine, Request((1, 2), GREEDY))) == 12

    asyncio.run(main())
    with pytest.raises(StopIteration):
        stream.aclose().send(None)
    engine.close()
