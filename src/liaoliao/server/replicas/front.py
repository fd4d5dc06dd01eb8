"""The replicas as one engine, for the app: places requests, and hides that a replica was lost.

    engine = ReplicatedEngine([replica, replica], on_close=stop_ray)
    async for event in engine.stream(request): ...          as AsyncEngine.stream
    engine.stats()                                          all together

A reply whose replica is lost is asked for once more elsewhere. Equal seeds give equal tokens on every replica, so what was
passed on already is skipped, and whoever reads the stream notices a pause. Where that does not hold (another kind of
processor, other weights by now) the reply ends in OverloadedError; one of which nothing was passed on never does for that.
"""

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from liaoliao.engine.engine import EngineStats
from liaoliao.engine.request import Request, TokenEvent
from liaoliao.errors import OverloadedError, UsageError
from liaoliao.server.replicas.routing import Router
from liaoliao.server.replicas.wire import Job, Refusal, Replica, ReplicaLostError, Report

_LOG = logging.getLogger(__name__)
ARRIVAL_S = 5.0  # within which a replica says that it has a request
MAX_LOSSES = 3  # of one request; perhaps it is what kills them
_POLL_S, _POLL_TIMEOUT_S = 1.0, 10.0
_DRAIN_POLL_S = 0.02
_RETRY_S = 5.0
_COUNTERS = ("prompt_tokens", "cached_tokens", "generated_tokens", "preemptions", "speculated", "accepted")


@dataclass(slots=True)
class _Place:
    """A replica, and what the front knows of it."""

    replica: Replica
    last: Report
    up: bool = True
    in_hand: int = 0  # requests
    before: EngineStats | None = None  # what earlier instances have counted


class _Tried:
    """Where one request has been already, and why not there."""

    def __init__(self) -> None:
        self.lost: set[int] = set()
        self.full: dict[int, OverloadedError] = {}


class ReplicatedEngine:
    """A `ServedEngine` of several replicas, all of one model. `on_close` ends them.

    Raises ReplicaLostError for a replica that does not report at the beginning.
    """

    def __init__(
        self,
        replicas: Sequence[Replica],
        *,
        on_close: Callable[[], None] = lambda: None,
        poll_s: float = _POLL_S,
    ) -> None:
        if not replicas:
            raise UsageError("there must be one replica at least")
        self._places = [_Place(replica, replica.report(_POLL_TIMEOUT_S)) for replica in replicas]
        self._on_close, self._poll_s = on_close, poll_s
        self._router = Router()
        self._lock = threading.Lock()  # guards the places and the router
        self._accepting, self._closed = True, threading.Event()
        for index in range(len(replicas)):
            threading.Thread(target=self._watch, args=(index,), name=f"replica-{index}", daemon=True).start()

    @property
    def max_length(self) -> int:
        """Tokens that a prompt and its reply may have together."""
        return min(place.last.max_length for place in self._places)

    @property
    def vocab_size(self) -> int:
        """Token ids go from 0 to one less."""
        return min(place.last.vocab_size for place in self._places)

    @property
    def num_up(self) -> int:
        """Replicas that answer."""
        return sum(place.up for place in self._places)

    @property
    def accepting(self) -> bool:
        """Whether requests are taken: not while it drains, nor while no replica is up."""
        return self._accepting and self.num_up > 0

    async def stream(self, request: Request) -> AsyncGenerator[TokenEvent, None]:
        """The events of one reply. Closing the generator frees what the request holds in its replica.

        Raises ContextLengthError or RequestError for a bad request, OverloadedError where all replicas are full or none is
        up; also for a reply that was lost half way and cannot be taken up elsewhere.
        """
        request, tried = _repeatable(request), _Tried()
        passed: list[TokenEvent] = []
        while not (passed and passed[-1].finish_reason):
            index = self._choose(request.token_ids, tried, begun=request.begun)
            try:
                with self._in_hand(index):
                    async with aclosing(self._reply(index, request)) as events:
                        num_seen = 0
                        async for event in events:
                            num_seen += 1
                            if num_seen <= len(passed):
                                _check_same(event, passed[num_seen - 1])
                                continue
                            passed.append(_like(event, passed))
                            yield passed[-1]
            except ReplicaLostError as error:
                self._lost(index, tried, error)
            except OverloadedError as error:
                if passed:
                    raise
                tried.full[index] = error

    async def score(self, batch: Sequence[Sequence[int]]) -> list[list[float]]:
        """The logprob of every token given those before it; 0.0 for the first."""
        scores: list[list[float]] = await self._work("score", batch)
        return scores

    async def score_top(self, batch: Sequence[Sequence[int]], num_top: int) -> list[list[TokenEvent]]:
        """Each token with its logprob as in `score`, and `num_top` alternatives beside it (none for the first)."""
        events: list[list[TokenEvent]] = await self._work("score_top", batch, num_top)
        return events

    async def embed(self, batch: Sequence[Sequence[int]]) -> Float[Tensor, "B D"]:
        """The mean hidden state of each row of token ids."""
        vectors = await self._work("embed", batch)
        return torch.from_numpy(np.array(vectors))  # a copy: what comes from elsewhere is read-only

    def stats(self) -> EngineStats:
        """Figures of all replicas together: requests as of now, the rest up to a second old. What a replica counted
        before it was lost stays counted. The version is that of the first one that is up.
        """
        with self._lock:
            places = [replace(place) for place in self._places]
        up = [place for place in places if place.up]
        counted = [place.last.stats for place in places] + [p.before for p in places if p.before is not None]
        return EngineStats(
            num_running=sum(min(place.in_hand, place.last.max_running) for place in places),
            num_waiting=sum(max(place.in_hand - place.last.max_running, 0) for place in places),
            num_blocks=sum(place.last.stats.num_blocks for place in up),
            num_free_blocks=sum(place.last.stats.num_free_blocks for place in up),
            version=(up or places)[0].last.stats.version,
            **{name: sum(getattr(stats, name) for stats in counted) for name in _COUNTERS},
        )

    async def drain(self, timeout_s: float) -> bool:
        """Accept nothing more and wait for what runs; whether it came to its end in time."""
        self._accepting = False
        deadline = time.monotonic() + timeout_s
        while (busy := any(place.in_hand for place in self._places)) and time.monotonic() < deadline:
            await asyncio.sleep(_DRAIN_POLL_S)
        return not busy

    def close(self) -> None:
        """Stop for good, the replicas too."""
        self._accepting = False
        if not self._closed.is_set():
            self._closed.set()
            self._on_close()

    # ------------------------------------------------------------ one request

    def _choose(self, token_ids: Sequence[int], tried: _Tried, *, begun: bool = False) -> int:
        """The replica to ask next. Raises OverloadedError where there is none."""
        if self._closed.is_set() or not (self._accepting or begun):
            raise OverloadedError("the engine is shutting down", retry_after_s=_RETRY_S)
        with self._lock:
            out = tried.lost | tried.full.keys()
            loads = {i: place.in_hand for i, place in enumerate(self._places) if place.up and i not in out}
            order = self._router.order(token_ids, loads)
            if order:
                self._router.sent(token_ids, order[0])
                return order[0]
        if tried.full:
            raise min(tried.full.values(), key=lambda error: error.retry_after_s)
        raise OverloadedError(
            "no replica is up; they are being started anew, try again later", retry_after_s=_RETRY_S
        )

    async def _reply(self, index: int, request: Request) -> AsyncGenerator[TokenEvent, None]:
        """The events that one replica sends. Raises what it refuses with, and ReplicaLostError where it falls silent."""
        async with aclosing(self._places[index].replica.stream(request)) as pieces:
            try:
                async with asyncio.timeout(ARRIVAL_S):
                    await anext(pieces)
            except (TimeoutError, StopAsyncIteration):
                raise ReplicaLostError(f"replica {index} does not take requests") from None
            async for piece in pieces:
                if isinstance(piece, Refusal):
                    raise _told(piece, index)
                for event in piece:
                    yield event
                    if event.finish_reason:
                        return
        raise ReplicaLostError(f"replica {index} ended its answer before the end")

    async def _work(self, job: Job, batch: Sequence[Sequence[int]], *args: Any) -> Any:
        """What one replica says of a batch; another one is asked if it is lost or full."""
        tried, rows = _Tried(), [list(token_ids) for token_ids in batch]
        while True:
            index = self._choose(rows[0] if rows else (), tried)
            try:
                with self._in_hand(index):
                    result = await self._places[index].replica.work(job, rows, *args)
                if isinstance(result, Refusal):
                    raise _told(result, index)
                return result
            except ReplicaLostError as error:
                self._lost(index, tried, error)
            except OverloadedError as error:
                tried.full[index] = error

    @contextmanager
    def _in_hand(self, index: int) -> Iterator[None]:
        """One request more at this replica, while it lasts."""
        place = self._places[index]
        with self._lock:
            place.in_hand += 1
        try:
            yield
        finally:
            with self._lock:
                place.in_hand -= 1

    def _lost(self, index: int, tried: _Tried, error: ReplicaLostError) -> None:
        """Ask elsewhere from now on, until it reports again. Raises the error where this request has lost too many."""
        with self._lock:
            if self._places[index].up and not self._closed.is_set():
                _LOG.warning("replica %d was lost: %s", index, error)
            self._places[index].up = False
        tried.lost.add(index)
        if len(tried.lost) >= MAX_LOSSES:
            raise error

    # ------------------------------------------------------------ a thread for each replica

    def _watch(self, index: int) -> None:
        while not self._closed.wait(self._poll_s):
            try:
                report = self._places[index].replica.report(_POLL_TIMEOUT_S)
            except ReplicaLostError:
                self._places[index].up = False
            else:
                self._note(index, report)

    def _note(self, index: int, report: Report) -> None:
        """A replica answers. After a new start its counters begin at 0, and what it had read is gone."""
        with self._lock:
            place = self._places[index]
            if report.instance != place.last.instance:
                _LOG.warning("replica %d was started anew", index)
                place.before = _added(place.before, place.last.stats)
                self._router.forget(index)
            place.last, place.up = report, True


def _repeatable(request: Request) -> Request:
    """The request with a seed, so that asked twice it is answered alike."""
    if request.params.seed is not None:
        return request
    return replace(request, params=replace(request.params, seed=secrets.randbits(32)))


def _check_same(event: TokenEvent, before: TokenEvent) -> None:
    if event.token_id != before.token_id or event.finish_reason != before.finish_reason:
        raise OverloadedError(
            "the replica that was answering was lost, and another one would say something else; ask again",
            retry_after_s=1.0,
        )


def _like(event: TokenEvent, passed: Sequence[TokenEvent]) -> TokenEvent:
    """With the `num_cached` of the first event, wherever this one comes from."""
    if not passed or event.num_cached == passed[0].num_cached:
        return event
    return replace(event, num_cached=passed[0].num_cached)


def _told(refusal: Refusal, index: int) -> Exception:
    if not refusal.kind:
        _LOG.error("replica %d failed: %s", index, refusal.message)
    return refusal.error()


def _added(before: EngineStats | None, last: EngineStats) -> EngineStats:
    """The counters of both; the rest is of the last."""
    if before is None:
        return last
    return replace(last, **{name: getattr(before, name) + getattr(last, name) for name in _COUNTERS})
