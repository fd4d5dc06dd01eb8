"""The engine: slots of a key-value cache, filled by a scheduler, advanced together, one token a step.

    engine = Engine(model, max_slots=64)
    for event in engine.stream(Request((5, 6, 7))): ...           # one reply, token by token
    completions = engine.generate(requests, progress=print)       # many, batched, in the order asked
    logprobs = engine.score([[5, 6, 7]])                          # of given tokens

A server calls `add`, `step` and `abort` itself. One thread at a time: the engine has no locks.
"""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from liaoliao.engine import scheduler as plan
from liaoliao.engine.request import Completion, FinishReason, Request, TokenEvent
from liaoliao.engine.sampler import Sampled, Sampler
from liaoliao.errors import RequestError
from liaoliao.model.cache import KVCache
from liaoliao.model.fused import linear_nll
from liaoliao.model.transformer import Transformer

Progress = Callable[[int, int], None]  # (finished, of all)
_FIRST_LENGTH = 256  # positions a cache starts with; it doubles as sequences grow


class Engine:
    """Runs one model for many requests at once. `max_length` bounds prompt and reply together."""

    def __init__(
        self,
        model: Transformer,
        *,
        max_slots: int = 64,
        max_length: int | None = None,
        max_prefill_tokens: int = 4096,
    ) -> None:
        if max_slots < 1 or max_prefill_tokens < 1:
            raise RequestError("an engine needs max_slots and max_prefill_tokens of at least 1")
        self.model = model
        weight = model.output_weight
        self.device, self.vocab_size = weight.device, weight.shape[0]
        self.max_length = min(
            max_length or model.config.max_position_embeddings, model.config.max_position_embeddings
        )
        self.scheduler = plan.Scheduler(max_slots, max_prefill_tokens)
        self._cache = KVCache(
            model.config, 1, 1, dtype=model.compute_dtype or weight.dtype, device=self.device
        )
        self._sampler = Sampler(max_slots, self.vocab_size, self.device)
        self._ids = itertools.count()
        self._live: dict[int, plan.Sequence] = {}
        self._eos = _as_tuple(model.config.eos_token_id)
        self._mailboxes: dict[int, deque[TokenEvent]] = {}  # of replies that a stream() is reading
        self._unclaimed: list[
            tuple[int, TokenEvent]
        ] = []  # made while a stream() drove the engine, owed to step()

    # ------------------------------------------------------------ one step at a time

    def add(self, request: Request) -> int:
        """Queue a request and return its id. Raises RequestError for a prompt that is empty, foreign or too
        long.
        """
        length = len(request.token_ids)
        if not length:
            raise RequestError("the prompt is empty; it needs at least one token")
        if length >= self.max_length:
            raise RequestError(
                f"the prompt has {length} tokens and the context holds {self.max_length}, reply included; "
                "shorten it"
            )
        if min(request.token_ids) < 0 or max(request.token_ids) >= self.vocab_size:
            raise RequestError(
                f"the prompt has a token id outside of the vocabulary (0 to {self.vocab_size - 1})"
            )
        room = self.max_length - length
        sequence = plan.Sequence(next(self._ids), request, min(request.params.max_tokens or room, room))
        self.scheduler.add(sequence)
        self._live[sequence.id] = sequence
        return sequence.id

    def abort(self, request_id: int) -> None:
        """Forget a request and free its slot; an id that has finished already is fine."""
        sequence = self._live.get(request_id)
        if sequence is not None:
            self._release(sequence)
        self._mailboxes.pop(request_id, None)
        self._unclaimed = [pair for pair in self._unclaimed if pair[0] != request_id]

    def step(self) -> list[tuple[int, TokenEvent]]:
        """Advance everyone by one token: (request id, event) pairs. Empty when there is nothing to do."""
        self._advance()
        events, self._unclaimed = self._unclaimed, []
        return events

    @property
    def idle(self) -> bool:
        """Whether no request is waiting or running."""
        return not self._live

    # ------------------------------------------------------------ whole replies

    def stream(self, request: Request) -> Iterator[TokenEvent]:
        """The events of one reply as they come; closing the iterator early aborts it. Others go on
        meanwhile.
        """
        request_id = self.add(request)
        mailbox = self._mailboxes[request_id] = deque()
        try:
            while True:
                while not mailbox:
                    self._check_live(request_id)
                    self._advance()
                event = mailbox.popleft()
                yield event
                if event.finish_reason:
                    return
        finally:
            self.abort(request_id)

    def generate(self, requests: Sequence[Request], *, progress: Progress | None = None) -> list[Completion]:
        """Complete all requests, batched, and return them in order. `progress(finished, total)` after each
        step.
        """
        sequences: dict[int, plan.Sequence] = {}
        try:
            for i in plan.by_length(requests):
                request_id = self.add(requests[i])
                sequences[i] = self._live[request_id]
                self._mailboxes[request_id] = deque(maxlen=0)  # the sequence itself keeps the tokens
            unfinished = {sequence.id for sequence in sequences.values()}
            while unfinished:
                self._check_live(next(iter(unfinished)))
                unfinished.difference_update(self._advance())
                if progress is not None:
                    progress(len(requests) - len(unfinished), len(requests))
        finally:
            for sequence in sequences.values():
                self.abort(sequence.id)
        return [_completion(sequences[i]) for i in range(len(requests))]

    @torch.inference_mode()
    def score(self, batch: Sequence[Sequence[int]]) -> list[list[float]]:
        """The logprob of every token given those before it; the first has nothing before it and gets 0.0."""
        for ids in batch:
            if len(ids) > self.max_length:
                raise RequestError(
                    f"a text of {len(ids)} tokens does not fit the context of {self.max_length}"
                )
        scores: list[list[float]] = [[] for _ in batch]
        for rows in _scoring_batches([len(ids) for ids in batch], self.scheduler.max_prefill_tokens):
            for i, logprobs in zip(rows, self._score_rows([batch[i] for i in rows]), strict=True):
                scores[i] = logprobs
        return scores

    # ------------------------------------------------------------ inside

    @torch.inference_mode()
    def _advance(self) -> list[int]:
        """Read some prompts, then decode everyone who was decoding before; returns the ids that finished."""
        decoding = self.scheduler.decoding()
        admitted = self.scheduler.admit()
        self._make_room(len(self.scheduler.running), 1)  # a slot may have to move before its prompt is read
        for sequence in admitted:
            self._sampler.assign(sequence.slot, sequence.request.params, sequence.request.token_ids)
        chunks = self.scheduler.prefill()
        try:
            read = self._read(chunks) if chunks else []
            decoded = self._decode(decoding) if decoding else []
        except BaseException:
            self._drop_all()  # the cache may be half written: nobody can go on from here
            raise
        for sequence, event in itertools.chain(read, decoded):
            self._mailboxes.get(sequence.id, _Owed(self._unclaimed, sequence.id)).append(event)
            if event.finish_reason:
                sequence.finish_reason = event.finish_reason
                self._release(sequence)
        return [sequence.id for sequence, event in (*read, *decoded) if event.finish_reason]

    def _read(self, chunks: Sequence[tuple[plan.Sequence, int]]) -> list[tuple[plan.Sequence, TokenEvent]]:
        """Put pieces of prompts into the cache; a prompt that is read to its end yields its first token."""
        rows = [s.request.token_ids[s.num_cached : s.num_cached + num_new] for s, num_new in chunks]
        hidden = self._forward([s for s, _ in chunks], rows)
        done = [i for i, (sequence, _) in enumerate(chunks) if not sequence.num_unread]
        if not done:
            return []
        last = hidden[torch.tensor(done), torch.tensor([len(rows[i]) - 1 for i in done])]  # (b, D)
        return self._sample([chunks[i][0] for i in done], last)

    def _decode(self, sequences: Sequence[plan.Sequence]) -> list[tuple[plan.Sequence, TokenEvent]]:
        return self._sample(sequences, self._forward(sequences, [s.token_ids[-1:] for s in sequences])[:, 0])

    def _forward(
        self, sequences: Sequence[plan.Sequence], rows: Sequence[Sequence[int]]
    ) -> Float[Tensor, "B T D"]:
        for sequence, row in zip(sequences, rows, strict=True):
            sequence.num_cached += len(row)
        self._make_room(len(self.scheduler.running), max(s.num_cached for s in sequences))
        view = self._cache.view([s.slot for s in sequences], [len(row) for row in rows])
        return self.model.hidden(_padded(rows, self.device), cache=view)

    def _sample(
        self, sequences: Sequence[plan.Sequence], hidden: Float[Tensor, "B D"]
    ) -> list[tuple[plan.Sequence, TokenEvent]]:
        sampled = self._sampler.sample([s.slot for s in sequences], self.model.logits(hidden))
        return list(zip(sequences, self._events(sequences, sampled), strict=True))

    def _events(self, sequences: Sequence[plan.Sequence], sampled: Sampled) -> Iterator[TokenEvent]:
        tops = sampled.top_logprobs or itertools.repeat(())
        columns = zip(sequences, sampled.token_ids.tolist(), sampled.logprobs.tolist(), tops, strict=False)
        for sequence, token_id, logprob, top in columns:
            sequence.token_ids.append(token_id)
            sequence.logprobs.append(logprob)
            yield TokenEvent(token_id, logprob, top, self._finish_reason(sequence, token_id))

    def _finish_reason(self, sequence: plan.Sequence, token_id: int) -> FinishReason | None:
        params = sequence.request.params
        if token_id in params.stop_token_ids or (token_id in self._eos and not params.ignore_eos):
            return "stop"
        return "length" if len(sequence.token_ids) >= sequence.max_tokens else None

    @torch.inference_mode()
    def _release(self, sequence: plan.Sequence) -> None:
        move = self.scheduler.remove(sequence)
        if move is not None:
            self._cache.move(move.source, move.target)
            self._sampler.move(move.source, move.target)
        if sequence.slot >= 0:
            self._cache.free([len(self.scheduler.running)])
        del self._live[sequence.id]

    def _check_live(self, request_id: int) -> None:
        if request_id not in self._live:
            raise RequestError(f"request {request_id} was aborted before its reply ended; ask again")

    def _drop_all(self) -> None:
        for sequence in list(self._live.values()):
            self.abort(sequence.id)

    def _make_room(self, num_slots: int, length: int) -> None:
        """Memory follows use: the cache doubles in slots or positions when the sequences need it."""
        slots, positions = self._cache.num_slots, self._cache.max_length
        if num_slots > slots:
            slots = min(max(num_slots, 2 * slots), self.scheduler.max_slots)
        if length > positions:
            positions = min(max(length, 2 * positions, _FIRST_LENGTH), self.max_length)
        if (slots, positions) != (self._cache.num_slots, self._cache.max_length):
            self._cache.grow(slots, positions)

    def _score_rows(self, rows: Sequence[Sequence[int]]) -> Iterator[list[float]]:
        token_ids = _padded(rows, self.device)  # (B, T)
        hidden = self.model.hidden(token_ids)[:, :-1].flatten(0, 1)  # (B * (T - 1), D)
        nll = linear_nll(hidden, self.model.output_weight, token_ids[:, 1:].flatten())
        for row, values in zip(rows, (-nll).view(len(rows), -1).tolist(), strict=True):
            yield [0.0, *values[: len(row) - 1]]


class _Owed:
    """Where the events of a request go that nobody streams: into the pairs that the next `step` returns."""

    def __init__(self, pairs: list[tuple[int, TokenEvent]], request_id: int) -> None:
        self.pairs, self.request_id = pairs, request_id

    def append(self, event: TokenEvent) -> None:
        self.pairs.append((self.request_id, event))


def _completion(sequence: plan.Sequence) -> Completion:
    assert sequence.finish_reason is not None
    return Completion(tuple(sequence.token_ids), tuple(sequence.logprobs), sequence.finish_reason)


def _padded(rows: Sequence[Sequence[int]], device: torch.device) -> Int[Tensor, "B T"]:
    width = max(map(len, rows))
    return torch.tensor([[*row, *itertools.repeat(0, width - len(row))] for row in rows], device=device)


def _scoring_batches(lengths: Sequence[int], max_tokens: int) -> Iterator[list[int]]:
    """Indices of rows of like length, together at most `max_tokens` when padded; rows shorter than 2 need no
    model.
    """
    rows: list[int] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if rows and lengths[rows[0]] * (len(rows) + 1) > max_tokens:
            yield rows
            rows = []
        if lengths[i] > 0:
            rows.append(i)
    if rows:
        yield rows


def _as_tuple(ids: int | tuple[int, ...] | None) -> tuple[int, ...]:
    return ids if isinstance(ids, tuple) else () if ids is None else (ids,)
