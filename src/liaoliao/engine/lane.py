"""One version of the weights and everything that runs on it: blocks, scheduler, sampler, and the step itself.

    plan (scheduler) -> drafts (speculate) -> forward (runner) -> sample (sampler) -> events, blocks remembered

An engine has one lane, and for a while two when its weights are exchanged: who began on the old ones ends there.

Drafts are guesses at the next tokens of a greedy reply, taken from what was said before (Saxena 2023, "prompt lookup
decoding"). They go through the model behind the last token; as far as the model would have chosen them itself they stay,
and its own choice follows. So they change how many tokens a step gives and never which. A step of more than MAX_DRAFTING
sequences has none, nor has a sequence of whose drafts too few came true (`speculate.Drafter`).
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from liaoliao.engine.blocks import BlockPool
from liaoliao.engine.pace import Pace
from liaoliao.engine.request import FinishReason, Request, TokenEvent
from liaoliao.engine.runner import BLOCK_SIZE, Row, Runner
from liaoliao.engine.sampler import Sampled, Sampler
from liaoliao.engine.scheduler import Chunk, Plan, Scheduler
from liaoliao.engine.scheduler import Sequence as Running
from liaoliao.engine.speculate import Drafter
from liaoliao.errors import LiaoError

Events = list[tuple[Running, TokenEvent]]
STEP_S = 0.25  # what a step should take while somebody is being answered
READING_S = 1.0  # and while all who run are still reading, so that who comes next does not wait long
MAX_DRAFTING = 8  # sequences of a step that has drafts; those of more would crowd it with their columns


@dataclass(slots=True)
class Counters:
    """What an engine has done so far, over all of its lanes."""

    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    preemptions: int = 0
    speculated: int = 0
    accepted: int = 0


@dataclass(frozen=True, slots=True)
class LaneOptions:
    """How an engine was told to run; see Engine."""

    max_running: int
    max_length: int | None
    max_step_tokens: int
    prefix_cache: bool
    speculate: int


class Lane:
    """Sequences on one runner. `max_length` bounds prompt and reply together, so that each fits the blocks alone."""

    def __init__(self, runner: Runner, version: str, options: LaneOptions, counters: Counters) -> None:
        self.runner, self.version, self.counters = runner, version, counters
        limit = min(runner.max_length, runner.num_blocks * BLOCK_SIZE)
        self.max_length = min(options.max_length or limit, limit)
        self.pool = BlockPool(runner.num_blocks, prefix_cache=options.prefix_cache)
        self.scheduler = Scheduler(self.pool, options.max_running)
        self._sampler = Sampler(options.max_running, runner.vocab_size, runner.device)
        self._pace = Pace(options.max_step_tokens)
        self._speculate = options.speculate
        self._drafters: dict[int, Drafter] = {}  # by the id of the sequence
        self._failed: list[tuple[Running, BaseException]] = []

    @property
    def empty(self) -> bool:
        """Whether nobody waits or runs here."""
        return not (self.scheduler.waiting or self.scheduler.running)

    def check(self, request: Request) -> None:
        """Raise RequestError for a request that names tokens which this model does not have."""
        self._sampler.check(request)

    def add(self, sequence: Running) -> None:
        """Queue a sequence."""
        self.scheduler.add(sequence)

    def remove(self, sequence: Running) -> None:
        """Let a sequence go, whatever it is doing."""
        if sequence.slot >= 0:
            self._sampler.release(sequence.slot)
        self.scheduler.remove(sequence)
        self._drafters.pop(sequence.id, None)

    def advance(self) -> Events:
        """One step: those who decode say a token (or more, with drafts), those who read read on.

        Where it goes wrong, all who took part are let go, since their blocks may be half written; see `take_failed`.
        """
        plan = self.scheduler.plan(self._pace.tokens_within(self._seconds()))
        try:
            self._prepare(plan)
            chunks = self._with_drafts([chunk for chunk in plan.chunks if chunk.sequence.slot >= 0])
            return self._run(chunks) if chunks else []
        except BaseException as error:
            for chunk in plan.chunks:
                if chunk.sequence.slot >= 0:  # and had not finished before it went wrong
                    self._fail(chunk.sequence, error)
            if not isinstance(error, Exception):
                raise  # Ctrl-C is not for the requests to hear of
            return []

    def take_failed(self) -> list[tuple[Running, BaseException]]:
        """Who was let go because of an error since this was last asked, and the error."""
        failed, self._failed = self._failed, []
        return failed

    def _seconds(self) -> float:
        decoding = any(sequence.num_pending == 1 for sequence in self.scheduler.running)
        return STEP_S if decoding else READING_S

    def _prepare(self, plan: Plan) -> None:
        for slot in plan.freed_slots:
            self._sampler.release(slot)
        self.counters.preemptions += len(plan.freed_slots)
        for sequence in plan.admitted:
            try:
                self._begin(sequence)
            except LiaoError as error:  # a grammar that cannot be begun is its own request's failure
                self._fail(sequence, error)

    def _begin(self, sequence: Running) -> None:
        self._sampler.assign(sequence.slot, sequence.request, sequence.reply)
        known = sequence.id in self._drafters  # from before it was preempted
        if self._speculate and not known and _predictable(sequence.request):
            self._drafters[sequence.id] = Drafter(sequence.token_ids)

    def _with_drafts(self, chunks: list[Chunk]) -> list[Chunk]:
        return chunks if len(chunks) > MAX_DRAFTING else [self._drafted(chunk) for chunk in chunks]

    def _drafted(self, chunk: Chunk) -> Chunk:
        drafter = self._drafters.get(chunk.sequence.id)
        if drafter is None or not chunk.num_logits:
            return chunk
        drafted = self.scheduler.draft(chunk, drafter.draft(self._speculate))
        self.counters.speculated += len(drafted.drafts)
        return drafted

    def _run(self, chunks: Sequence[Chunk]) -> Events:
        began = time.perf_counter()
        logits = self.runner.forward([_row(chunk) for chunk in chunks])
        slots = [chunk.sequence.slot for chunk in chunks for _ in range(chunk.num_logits)]
        tokens = iter(_tokens(self._sampler.sample(slots, logits)) if slots else ())
        self._pace.observe(sum(chunk.num_new for chunk in chunks), len(chunks), time.perf_counter() - began)
        events: Events = []
        for chunk in chunks:
            events += self._settle(chunk, list(itertools.islice(tokens, chunk.num_logits)))
        return events

    def _settle(self, chunk: Chunk, tokens: Sequence[TokenEvent]) -> Events:
        """Make a chunk's tokens its sequence's own: all that follow from drafts that came true, up to the end."""
        sequence, stored = chunk.sequence, chunk.sequence.num_stored + chunk.num_new
        if sequence.request.grammar is not None and (error := self._sampler.failure(sequence.slot)):
            self._fail(sequence, error)
            return []
        events: Events = []
        for token, draft in zip(tokens, (*chunk.drafts, None), strict=False):
            events.append((sequence, self._said(sequence, token)))
            if sequence.finish_reason or token.token_id != draft:
                break
            stored += 1  # the draft's keys and values are those of this token
        self._tally(chunk, max(0, len(events) - 1))
        self.scheduler.advance(sequence, stored)
        if sequence.finish_reason:
            self.remove(sequence)
        return events

    def _tally(self, chunk: Chunk, accepted: int) -> None:
        self.counters.accepted += accepted
        if chunk.drafts:
            self._drafters[chunk.sequence.id].tally(len(chunk.drafts), accepted)

    def _said(self, sequence: Running, token: TokenEvent) -> TokenEvent:
        if not sequence.logprobs:
            self.counters.prompt_tokens += sequence.num_prompt
            self.counters.cached_tokens += sequence.num_cached
        sequence.token_ids.append(token.token_id)
        sequence.logprobs.append(token.logprob)
        if sequence.id in self._drafters:
            self._drafters[sequence.id].extend(token.token_id)
        sequence.finish_reason = self._finish_reason(sequence, token.token_id)
        self.counters.generated_tokens += 1
        reason, num_cached = sequence.finish_reason, sequence.num_cached
        return TokenEvent(token.token_id, token.logprob, token.top_logprobs, reason, num_cached)

    def _finish_reason(self, sequence: Running, token_id: int) -> FinishReason | None:
        params, grammar = sequence.request.params, sequence.request.grammar
        eos = token_id in self.runner.eos_token_ids and not params.ignore_eos
        if eos or token_id in params.stop_token_ids:
            return "stop"
        if grammar is not None and self._sampler.finished(sequence.slot):
            return "stop"
        return None if sequence.num_left else "length"

    def _fail(self, sequence: Running, error: BaseException) -> None:
        self.remove(sequence)
        self._failed.append((sequence, error))


def _row(chunk: Chunk) -> Row:
    sequence = chunk.sequence
    start = sequence.num_stored
    token_ids = (*sequence.token_ids[start : start + chunk.num_new], *chunk.drafts)
    return Row(token_ids, start, sequence.block_ids, chunk.num_logits)


def _tokens(sampled: Sampled) -> Iterator[TokenEvent]:
    tops = sampled.top_logprobs or itertools.repeat(())
    columns = zip(sampled.token_ids.tolist(), sampled.logprobs.tolist(), tops, strict=False)
    return itertools.starmap(TokenEvent, columns)


def _predictable(request: Request) -> bool:
    """Whether a reply's next token depends on the logits alone, so that it can be checked ahead of time."""
    params = request.params
    neutral = params.repetition_penalty == 1 and not (params.presence_penalty or params.frequency_penalty)
    return params.temperature == 0 and neutral and not params.logit_bias and request.grammar is None
