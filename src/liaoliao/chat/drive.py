"""Drivers of a turn: the same state machine run by a synchronous engine, an asynchronous one, or many at once.

    for event in run(turn, engine.stream, tools): ...                 terminal
    async for event in run_async(turn, engine.stream, tools): ...     server
    run_batch(engine, turns, tools)                                   evaluation and rollouts

Tools are run between the replies of a turn; what they give back is part of its messages.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing

from liaoliao.chat.tools import ToolBox
from liaoliao.chat.turn import ChatEvent, Turn
from liaoliao.engine.engine import Engine
from liaoliao.engine.request import Request, TokenEvent
from liaoliao.errors import RequestError

Progress = Callable[[int, int], None]  # (finished turns, of all)


def run(
    turn: Turn, generate: Callable[[Request], Iterator[TokenEvent]], tools: ToolBox
) -> Iterator[ChatEvent]:
    """Drive a turn to its end, yielding events as they come. Closing the iterator stops the engine's work on
    it.
    """
    while not turn.done:
        yield from turn.recite()
        if not (turn.pending or turn.done):
            yield from _reply(turn, generate(turn.request()))
        if turn.pending:
            yield from turn.resolve(tools.run_all(turn.pending))


def _reply(turn: Turn, stream: Iterator[TokenEvent]) -> Iterator[ChatEvent]:
    try:
        for event in stream:
            yield from turn.feed(event)
            if not turn.generating:
                return
    finally:
        if hasattr(stream, "close"):
            stream.close()
    raise RequestError("the engine's answer broke off before its end")


async def run_async(
    turn: Turn, generate: Callable[[Request], AsyncIterator[TokenEvent]], tools: ToolBox
) -> AsyncIterator[ChatEvent]:
    """The same from an asynchronous engine; the tools of one reply run at the same time, in threads."""
    while not turn.done:
        for out in turn.recite():
            yield out
        if not (turn.pending or turn.done):
            async with aclosing(_reply_async(turn, generate(turn.request()))) as events:
                async for out in events:
                    yield out
        if turn.pending:
            results = await asyncio.gather(*(asyncio.to_thread(tools.run, call) for call in turn.pending))
            for out in turn.resolve(results):
                yield out


async def _reply_async(turn: Turn, stream: AsyncIterator[TokenEvent]) -> AsyncGenerator[ChatEvent, None]:
    try:
        async for event in stream:
            for out in turn.feed(event):
                yield out
            if not turn.generating:
                return
    finally:
        if hasattr(stream, "aclose"):
            await stream.aclose()
    raise RequestError("the engine's answer broke off before its end")


def run_batch(
    engine: Engine, turns: Sequence[Turn], tools: ToolBox, *, progress: Progress | None = None
) -> None:
    """Drive many turns to their ends, each as soon as it can go on; what they said is in `turn.new_messages`.

    The engine must have no other work, whose events would be lost here.
    """
    if not engine.idle:
        raise RequestError("the engine is busy with other requests; give the batch an engine of its own")
    requests = [(turn, _next_request(turn, tools)) for turn in turns if not turn.done]
    running: dict[int, Turn] = {}
    num_done = sum(turn.done for turn in turns)
    try:
        running.update({engine.add(request): turn for turn, request in requests if request is not None})
        while running:
            num_done += sum(_feed(engine, running, tools, *pair) for pair in engine.step())
            if progress is not None:
                progress(num_done, len(turns))
    finally:
        for request_id in running:
            engine.abort(request_id)


def _feed(
    engine: Engine, running: dict[int, Turn], tools: ToolBox, request_id: int, event: TokenEvent
) -> bool:
    """Give a turn its token, and if that ends the reply, send it on; True when the turn is done."""
    turn = running[request_id]
    turn.feed(event)
    if turn.generating:
        return False
    del running[request_id]
    engine.abort(request_id)  # a stop string ends a reply of which the engine knows nothing yet
    if turn.pending:
        try:
            if (request := _next_request(turn, tools)) is not None:
                running[engine.add(request)] = turn
        except RequestError:  # the results fill the context: this turn has no answer, the others go on
            turn.cut_short()
    return turn.done


def _next_request(turn: Turn, tools: ToolBox) -> Request | None:
    """What to ask of the engine next, behind what the opening says; None for a turn that is done with it."""
    while not turn.done:
        if turn.pending:
            turn.resolve(tools.run_all(turn.pending))
        turn.recite()
        if not (turn.pending or turn.done):
            return turn.request()
    return None
