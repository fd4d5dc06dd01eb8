"""A replica in this process that can be killed: what goes in and out is copied as if it were sent."""

import asyncio
import copy
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from concurrent import futures
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any

from liaoliao.engine.async_engine import AsyncEngine
from liaoliao.engine.engine import Engine
from liaoliao.engine.request import Grammar, Request, SamplingParams
from liaoliao.errors import RequestError
from liaoliao.messages import Tool
from liaoliao.server.replicas.front import ReplicatedEngine
from liaoliao.server.replicas.replica import EngineReplica
from liaoliao.server.replicas.wire import Job, Piece, ReplicaLostError, Report
from liaoliao.server.served import Grammars
from tests.engine.fake_runner import FakeRunner

WAIT_S = 20.0  # more than anything here takes, on a busy machine too
POLL_S = 0.01


class Unused:
    """Grammars of a test that has none."""

    def json_object(self) -> Grammar:
        raise RequestError("no grammars here")

    def json_schema(self, schema: Mapping[str, Any]) -> Grammar:
        raise RequestError("no grammars here")

    def tool_call(self, tools: Sequence[Tool], *, name: str | None = None) -> Grammar:
        raise RequestError("no grammars here")


class LocalReplica:
    """`make_runner` is called at each start. While `deaf`, requests do not arrive."""

    def __init__(
        self,
        make_runner: Callable[[], FakeRunner],
        *,
        max_running: int = 8,
        max_waiting: int = 64,
        grammars: Grammars | None = None,
    ) -> None:
        self._make, self._max_running, self._max_waiting = make_runner, max_running, max_waiting
        self._grammars = grammars or Unused()
        self.deaf, self.num_asked = False, 0
        self.start()

    def start(self) -> None:
        self.runner = self._make()
        self.engine = Engine(self.runner, max_running=self._max_running)
        self.served = AsyncEngine(self.engine, max_waiting=self._max_waiting)
        self.worker = EngineReplica.around(self.served, self._max_running, self._grammars)
        self.dead = asyncio.Event()

    def kill(self) -> None:
        """From one moment to the next nothing comes any more."""
        self.dead.set()

    async def stream(self, request: Request) -> AsyncGenerator[Piece, None]:
        worker, dead = self.worker, self.dead
        self.num_asked += 1
        if self.deaf:
            await asyncio.sleep(WAIT_S)
        async with aclosing(worker.stream(copy.deepcopy(request))) as pieces:
            while True:
                try:
                    piece = await _unless(dead, anext(pieces))
                except StopAsyncIteration:
                    return
                yield copy.deepcopy(piece)

    async def work(self, job: Job, *args: Any) -> Any:
        result = await _unless(self.dead, self.worker.work(job, *copy.deepcopy(args)))
        return copy.deepcopy(result)

    def report(self, timeout_s: float) -> Report:
        if self.dead.is_set():
            raise ReplicaLostError("killed")
        with futures.ThreadPoolExecutor(1) as other:  # here a loop may be running
            return other.submit(asyncio.run, self.worker.report()).result(timeout_s)


async def _unless(dead: asyncio.Event, coming: Any) -> Any:
    """What is coming, unless death comes first."""
    if dead.is_set():
        coming.close()
        raise ReplicaLostError("killed")
    task, death = asyncio.ensure_future(coming), asyncio.ensure_future(dead.wait())
    try:
        await asyncio.wait((task, death), return_when=asyncio.FIRST_COMPLETED)
        if dead.is_set():
            raise ReplicaLostError("killed")
        return task.result()
    finally:
        death.cancel()
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                await task


@asynccontextmanager
async def fronted(*replicas: LocalReplica) -> AsyncIterator[ReplicatedEngine]:
    """The replicas behind a front; at the end nothing is left behind in any of them that lives."""
    front = ReplicatedEngine(replicas, poll_s=POLL_S)
    try:
        yield front
        for replica in replicas:
            if not replica.dead.is_set():
                await until(lambda engine=replica.engine: engine.idle)  # type: ignore[misc]
                replica.engine.check_integrity()
        assert not any(place.in_hand for place in front._places)
    finally:
        front.close()
        for replica in replicas:
            await asyncio.to_thread(replica.served.close)


async def until(happened: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not happened():
        assert time.monotonic() < deadline, "this should have happened by now"
        await asyncio.sleep(0.001)


def greedy(max_tokens: int) -> SamplingParams:
    return SamplingParams(temperature=0.0, max_tokens=max_tokens)
