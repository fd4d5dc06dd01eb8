"""The engine in a process of its own, and what the front may ask of it.

    replica = EngineReplica(ReplicaPlan(Path("runs/7/model")))      Ray Serve makes one (`on_ray`), tests make others
    async for piece in replica.stream(request): ...                  (), (TokenEvent(9, -0.2),), (TokenEvent(4, ...), ...)

Nothing of Ray is imported here. Every answer is a value that can be sent, errors too.
"""

import asyncio
import logging
import os
import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing, suppress
from dataclasses import replace
from typing import Any

import torch

from liaoliao.chat.assistant import check_vocabulary, load_text
from liaoliao.engine.async_engine import AsyncEngine
from liaoliao.engine.engine import Engine
from liaoliao.engine.grammar import GrammarCompiler
from liaoliao.engine.load import load_runner
from liaoliao.engine.request import Request, TokenEvent
from liaoliao.errors import LiaoError, OverloadedError
from liaoliao.server.replicas.recipes import prepared
from liaoliao.server.replicas.wire import Job, Piece, Refusal, ReplicaPlan, Report
from liaoliao.server.served import Grammars

_LOG = logging.getLogger(__name__)
_PIECES_A_S = 1000  # that a replica sends at most, all its streams together: sending costs more than decoding


class EngineReplica:
    """An engine and its grammars, loaded by a plan. Raises UsageError and CheckpointError as `chat.assistant.load` does."""

    def __init__(self, plan: ReplicaPlan) -> None:
        if plan.num_threads is not None:
            torch.set_num_threads(plan.num_threads)
        runner = load_runner(plan.folder, dtype=plan.dtype, device=plan.device, num_threads=plan.num_threads)
        text = load_text(plan.folder)
        check_vocabulary(plan.folder, text.tokenizer, runner.vocab_size)
        engine = Engine(runner, max_running=plan.max_running, speculate=plan.speculate)
        served = AsyncEngine(engine, max_waiting=plan.max_waiting)
        self._begin(served, plan.max_running, GrammarCompiler(text.tokenizer, text.template.stop_ids))

    @classmethod
    def around(cls, engine: AsyncEngine, max_running: int, grammars: Grammars) -> "EngineReplica":
        """With an engine that there is already."""
        replica = cls.__new__(cls)
        replica._begin(engine, max_running, grammars)
        return replica

    def _begin(self, engine: AsyncEngine, max_running: int, grammars: Grammars) -> None:
        self._engine, self._max_running, self._grammars = engine, max_running, grammars
        self._instance, self._num_streams = secrets.token_hex(8), 0

    async def stream(self, request: Request) -> AsyncGenerator[Piece, None]:
        """See `wire.Replica.stream`."""
        yield ()
        self._num_streams += 1
        try:
            ready = request
            if request.grammar is not None:  # compiled here and now, it would hold up all other streams
                made = await asyncio.to_thread(prepared, request.grammar, self._grammars)
                ready = replace(request, grammar=made)
            async with (
                aclosing(self._engine.stream(ready)) as events,
                aclosing(bundled(events, self._pause_s)) as bundles,
            ):
                async for bundle in bundles:
                    yield bundle
        except Exception as error:
            yield _refusal(error)
        finally:
            self._num_streams -= 1

    async def work(self, job: Job, *args: Any) -> Any:
        """See `wire.Replica.work`."""
        try:
            result = await getattr(self._engine, job)(*args)
        except Exception as error:
            return _refusal(error)
        return result.numpy() if isinstance(result, torch.Tensor) else result

    async def report(self) -> Report:
        """See `wire.Replica.report`."""
        engine = self._engine
        return Report(
            self._instance, os.getpid(), engine.max_length, engine.vocab_size, self._max_running,
            engine.stats(),
        )  # fmt: skip

    async def check_health(self) -> None:
        """Raise OverloadedError when the engine will never answer again: Ray Serve then starts another replica."""
        if not self._engine.accepting:
            raise OverloadedError("the engine has ended", retry_after_s=1.0)

    def _pause_s(self) -> float:
        """Between two pieces of a stream: nothing worth mentioning for one, but for a hundred a tenth of a second."""
        return self._num_streams / _PIECES_A_S


async def bundled(
    events: AsyncIterator[TokenEvent], pause_s: Callable[[], float]
) -> AsyncGenerator[tuple[TokenEvent, ...], None]:
    """The events in bundles, the first at once, the others after a pause with all that has come meanwhile; the last ends
    the pause. Closing the generator stops the reading of events.
    """
    box, wake, over = list[TokenEvent](), asyncio.Event(), asyncio.Event()

    async def fill() -> None:
        try:
            async for event in events:
                box.append(event)
                wake.set()
        finally:
            over.set()
            wake.set()

    reader = asyncio.create_task(fill())
    try:
        while box or not over.is_set():
            await wake.wait()
            wake.clear()
            bundle = tuple(box)
            box.clear()
            if bundle:
                yield bundle
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s()):
                        await over.wait()
        await reader
    finally:
        reader.cancel()
        await asyncio.gather(reader, return_exceptions=True)


def _refusal(error: Exception) -> Refusal:
    if not isinstance(error, LiaoError):
        _LOG.error("a request failed", exc_info=error)
    return Refusal.of(error)
