"""Grammars behind tasks: none is made in a step, and one that fails takes no other reply's end with it."""

import asyncio
import threading

import pytest

from liaoliao.engine.request import Request, SamplingParams
from liaoliao.errors import RequestError
from tests.engine.fake_runner import FakeRunner
from tests.engine.models import Spelled
from tests.engine.test_async_engine import LONG, STEP_S, WAIT_S, collect, serving, until


class Costly:
    """A grammar that has to be made for each reply; tells the names of the threads that made it."""

    def __init__(self, token_ids: tuple[int, ...]) -> None:
        self.token_ids, self.made_by = token_ids, list[str]()

    def start(self) -> Spelled:
        raise AssertionError("this would compile it in a step")

    def for_reply(self) -> Spelled:
        self.made_by.append(threading.current_thread().name)
        return Spelled(self.token_ids)


def test_grammars_are_made_before_the_engine_s_thread_sees_them() -> None:
    """Once for each reply, also for one that is preempted and begins its grammar again."""

    async def main() -> None:
        text = tuple(range(30))
        grammar = Costly(text)
        async with serving(FakeRunner(num_blocks=6, delay_s=STEP_S)) as engine:
            asked = [Request((i,) * 12, LONG, grammar) for i in range(4)]
            assert await asyncio.gather(*(collect(engine, request) for request in asked)) == [list(text)] * 4
            assert engine.stats().preemptions > 0
        assert len(grammar.made_by) == 4
        assert "liaoliao-engine" not in grammar.made_by

    asyncio.run(main())


def test_the_end_of_a_reply_is_told_though_another_fails_in_the_same_step() -> None:
    async def main() -> None:
        runner, entered, gate = FakeRunner(), threading.Event(), threading.Event()

        def hold() -> None:
            entered.set()
            gate.wait(WAIT_S)

        async with serving(runner) as engine:
            holding = asyncio.create_task(engine._call(hold))  # until both requests are there
            await until(entered.is_set)
            three = SamplingParams(temperature=0.0, max_tokens=3)
            good = asyncio.create_task(collect(engine, Request((3, 4), three)))
            bad = asyncio.create_task(collect(engine, Request((1, 2), LONG, Spelled((1, 2, 3, 4), "mask"))))
            await until(lambda: len(engine._orders) == 2)
            gate.set()
            with pytest.raises(RequestError, match="lost its way"):
                await bad
            assert await asyncio.wait_for(good, WAIT_S) == runner.greedy((3, 4), 3)
            await holding

    asyncio.run(main())
