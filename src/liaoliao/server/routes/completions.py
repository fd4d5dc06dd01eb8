"""POST /v1/completions, whole or as a stream; with `echo` and `logprobs` it scores given text.

    curl localhost:8000/v1/completions -H 'content-type: application/json' \\
         -d '{"model": "current", "prompt": "Once upon a time", "max_tokens": 20}'
"""

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response

from liaoliao.engine.request import TokenEvent
from liaoliao.server.body import StrictRoute, off_loop
from liaoliao.server.completion import TextDone, TextEvent, TextJob, complete
from liaoliao.server.openai import AT_ONCE, new_head, sampling_params, seeded, usage_wire
from liaoliao.server.openai_completions import CompletionRequest, Prompt, fitting_prompts, size_of_prompts
from liaoliao.server.openai_shapes import FAILURES, TextCompletion, streamed
from liaoliao.server.reply import LARGE_CHARS, Usage
from liaoliao.server.served import Charge, ServedModel, charge_of, paid_ahead, pick
from liaoliao.server.sse import DONE, Frames, encode, finish, merge, stream_response
from liaoliao.server.text_choices import TextChoice, fold
from liaoliao.server.written import LARGE_VALUES, json_response

router = APIRouter(prefix="/v1", tags=["openai"], route_class=StrictRoute)
_KIND = "text_completion"


@router.post("/completions", responses={200: streamed(TextCompletion), **FAILURES})
async def completions(body: CompletionRequest, request: Request) -> Response:
    """Let the model go on with a text."""
    served = pick(request, body.model)
    body.check()
    prompts = await off_loop(size_of_prompts(body.prompt) > LARGE_CHARS, fitting_prompts, body, served)
    writing = _Writing(body, served, prompts, charge_of(request))
    if body.stream:
        return await stream_response(request, _frames(writing))
    return await finish(request, _whole(writing))


class _Writing:
    """One request at work: each prompt is continued `num_made` times, one after the other in `choices`."""

    def __init__(
        self, body: CompletionRequest, served: ServedModel, prompts: Sequence[Prompt], charge: Charge
    ) -> None:
        self.body, self.served, self.charge = body, served, charge
        self.head = new_head("cmpl", served)
        self.params = sampling_params(
            body, served, max_tokens=body.new_tokens or None, logprobs=body.logprobs or 0
        )
        self.prompts = [prompt for prompt in prompts for _ in range(body.num_made)]
        self.choices = [TextChoice(index, num_top=body.logprobs) for index in range(len(self.prompts))]
        self._scored = False  # and paid for

    async def pieces(self) -> AsyncGenerator[tuple[int, dict[str, Any], TextDone | None], None]:
        """Pieces of choices, each with the number of its choice; the last one of a choice with its end."""
        if self.body.echo:
            for index, piece in enumerate(await self._echoed()):
                yield index, piece, None
        written = map(self._written, range(len(self.prompts)))
        async with aclosing(merge(written, at_once=AT_ONCE)) as events:
            async for index, event in events:
                yield index, self.choices[index].of(event), event if isinstance(event, TextDone) else None

    async def _echoed(self) -> list[dict[str, Any]]:
        """The prompts, scored if their logprobs are asked for: each once, and paid for with all of its choices."""
        step, num_top = self.body.num_made, self.body.logprobs
        ids = [prompt.token_ids for prompt in self.prompts[::step]]
        num_tokens = step * sum(map(len, ids))
        scores = [list[TokenEvent]() for _ in ids]
        if num_top is not None:
            with paid_ahead(self.charge, num_tokens):
                scores = await self.served.engine.score_top(ids, num_top)
            self._scored = True
        return await off_loop(num_tokens * (1 + (num_top or 0)) > LARGE_CHARS, self._told_again, scores)

    def _told_again(self, scores: Sequence[Sequence[TokenEvent]]) -> list[dict[str, Any]]:
        """Each choice's own copy of its prompt."""
        return [
            choice.echoed(self.served.tokenizer, prompt, scores[index // self.body.num_made])
            for index, (choice, prompt) in enumerate(zip(self.choices, self.prompts, strict=True))
        ]

    async def _written(self, index: int) -> AsyncGenerator[TextEvent, None]:
        body, token_ids = self.body, self.prompts[index].token_ids
        if body.new_tokens == 0:
            if not self._scored:
                self.charge(len(token_ids))
            yield TextDone("length", Usage(len(token_ids), 0), 0.0)
            return
        params = seeded(self.params, index % body.num_made)
        begun = index >= AT_ONCE  # it has the place of one that has ended
        job = TextJob(token_ids, params, body.stop_strings, logprobs=body.logprobs is not None, begun=begun)
        texts = complete(self.served, job, charge=self.charge, prompt_paid=self._scored)
        async with aclosing(texts) as events:
            async for event in events:
                yield event

    def num_values(self, piece: dict[str, Any]) -> int:
        """About how many numbers and names a piece of a choice tells."""
        return len(piece["logprobs"]["tokens"]) * (3 + (self.body.logprobs or 0)) if piece["logprobs"] else 1

    def usage(self, dones: Sequence[TextDone]) -> dict[str, Any]:
        """What all choices cost, whether they are told or not."""
        return usage_wire([done.usage for done in dones], num_choices=self.body.num_made)


async def _frames(writing: _Writing) -> Frames:
    empty = {"usage": None} if writing.body.wants_usage else {}
    dones: dict[int, TextDone] = {}
    async with aclosing(writing.pieces()) as pieces:
        async for index, piece, done in pieces:
            large = writing.num_values(piece) > LARGE_VALUES
            chunk = writing.head.of(_KIND, choices=[piece], **empty)
            yield await off_loop(large, encode, chunk, in_pieces=large)
            if done is not None:
                dones[index] = done
    if writing.body.wants_usage:
        usage = writing.usage([dones[index] for index in sorted(dones)])
        yield encode(writing.head.of(_KIND, choices=[], usage=usage))
    yield DONE


async def _whole(writing: _Writing) -> Response:
    told: list[list[dict[str, Any]]] = [[] for _ in writing.choices]
    dones: dict[int, TextDone] = {}
    num_values = 0
    async with aclosing(writing.pieces()) as pieces:
        async for index, piece, done in pieces:
            told[index].append(piece)
            num_values += writing.num_values(piece)
            if done is not None:
                dones[index] = done
    large = num_values > LARGE_VALUES
    return await off_loop(large, _response, writing, told, dones, in_pieces=large)


def _response(
    writing: _Writing,
    told: Sequence[Sequence[dict[str, Any]]],
    dones: dict[int, TextDone],
    *,
    in_pieces: bool,
) -> Response:
    best = _best(dones, writing.body.num_made, writing.body.num_choices)
    choices = [fold(told[index], index=place) for place, index in enumerate(best)]
    usage = writing.usage([dones[i] for i in sorted(dones)])
    return json_response(writing.head.of(_KIND, choices=choices, usage=usage), in_pieces=in_pieces)


def _best(dones: dict[int, TextDone], num_made: int, num_choices: int) -> list[int]:
    """Of every prompt's choices those whose tokens were likeliest on average; all, where none is left out."""
    groups = [range(start, start + num_made) for start in range(0, len(dones), num_made)]
    if num_made == num_choices:
        return [index for group in groups for index in group]
    return [i for group in groups for i in sorted(group, key=lambda i: -dones[i].logprob)[:num_choices]]
