"""Several replicas are one engine: they say what one says, and who dies under load takes nothing with him."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liaoliao.engine.request import Request, SamplingParams, TokenEvent
from liaoliao.errors import ContextLengthError, OverloadedError, RequestError, UsageError
from liaoliao.server.app import create_app
from liaoliao.server.failures import ApiError
from liaoliao.server.replicas import front as front_module
from liaoliao.server.replicas.front import ReplicatedEngine
from liaoliao.server.replicas.wire import ReplicaLostError
from liaoliao.server.served import ServedEngine, ServedModel
from liaoliao.server.settings import Settings
from tests.engine.fake_runner import FakeRunner
from tests.engine.models import prompts
from tests.server.replicas.local import LocalReplica, fronted, greedy, until

STEP_S = 0.003


def slow() -> FakeRunner:
    return FakeRunner(delay_s=STEP_S)


async def collect(engine: ServedEngine, request: Request) -> list[TokenEvent]:
    return [event async for event in engine.stream(request)]


def ids_of(events: Sequence[TokenEvent]) -> list[int]:
    return [event.token_id for event in events]


def sampled(seed: int | None) -> SamplingParams:
    return SamplingParams(max_tokens=20, seed=seed)


def test_it_is_an_engine_and_needs_a_replica() -> None:
    async def main() -> None:
        async with fronted(LocalReplica(FakeRunner)) as front:
            assert isinstance(front, ServedEngine)
            assert (front.max_length, front.vocab_size) == (64, 61)

    asyncio.run(main())
    with pytest.raises(UsageError):
        ReplicatedEngine([])


def test_many_streams_say_what_one_engine_says() -> None:
    async def main() -> None:
        one, a, b = LocalReplica(FakeRunner), LocalReplica(FakeRunner), LocalReplica(FakeRunner)
        requests = [
            Request(ids, greedy(12) if i % 2 else sampled(i)) for i, ids in enumerate(prompts(40, seed=1))
        ]
        async with fronted(one) as single, fronted(a, b) as front:
            alone = [await collect(single, request) for request in requests]
            together = await asyncio.gather(*(collect(front, request) for request in requests))
            assert [ids_of(events) for events in together] == [ids_of(events) for events in alone]
            assert [[e.logprob for e in events] for events in together] == [
                [e.logprob for e in events] for events in alone
            ]
            assert a.num_asked and b.num_asked

    asyncio.run(main())


@settings(max_examples=4)
@given(st.integers(0, 1000), st.integers(0, 40))
def test_killing_one_under_load_loses_no_request(seed: int, patience: int) -> None:
    """Neither those that had not begun, nor those that had: what was said is not said twice, nor left out."""

    async def main() -> None:
        a, b = LocalReplica(slow), LocalReplica(slow)
        requests = [
            Request(ids, (greedy(12), sampled(seed), sampled(None))[i % 3])
            for i, ids in enumerate(prompts(18, seed=seed))
        ]
        one = LocalReplica(FakeRunner)
        async with fronted(a, b) as front, fronted(one) as single:
            tasks = [asyncio.create_task(collect(front, request)) for request in requests]
            for _ in range(patience):
                await asyncio.sleep(STEP_S / 2)
            a.kill()
            got = await asyncio.gather(*tasks)
            for request, events in zip(requests, got, strict=True):
                assert events[-1].finish_reason and not any(event.finish_reason for event in events[:-1])
                assert len({event.num_cached for event in events}) == 1
                if request.params.seed is not None or request.params.temperature == 0.0:
                    assert ids_of(events) == ids_of(await collect(single, request))

    asyncio.run(main())


def test_who_has_begun_notices_a_pause_only() -> None:
    async def main() -> None:
        replicas = LocalReplica(slow), LocalReplica(slow)
        async with fronted(*replicas) as front:
            said: list[int] = []
            async for event in front.stream(Request((1, 2, 3), sampled(5))):
                said.append(event.token_id)
                if len(said) == 5:
                    next(r for r in replicas if not r.engine.idle).kill()
            assert len(said) == 20
            assert said == ids_of(await collect(front, Request((1, 2, 3), sampled(5))))
            assert front.num_up == 1

    asyncio.run(main())


def test_a_reply_that_cannot_be_taken_up_alike_is_broken_off() -> None:
    async def main() -> None:
        replicas = [LocalReplica(lambda seed=seed: FakeRunner(seed=seed, delay_s=STEP_S)) for seed in (1, 2)]  # type: ignore[misc]
        async with fronted(*replicas) as front:
            said = []
            with pytest.raises(OverloadedError, match="would say something else"):
                async for event in front.stream(Request((1, 2, 3), greedy(20))):
                    said.append(event.token_id)
                    if len(said) == 5:
                        next(r for r in replicas if not r.engine.idle).kill()
            assert len(said) == 5

    asyncio.run(main())


def test_a_request_that_kills_is_not_tried_forever() -> None:
    class Killer(LocalReplica):
        async def stream(self, request: Request) -> AsyncIterator[tuple[TokenEvent, ...]]:  # type: ignore[override]
            self.num_asked += 1
            yield ()
            raise ReplicaLostError("killed")

    async def main() -> None:
        replicas = [Killer(FakeRunner) for _ in range(5)]
        async with fronted(*replicas) as front:
            with pytest.raises(OverloadedError):
                await collect(front, Request((1, 2)))
            assert sum(replica.num_asked for replica in replicas) == front_module.MAX_LOSSES

    asyncio.run(main())


def test_one_that_does_not_answer_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(front_module, "ARRIVAL_S", 0.5)

    async def main() -> None:
        a, b = LocalReplica(FakeRunner), LocalReplica(FakeRunner)
        async with fronted(a, b) as front:
            a.deaf = True
            got = await asyncio.gather(*(collect(front, Request(ids, greedy(5))) for ids in prompts(10)))
            assert [ids_of(events) for events in got] == [b.runner.greedy(ids, 5) for ids in prompts(10)]

    asyncio.run(main())


def test_refusals_come_as_themselves_and_are_asked_of_one_alone() -> None:
    async def main() -> None:
        a, b = LocalReplica(FakeRunner), LocalReplica(FakeRunner)
        async with fronted(a, b) as front:
            with pytest.raises(ContextLengthError) as caught:
                await collect(front, Request((1,) * 100))
            assert (caught.value.num_tokens, caught.value.max_length) == (100, 64)
            with pytest.raises(RequestError, match="empty"):
                await collect(front, Request(()))
            with pytest.raises(RequestError, match="outside of the vocabulary"):
                await front.score([[5, 99]])
            assert a.num_asked + b.num_asked == 2
            a.runner.fail = b.runner.fail = RuntimeError("a secret")
            with pytest.raises(ApiError) as failed:
                await collect(front, Request((1, 2)))
            assert failed.value.status == 500 and "secret" not in failed.value.message

    asyncio.run(main())


def test_a_full_one_passes_on_to_another_and_all_full_is_overload() -> None:
    async def main() -> None:
        replicas = [LocalReplica(slow, max_running=1, max_waiting=1) for _ in range(2)]
        async with fronted(*replicas) as front:
            # The same beginning for all: but for the bound and for refusals they would all be in one place.
            same = tuple(range(20))
            running = [asyncio.create_task(collect(front, Request(same, greedy(15)))) for _ in range(4)]
            await until(lambda: front.stats().num_running == 2 and front.stats().num_waiting == 2)
            await until(lambda: all(not replica.engine.idle for replica in replicas))
            with pytest.raises(OverloadedError) as caught:
                await collect(front, Request(same, greedy(15)))
            assert "waiting" in str(caught.value) and caught.value.retry_after_s >= 1.0
            assert len(await collect(front, Request(same, greedy(15), begun=True))) == 15
            for events in await asyncio.gather(*running):
                assert ids_of(events) == replicas[0].runner.greedy(same, 15)

    asyncio.run(main())


def test_nobody_up_is_overload_until_one_is_back_and_counts_go_on() -> None:
    async def main() -> None:
        a = LocalReplica(FakeRunner)
        async with fronted(a) as front:
            await collect(front, Request((1, 2, 3), greedy(10)))
            await until(lambda: front.stats().generated_tokens == 10)
            a.kill()
            with pytest.raises(OverloadedError, match=r"started anew|killed"):
                await collect(front, Request((1, 2, 3), greedy(10)))
            assert front.num_up == 0 and front.stats().generated_tokens == 10
            await asyncio.to_thread(a.served.close)
            a.start()
            await until(lambda: front.num_up == 1)
            await collect(front, Request((1, 2, 3), greedy(7)))
            await until(lambda: front.stats().generated_tokens == 17)
            assert front.stats().prompt_tokens == 6

    asyncio.run(main())


def test_ready_is_no_while_no_replica_is_up_and_yes_again_when_one_is_back(served: ServedModel) -> None:
    async def main() -> None:
        a, b = LocalReplica(FakeRunner), LocalReplica(FakeRunner)
        async with fronted(a, b) as front:
            app = create_app(Settings(), [replace(served, engine=front)])
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:

                async def ready() -> tuple[int, str]:
                    response = await client.get("/ready")
                    return response.status_code, response.json()["status"]

                assert await ready() == (200, "ready")
                a.kill()
                await until(lambda: front.num_up == 1)
                assert await ready() == (200, "ready")
                b.kill()
                await until(lambda: front.num_up == 0)
                assert await ready() == (503, "unavailable")
                await asyncio.to_thread(a.served.close)
                a.start()
                await until(lambda: front.num_up == 1)
                assert await ready() == (200, "ready")
                assert await front.drain(1.0)
                assert await ready() == (503, "unavailable")

    asyncio.run(main())


def test_a_conversation_is_read_once_wherever_it_began() -> None:
    """As many tokens come from the cache as in a single engine."""

    def roomy() -> FakeRunner:
        return FakeRunner(num_blocks=512, max_length=1024)

    async def talk(engine: ServedEngine, seed: int, cached: list[int]) -> None:
        text = tuple(random.Random(seed).randrange(61) for _ in range(40))
        for _ in range(5):
            events = await collect(engine, Request(text, greedy(10)))
            cached.append(events[0].num_cached)
            text += (*ids_of(events), *(random.Random(seed + 1).randrange(61) for _ in range(30)))

    async def main() -> None:
        one, a, b = LocalReplica(roomy), LocalReplica(roomy), LocalReplica(roomy)
        async with fronted(one) as single, fronted(a, b) as front:
            alone: list[int] = []
            together: list[int] = []
            for seed in range(4):
                await talk(single, seed, alone)
                await talk(front, seed, together)
            assert together == alone and sum(alone) > 0
            assert a.num_asked and b.num_asked

    asyncio.run(main())


def test_texts_are_scored_and_embedded_as_by_one_engine() -> None:
    async def main() -> None:
        one, a, b = LocalReplica(FakeRunner), LocalReplica(FakeRunner), LocalReplica(FakeRunner)
        batch = [list(ids) for ids in prompts(6, seed=3)]
        async with fronted(a, b) as front:
            assert await front.score(batch) == await one.served.score(batch)
            assert await front.score_top(batch, 3) == await one.served.score_top(batch, 3)
            assert (await front.embed(batch)).equal(await one.served.embed(batch))
            assert await front.score([]) == []
            a.kill()
            assert await front.score(batch) == await one.served.score(batch)
        await asyncio.to_thread(one.served.close)

    asyncio.run(main())


def test_closing_a_stream_frees_its_place_within_two_steps() -> None:
    async def main() -> None:
        replica = LocalReplica(slow)
        async with fronted(replica) as front:
            async with aclosing(front.stream(Request((1, 2, 3), greedy(50)))) as events:
                for _ in range(5):
                    await anext(events)
                steps = len(replica.runner.steps)
            await until(lambda: replica.engine.idle)
            assert len(replica.runner.steps) <= steps + 2
            assert front.stats().num_running == 0

    asyncio.run(main())


def test_draining_lets_those_finish_who_are_there() -> None:
    async def main() -> None:
        replicas = LocalReplica(slow), LocalReplica(slow)
        async with fronted(*replicas) as front:
            tasks = [asyncio.create_task(collect(front, Request(ids, greedy(10)))) for ids in prompts(6)]
            await until(lambda: front.stats().num_running == 6)
            assert not await front.drain(0.0)
            with pytest.raises(OverloadedError, match="shutting down"):
                await collect(front, Request((1, 2)))
            assert await front.drain(10.0)
            assert all(events[-1].finish_reason for events in await asyncio.gather(*tasks))

    asyncio.run(main())


def test_closing_ends_the_replicas_once() -> None:
    ended: list[int] = []
    replica = LocalReplica(FakeRunner)
    front = ReplicatedEngine([replica], on_close=lambda: ended.append(1))
    front.close()
    front.close()
    assert ended == [1]
    replica.served.close()
