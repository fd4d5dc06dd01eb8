"""A replica's side: what it sends, in which pieces, and that a stream which nobody reads costs nothing more."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.engine.request import Request, SamplingParams, TokenEvent
from liaoliao.errors import ContextLengthError, OverloadedError
from liaoliao.server.replicas.replica import EngineReplica, bundled
from liaoliao.server.replicas.wire import Refusal, ReplicaPlan
from tests.engine.fake_runner import FakeRunner
from tests.server.replicas.local import LocalReplica, greedy, until

STEP_S = 0.005


async def paced(events: list[TokenEvent], gaps: list[int]) -> AsyncIterator[TokenEvent]:
    """The events, with so many turns of the loop before each."""
    for event, gap in zip(events, gaps, strict=True):
        for _ in range(gap):
            await asyncio.sleep(0)
        yield event


@given(st.lists(st.integers(0, 3), max_size=30), st.sampled_from([0.0, 0.0001, 0.002]))
def test_bundles_hold_every_event_in_order(gaps: list[int], pause_s: float) -> None:
    events = [TokenEvent(i, -0.5) for i in range(len(gaps))]

    async def main() -> list[tuple[TokenEvent, ...]]:
        return [bundle async for bundle in bundled(paced(events, gaps), lambda: pause_s)]

    bundles = asyncio.run(main())
    assert all(bundles)
    assert [event for bundle in bundles for event in bundle] == events


def test_the_first_comes_at_once_and_the_end_does_not_wait() -> None:
    async def main() -> None:
        events = [TokenEvent(i, -0.5) for i in range(50)]
        began = time.monotonic()
        bundles = [len(bundle) async for bundle in bundled(paced(events, [1] * 50), lambda: 60.0)]
        assert time.monotonic() - began < 30.0
        assert bundles == [1, 49]

    asyncio.run(main())


def test_bundles_end_in_the_error_of_what_they_read() -> None:
    async def failing() -> AsyncIterator[TokenEvent]:
        yield TokenEvent(1, -0.5)
        raise OverloadedError("full", retry_after_s=2.0)

    async def main() -> list[tuple[TokenEvent, ...]]:
        bundles = []
        with pytest.raises(OverloadedError, match="full"):
            async for bundle in bundled(failing(), lambda: 0.0):
                bundles.append(bundle)
        return bundles

    assert asyncio.run(main()) == [(TokenEvent(1, -0.5),)]


def test_a_stream_is_a_sign_of_life_and_what_the_engine_says() -> None:
    async def main() -> None:
        replica = LocalReplica(FakeRunner)
        pieces = [piece async for piece in replica.worker.stream(Request((1, 2, 3), greedy(9)))]
        assert pieces[0] == ()
        events = [event for piece in pieces if isinstance(piece, tuple) for event in piece]
        assert [event.token_id for event in events] == replica.runner.greedy((1, 2, 3), 9)
        assert events[-1].finish_reason == "length"
        await asyncio.to_thread(replica.served.close)

    asyncio.run(main())


def test_refusals_are_values() -> None:
    async def main() -> None:
        replica = LocalReplica(FakeRunner)
        pieces = [piece async for piece in replica.worker.stream(Request((1,) * 99))]
        assert isinstance(pieces[-1], Refusal)
        error = pieces[-1].error()
        assert isinstance(error, ContextLengthError) and (error.num_tokens, error.max_length) == (99, 64)
        refusal = await replica.worker.work("score", [[1] * 99])
        assert isinstance(refusal, Refusal) and refusal.kind == "ContextLengthError"
        replica.runner.fail = RuntimeError("out of memory")
        [_, refusal] = [piece async for piece in replica.worker.stream(Request((1, 2), greedy(3)))]
        assert refusal == Refusal("", "RuntimeError: out of memory")
        await asyncio.to_thread(replica.served.close)

    asyncio.run(main())


def test_health_is_that_of_the_engine() -> None:
    async def main() -> None:
        replica = LocalReplica(FakeRunner)
        await replica.worker.check_health()
        await asyncio.to_thread(replica.served.close)
        with pytest.raises(OverloadedError):
            await replica.worker.check_health()

    asyncio.run(main())


@pytest.mark.parametrize("speculate", [0, 3])
def test_a_plan_says_whether_it_guesses(model_folder: Path, speculate: int) -> None:
    async def main() -> None:
        replica = EngineReplica(ReplicaPlan(model_folder, dtype="fp32", speculate=speculate))
        async for _ in replica.stream(Request((5, 6, 7) * 5, greedy(4))):
            pass
        assert ((await replica.report()).stats.speculated > 0) == (speculate > 0)
        await asyncio.to_thread(replica._engine.close)

    asyncio.run(main())


def test_closing_a_stream_ends_it_within_two_steps() -> None:
    async def main() -> None:
        replica = LocalReplica(lambda: FakeRunner(delay_s=STEP_S))
        asked = Request((1, 2, 3), SamplingParams(temperature=0.0, max_tokens=60))
        pieces: AsyncGenerator[object, None] = replica.worker.stream(asked)
        async with aclosing(pieces):
            for _ in range(4):
                await anext(pieces)
            assert not replica.engine.idle
            steps = len(replica.runner.steps)
        await until(lambda: replica.engine.idle)
        assert len(replica.runner.steps) <= steps + 2
        await asyncio.to_thread(replica.served.close)

    asyncio.run(main())
