"""The engine for a server: one thread steps it, any number of tasks read their replies.

    engine = AsyncEngine(Engine(model), max_waiting=256)
    async for event in engine.stream(Request((5, 6, 7))): ...      # closing it, or cancelling the task, aborts
    await engine.update_weights(better, "v2")                      # running replies finish on the old weights
    await engine.drain(timeout_s=30)                               # nobody new; True when all have finished
    engine.close()

The thread alone touches the engine. Tasks leave orders (add, abort), all carried out before the next step, and jobs
(score, embed, exchange weights), one between two steps, so that whoever is being answered hardly notices. The events of
a step go to each event loop in one call. With nothing to do, the thread sleeps.
"""

import asyncio
import itertools
import threading
import time
from collections import defaultdict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from liaoliao.engine.engine import Engine, EngineStats
from liaoliao.engine.request import Request, TokenEvent, for_reply
from liaoliao.engine.runner import Runner
from liaoliao.errors import LiaoError, OverloadedError, RequestError
from liaoliao.model.transformer import Transformer

PIECE_TOKENS = (
    256  # texts to score or embed go through the model about so many tokens at a time, longer ones in pieces
)
_DRAIN_POLL_S = 0.02
_CLOSING_RETRY_S = 5.0
_LONGEST_RETRY_S = 60.0
_MEMORY = 0.9  # weight of the past in the running mean of how long a reply takes

_T = TypeVar("_T")


class AsyncEngine:
    """An engine that belongs to a thread of its own. At most `max_waiting` requests wait beside those that run."""

    def __init__(self, engine: Engine, *, max_waiting: int = 256) -> None:
        if max_waiting < 0:
            raise RequestError(f"max_waiting must be 0 or more, got {max_waiting}")
        self.max_waiting = max_waiting
        self._engine = engine
        self._wake = threading.Condition()  # guards what follows up to _closing
        self._orders: deque[Callable[[], None]] = deque()
        self._jobs: deque[Callable[[BaseException | None], None]] = deque()
        self._num_open = 0
        self._accepting, self._closing = True, False
        self._streams: dict[int, _Stream] = {}  # by request id; the thread's own
        self._reply_s = 1.0  # how long a reply takes, from its first token on
        self._compiling = ThreadPoolExecutor(1, thread_name_prefix="liaoliao-grammars")  # of one core at most
        self._thread = threading.Thread(target=self._work, name="liaoliao-engine", daemon=True)
        self._thread.start()

    @property
    def max_length(self) -> int:
        """Tokens that a prompt and its reply may have together."""
        return self._engine.max_length

    @property
    def vocab_size(self) -> int:
        """Token ids go from 0 to one less."""
        return self._engine.vocab_size

    @property
    def accepting(self) -> bool:
        """Whether requests are taken: not while it drains, and never again once it was closed or its thread has ended."""
        return self._accepting

    def stats(self) -> EngineStats:
        """Figures of this moment."""
        return self._engine.stats()

    async def stream(self, request: Request) -> AsyncGenerator[TokenEvent, None]:
        """The events of one reply as they come. Closing the generator frees what the request holds before the next
        step.

        Raises ContextLengthError or RequestError for a bad request and OverloadedError while too many wait (unless the
        request has `begun`), all before the first event; and what the model raised if it fails in mid-reply.
        """
        self._engine.check(request)
        loop = asyncio.get_running_loop()
        if request.grammar is not None:  # compiled in a step, it would hold up everybody
            self._check_room(begun=request.begun)
            made = await loop.run_in_executor(self._compiling, for_reply, request.grammar)
            request = replace(request, grammar=made)
        stream = _Stream(request, loop)
        self._open(stream)
        try:
            while True:
                item = await stream.mailbox.get()
                if isinstance(item, BaseException):
                    raise item
                yield item
                if item.finish_reason:
                    return
        finally:
            self._abandon(stream)

    async def score(self, batch: Sequence[Sequence[int]]) -> list[list[float]]:
        """See Engine.score. A few texts or a part of a long one at a time, between the steps of those who are being
        answered.
        """

        async def of_long(token_ids: Sequence[int]) -> list[float]:
            return [event.logprob for event in await self._ranked(token_ids, 0)]

        return list(itertools.chain(*await self._in_pieces(batch, self._engine.score, of_long)))

    async def score_top(self, batch: Sequence[Sequence[int]], num_top: int) -> list[list[TokenEvent]]:
        """See Engine.score_top. A little at a time, as `score`."""
        score = partial(self._engine.score_top, num_top=num_top)
        of_long = partial(self._ranked, num_top=num_top)
        return list(itertools.chain(*await self._in_pieces(batch, score, of_long)))

    async def embed(self, batch: Sequence[Sequence[int]]) -> Float[Tensor, "B D"]:
        """See Engine.embed. A little at a time, as `score`."""
        parts = await self._in_pieces(batch, self._engine.embed, self._mean_hidden)
        rows = [row.cpu() for part in parts for row in part]
        return torch.stack(rows) if rows else torch.empty(0, self._engine.runner.hidden_size)

    async def update_weights(self, model: Transformer | Runner, version: str = "") -> None:
        """See Engine.update_weights."""
        await self._call(partial(self._engine.update_weights, model, version))

    async def drain(self, timeout_s: float) -> bool:
        """Take no more requests, but for those that have `begun`, and wait for those there are; whether all have finished
        within `timeout_s`.
        """
        with self._wake:
            self._accepting = False
        deadline = time.monotonic() + timeout_s
        while self._num_open and time.monotonic() < deadline:
            await asyncio.sleep(_DRAIN_POLL_S)
        return not self._num_open

    def close(self) -> None:
        """Stop the thread once its step is over. Replies that have not finished end in OverloadedError."""
        with self._wake:
            self._accepting, self._closing = False, True
            self._wake.notify()
        self._thread.join()

    # ------------------------------------------------------------ any thread

    def _open(self, stream: "_Stream") -> None:
        with self._wake:
            self._check_room(begun=stream.request.begun)
            self._num_open += 1
            self._orders.append(partial(self._add, stream))
            self._wake.notify()

    def _abandon(self, stream: "_Stream") -> None:
        """Whoever read the stream has left."""
        with self._wake:
            if not stream.ended:
                self._end(stream)
                self._orders.append(partial(self._abort, stream))
                self._wake.notify()

    @contextmanager
    def _counted(self) -> Iterator[None]:
        """Something that takes a place like a stream, while it lasts."""
        with self._wake:
            self._check_room()
            self._num_open += 1
        try:
            yield
        finally:
            with self._wake:
                self._num_open -= 1

    async def _in_pieces(
        self,
        batch: Sequence[Sequence[int]],
        of_some: Callable[[list[Sequence[int]]], Any],
        of_long: Callable[[Sequence[int]], Awaitable[Any]],
    ) -> list[Any]:
        """What is to be said of each piece of a batch, which takes a place in the queue like a request: of a few texts in
        one call, of one that is long in several.
        """
        self._engine.check_texts(batch)
        said: list[Any] = []
        with self._counted():
            for texts in _pieces(batch):
                long = sum(map(len, texts)) > PIECE_TOKENS  # then it is a single one
                said.append([await of_long(texts[0])] if long else await self._call(partial(of_some, texts)))
        return said

    async def _ranked(self, token_ids: Sequence[int], num_top: int) -> list[TokenEvent]:
        """Engine.score_pieces of one text, a call for each piece."""
        pieces = await self._call(partial(self._engine.score_pieces, token_ids, num_top))
        events: list[TokenEvent] = []
        while piece := await self._call(partial(next, pieces, None)):
            events += piece
        return events

    async def _mean_hidden(self, token_ids: Sequence[int]) -> Float[Tensor, "D"]:
        """The mean of Engine.hidden_pieces of one text, a call for each piece."""
        pieces = await self._call(partial(self._engine.hidden_pieces, token_ids))
        total = torch.zeros(self._engine.runner.hidden_size)
        while (part := await self._call(partial(_next_sum, pieces))) is not None:
            total += part
        return total / len(token_ids)

    async def _call(self, function: Callable[[], _T]) -> _T:
        """Have the thread do something between two steps."""
        future: Future[_T] = Future()
        with self._wake:
            if self._closing:
                raise OverloadedError("the engine was closed", retry_after_s=_CLOSING_RETRY_S)
            self._jobs.append(partial(_fulfil, future, function))
            self._wake.notify()
        return await asyncio.wrap_future(future)

    def _check_room(self, *, begun: bool = False) -> None:
        """An answer that has begun is let go on, however many wait, and while the others are let finish, too."""
        if self._closing or not (self._accepting or begun):
            raise OverloadedError("the engine is shutting down", retry_after_s=_CLOSING_RETRY_S)
        if begun:
            return
        num_waiting, max_running = self._num_open - self._engine.max_running, self._engine.max_running
        if num_waiting >= self.max_waiting:
            half_of_the_queue_s = self._reply_s * self.max_waiting / max_running / 2
            raise OverloadedError(
                f"{num_waiting} requests are waiting beside {max_running} that run; try again later",
                retry_after_s=min(_LONGEST_RETRY_S, max(1.0, half_of_the_queue_s)),
            )

    def _end(self, stream: "_Stream") -> None:
        """Count a stream out, once; under the lock."""
        if not stream.ended:
            stream.ended = True
            self._num_open -= 1

    # ------------------------------------------------------------ the engine's thread

    def _work(self) -> None:
        try:
            while self._wait():
                self._turn()
        finally:  # however it ends, nobody is left waiting
            self._shut()

    def _turn(self) -> None:
        """All orders, one job, one step."""
        with self._wake:
            orders, self._orders = self._orders, deque()
            job = self._jobs.popleft() if self._jobs else None
        for order in orders:
            order()
        if job is not None:
            job(None)
        if not self._engine.idle:
            self._step()

    def _wait(self) -> bool:
        """Sleep until there is something to do; False when the engine is closed."""
        with self._wake:
            while not (self._closing or self._orders or self._jobs or not self._engine.idle):
                self._wake.wait()
            return not self._closing

    def _add(self, stream: "_Stream") -> None:
        if stream.ended:
            return
        try:
            stream.request_id = self._engine.add(stream.request)
            self._streams[stream.request_id] = stream
        except LiaoError as error:  # weights with a smaller context have come meanwhile
            self._post([(stream, error)])

    def _abort(self, stream: "_Stream") -> None:
        if stream.request_id in self._streams:
            del self._streams[stream.request_id]
            self._engine.abort(stream.request_id)

    def _step(self) -> None:
        try:
            events = self._engine.step()
        except Exception as error:
            self._fail(error)
            return
        self._post([(self._streams[i], event) for i, event in events if i in self._streams])

    def _fail(self, error: Exception) -> None:
        """Those whom the step dropped hear why. If it dropped nobody, nothing would be different next time: then all do."""
        failures = dict(self._engine.failures) or dict.fromkeys(self._streams, error)
        for request_id in failures:
            self._engine.abort(request_id)
        self._post([(self._streams[i], failures[i]) for i in failures if i in self._streams])

    def _post(self, items: "Iterable[tuple[_Stream, TokenEvent | BaseException]]") -> None:
        """Hand events and errors to the event loops of their readers, one call for each loop."""
        by_loop: dict[asyncio.AbstractEventLoop, list[tuple[_Stream, TokenEvent | BaseException]]]
        by_loop = defaultdict(list)
        for stream, item in items:
            by_loop[stream.loop].append((stream, item))
            self._note(stream, item)
        for loop, some in by_loop.items():
            try:
                loop.call_soon_threadsafe(_deliver, some)
            except RuntimeError:  # the loop is closed, and its readers with it
                for stream, _ in some:
                    self._abandon(stream)

    def _note(self, stream: "_Stream", item: TokenEvent | BaseException) -> None:
        """Keep count of who is still being answered, and of how long that takes."""
        if stream.first_at is None:
            stream.first_at = time.monotonic()
        if isinstance(item, TokenEvent) and not item.finish_reason:
            return
        if isinstance(item, TokenEvent):
            took = time.monotonic() - stream.first_at
            self._reply_s = _MEMORY * self._reply_s + (1 - _MEMORY) * took
        if stream.request_id is not None:
            self._streams.pop(stream.request_id, None)
        with self._wake:
            self._end(stream)

    def _shut(self) -> None:
        error = OverloadedError("the engine was closed", retry_after_s=_CLOSING_RETRY_S)
        with self._wake:
            self._accepting, self._closing = False, True
            orders, jobs = self._orders, self._jobs
        for order in orders:
            order()
        for job in jobs:
            job(error)
        for request_id in tuple(self._streams):
            self._engine.abort(request_id)
        self._post([(stream, error) for stream in tuple(self._streams.values())])


class _Stream:
    """One reply on its way from the thread to its reader."""

    def __init__(self, request: Request, loop: asyncio.AbstractEventLoop) -> None:
        self.request, self.loop = request, loop
        self.mailbox: asyncio.Queue[TokenEvent | BaseException] = asyncio.Queue()
        self.request_id: int | None = None  # once the thread has added it
        self.ended = False  # nothing more will come, or nobody reads any more
        self.first_at: float | None = None


def _deliver(items: "Sequence[tuple[_Stream, TokenEvent | BaseException]]") -> None:
    for stream, item in items:
        stream.mailbox.put_nowait(item)


def _fulfil(future: "Future[_T]", function: Callable[[], _T], refusal: BaseException | None) -> None:
    """Do a job, or refuse it; whoever waits for it gets the result or the error."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        if refusal is not None:
            raise refusal
        future.set_result(function())
    except BaseException as error:
        future.set_exception(error)


def _next_sum(pieces: Iterator[Float[Tensor, "N D"]]) -> Float[Tensor, "D"] | None:
    """The next piece summed up, before its memory is written again."""
    piece = next(pieces, None)
    return None if piece is None else piece.sum(0).cpu()


def _pieces(batch: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    """The texts in order, together at most PIECE_TOKENS, or a single one."""
    piece: list[Sequence[int]] = []
    for token_ids in batch:
        if piece and sum(map(len, piece)) + len(token_ids) > PIECE_TOKENS:
            yield piece
            piece = []
        piece.append(token_ids)
    if piece:
        yield piece
