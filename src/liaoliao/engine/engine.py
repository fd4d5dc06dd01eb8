"""The engine: requests in, tokens out, everyone advanced together one step at a time.

    engine = Engine(model, max_running=64)
    for event in engine.stream(Request((5, 6, 7))): ...           # one reply, token by token
    completions = engine.generate(requests, progress=print)       # many, batched, in the order asked
    logprobs = engine.score([[5, 6, 7]])                          # of given tokens

A server steps it in a thread (`async_engine.py`): `add`, `step` and `abort`. One thread at a time: the engine has no locks.

What is promised: the tokens of a greedy request, and of one with a seed, do not depend on what else runs, on how its
prompt was cut into pieces, on what was found in the prefix cache, on drafts, or on its being preempted and read again.
See `runner.py` for the one reservation, the last bit of a matrix product.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from liaoliao.engine.lane import Counters, Lane, LaneOptions
from liaoliao.engine.rank import rank_pieces
from liaoliao.engine.request import Completion, Request, TokenEvent, check_ids
from liaoliao.engine.runner import Runner, TorchRunner
from liaoliao.engine.scheduler import Sequence as Running
from liaoliao.errors import ContextLengthError, RequestError
from liaoliao.model.transformer import Transformer

Progress = Callable[[int, int], None]  # (finished, of all)


@dataclass(frozen=True, slots=True)
class EngineStats:
    """What the engine holds now, and what it has done since it was made."""

    num_running: int
    num_waiting: int
    num_blocks: int
    num_free_blocks: int
    prompt_tokens: int  # of requests that were answered, if only in part
    cached_tokens: int  # those of them that were found in the prefix cache
    generated_tokens: int
    preemptions: int
    speculated: int  # drafts tried
    accepted: int  # and come true
    version: str  # of the weights that new requests get


class Engine:
    """Runs a model for many requests at once.

    `max_running` is how many are answered together; the others wait. `max_length` bounds prompt and reply together,
    within what the model was made for and its key-value memory holds. `max_step_tokens` bounds a step, and with it how
    long a prompt keeps the others waiting. `speculate` is the most drafts a step has for a greedy request; 0: none.
    """

    def __init__(
        self,
        model: Transformer | Runner,
        *,
        max_running: int = 64,
        max_length: int | None = None,
        max_step_tokens: int = 2048,
        prefix_cache: bool = True,
        speculate: int = 0,
    ) -> None:
        if min(max_running, max_step_tokens, 1 if max_length is None else max_length) < 1 or speculate < 0:
            raise RequestError(
                "an engine needs max_running, max_length and max_step_tokens of at least 1, and speculate of 0 or more"
            )
        self._options = LaneOptions(max_running, max_length, max_step_tokens, prefix_cache, speculate)
        self._counters = Counters()
        self._lanes: list[Lane] = []  # the last takes new requests, others finish theirs
        self._ids = itertools.count()
        self._live: dict[int, tuple[Lane, Running]] = {}
        self._mailboxes: dict[int, deque[TokenEvent]] = {}  # of replies that a stream() is reading
        self._unclaimed: list[tuple[int, TokenEvent]] = []  # made by a stream()'s steps, owed to step()
        self._failures: dict[int, BaseException] = {}  # what ended a request that has not been told yet
        self.failures: dict[int, BaseException] = {}  # what `step` has just raised, by request id
        self.update_weights(model)

    @property
    def runner(self) -> Runner:
        """The model that new requests get."""
        return self._lanes[-1].runner

    @property
    def vocab_size(self) -> int:
        """Token ids go from 0 to one less."""
        return self.runner.vocab_size

    @property
    def max_length(self) -> int:
        """Tokens that a prompt and its reply may have together."""
        return self._lanes[-1].max_length

    @property
    def max_running(self) -> int:
        """Requests that are answered together."""
        return self._options.max_running

    # ------------------------------------------------------------ one step at a time

    def check(self, request: Request) -> None:
        """Raise ContextLengthError for a prompt that is too long, RequestError for one that is empty or has foreign
        ids. Any thread may ask.
        """
        num_tokens, max_length = len(request.token_ids), self.max_length
        if not num_tokens:
            raise RequestError("the prompt is empty; it needs at least one token")
        if num_tokens >= max_length:
            raise ContextLengthError(
                f"the prompt has {num_tokens} tokens and the context holds {max_length}, reply included; shorten it",
                num_tokens=num_tokens,
                max_length=max_length,
            )
        check_ids(request.token_ids, self.vocab_size)
        self._lanes[-1].check(request)

    def add(self, request: Request) -> int:
        """Queue a request and return its id. Raises what `check` raises."""
        self.check(request)
        lane, room = self._lanes[-1], self.max_length - len(request.token_ids)
        max_tokens = min(request.params.max_tokens or room, room)
        sequence = Running(next(self._ids), request, max_tokens, list(request.token_ids))
        lane.add(sequence)
        self._live[sequence.id] = lane, sequence
        return sequence.id

    def abort(self, request_id: int) -> None:
        """Forget a request and free what it holds; an id that has finished already is fine."""
        lane, sequence = self._live.pop(request_id, (None, None))
        if lane is not None and sequence is not None:
            lane.remove(sequence)
            self._close_lanes()
        self._mailboxes.pop(request_id, None)
        self._failures.pop(request_id, None)
        if self._unclaimed:
            self._unclaimed = [pair for pair in self._unclaimed if pair[0] != request_id]

    def step(self) -> list[tuple[int, TokenEvent]]:
        """Advance everyone by a token or more: (request id, event) pairs. Empty when there is nothing to do.

        Where something goes wrong, those whom it concerns are dropped, `failures` says who, and the error is raised. The
        others go on with the next step, which also has their events of this one.
        """
        self.failures = {}
        self._advance()
        for request_id in self._failures.keys() - self._mailboxes.keys():
            self.failures[request_id] = self._failures.pop(request_id)
        if self.failures:
            raise next(iter(self.failures.values()))
        events, self._unclaimed = self._unclaimed, []
        return events

    def alive(self, request_id: int) -> bool:
        """Whether a request is waiting or running: not finished, aborted or dropped."""
        return request_id in self._live

    @property
    def idle(self) -> bool:
        """Whether no request is waiting or running, and no event is owed to `step`."""
        return not (self._live or self._unclaimed)

    # ------------------------------------------------------------ whole replies

    def stream(self, request: Request) -> Iterator[TokenEvent]:
        """The events of one reply as they come; closing the iterator early aborts it. Others go on meanwhile."""
        request_id = self.add(request)
        mailbox = self._mailboxes[request_id] = deque()
        try:
            while True:
                while not mailbox:
                    self._check_alive(request_id)
                    self._advance()
                event = mailbox.popleft()
                yield event
                if event.finish_reason:
                    return
        finally:
            self.abort(request_id)

    def generate(self, requests: Sequence[Request], *, progress: Progress | None = None) -> list[Completion]:
        """Complete all requests, batched, and return them in order. `progress(finished, total)` after each step."""
        sequences: list[Running] = []
        try:
            for request in requests:
                request_id = self.add(request)
                sequences.append(self._live[request_id][1])
                self._mailboxes[request_id] = deque(maxlen=0)  # the sequence itself keeps the tokens
            unfinished = {sequence.id for sequence in sequences}
            while unfinished:
                unfinished.difference_update(self._advance())
                for request_id in unfinished - self._live.keys():
                    self._check_alive(request_id)
                if progress is not None:
                    progress(len(requests) - len(unfinished), len(requests))
        finally:
            for sequence in sequences:
                self.abort(sequence.id)
        return [_completion(sequence) for sequence in sequences]

    # ------------------------------------------------------------ given texts

    def score(self, batch: Sequence[Sequence[int]]) -> list[list[float]]:
        """The logprob of every token given those before it; the first has nothing before it and gets 0.0."""
        self.check_texts(batch)
        return self.runner.score(batch)

    def score_top(self, batch: Sequence[Sequence[int]], num_top: int) -> list[list[TokenEvent]]:
        """Every token with its logprob as in `score`, and the `num_top` likeliest in its place (none for the first)."""
        return [[e for piece in self.score_pieces(ids, num_top) for e in piece] for ids in batch]

    def score_pieces(self, token_ids: Sequence[int], num_top: int) -> Iterator[list[TokenEvent]]:
        """`score_top` of one text, a piece at a time: with a long one, others may go on in between."""
        self.check_texts([token_ids])
        logits = self.runner.text_logits(token_ids[:-1]) if len(token_ids) > 1 else ()
        return rank_pieces(token_ids, logits, num_top)

    def embed(self, batch: Sequence[Sequence[int]]) -> Float[Tensor, "B D"]:
        """The mean over each text's tokens of the model's last hidden states, fp32."""
        self.check_texts(batch)
        if not all(map(len, batch)):
            raise RequestError("a text to embed is empty; it needs at least one token")
        return self.runner.embed(batch)

    def hidden_pieces(self, token_ids: Sequence[int]) -> Iterator[Float[Tensor, "N D"]]:
        """The last hidden states of one text, fp32, a piece at a time, each good until the next one."""
        self.check_texts([token_ids])
        return self.runner.text_hidden(token_ids)

    def check_texts(self, batch: Sequence[Sequence[int]]) -> None:
        """Raise ContextLengthError for a text that is too long, RequestError for one with foreign ids."""
        max_length = self.max_length
        for token_ids in batch:
            if len(token_ids) > max_length:
                raise ContextLengthError(
                    f"a text of {len(token_ids)} tokens does not fit the context of {max_length}",
                    num_tokens=len(token_ids),
                    max_length=max_length,
                )
            check_ids(token_ids, self.vocab_size)

    # ------------------------------------------------------------ weights, state

    def update_weights(self, model: Transformer | Runner, version: str = "") -> None:
        """Answer new requests with another model. Those that were added before finish on the old one, which is freed
        with the last of them. Raises RequestError for a runner whose blocks hold requests of this engine already.
        """
        runner = TorchRunner(model) if isinstance(model, Transformer) else model
        if any(lane.runner is runner and not lane.empty for lane in self._lanes):
            raise RequestError(
                "this runner is answering requests; give the new weights a runner of their own"
            )
        self._lanes.append(Lane(runner, version, self._options, self._counters))
        self._close_lanes()

    def stats(self) -> EngineStats:
        """Figures of this moment, all lanes together. Any thread may ask; free blocks are those of the newest weights."""
        pool, counters = self._lanes[-1].pool, self._counters
        return EngineStats(
            num_running=sum(len(lane.scheduler.running) for lane in self._lanes),
            num_waiting=sum(len(lane.scheduler.waiting) for lane in self._lanes),
            num_blocks=pool.num_blocks,
            num_free_blocks=pool.num_free,
            prompt_tokens=counters.prompt_tokens,
            cached_tokens=counters.cached_tokens,
            generated_tokens=counters.generated_tokens,
            preemptions=counters.preemptions,
            speculated=counters.speculated,
            accepted=counters.accepted,
            version=self._lanes[-1].version,
        )

    def check_integrity(self) -> None:
        """Assert what must hold between any two steps: no block or slot is lost, held twice or held by nobody."""
        for lane in self._lanes:
            lane.scheduler.check_integrity()
        held = [s.id for lane in self._lanes for s in (*lane.scheduler.running, *lane.scheduler.waiting)]
        assert sorted(held) == sorted(self._live)
        if not self._live:
            assert len(self._lanes) == 1
            assert self._lanes[0].pool.num_free == self._lanes[0].pool.num_blocks

    # ------------------------------------------------------------ inside

    @torch.inference_mode()
    def _advance(self) -> list[int]:
        """One step of every lane; returns the ids that finished."""
        finished = []
        for lane in tuple(self._lanes):
            try:
                events = lane.advance()
            finally:
                self._bury(lane.take_failed())
            for sequence, event in events:
                self._deliver(sequence.id, event)
                if event.finish_reason:
                    del self._live[sequence.id]
                    finished.append(sequence.id)
        self._close_lanes()
        return finished

    def _deliver(self, request_id: int, event: TokenEvent) -> None:
        mailbox = self._mailboxes.get(request_id)
        if mailbox is not None:
            mailbox.append(event)
        else:
            self._unclaimed.append((request_id, event))

    def _bury(self, failed: list[tuple[Running, BaseException]]) -> None:
        for sequence, error in failed:
            del self._live[sequence.id]
            self._failures[sequence.id] = error

    def _close_lanes(self) -> None:
        self._lanes = [lane for lane in self._lanes[:-1] if not lane.empty] + self._lanes[-1:]

    def _check_alive(self, request_id: int) -> None:
        if request_id in self._failures:
            raise self._failures[request_id]
        if request_id not in self._live:
            raise RequestError(f"request {request_id} was aborted before its reply ended; ask again")


def _completion(sequence: Running) -> Completion:
    assert sequence.finish_reason is not None
    return Completion(
        tuple(sequence.reply), tuple(sequence.logprobs), sequence.finish_reason, sequence.num_cached
    )
