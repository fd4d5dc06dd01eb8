"""POST /v1/chat/completions, whole or as a stream.

    curl localhost:8000/v1/chat/completions -H 'content-type: application/json' \\
         -d '{"model": "current", "messages": [{"role": "user", "content": "2+3?"}], "stream": true}'
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from fastapi import APIRouter, Request, Response

from liaoliao.server.body import StrictRoute, off_loop
from liaoliao.server.chat_chunks import ChatChunks, usage_chunk, whole_response
from liaoliao.server.openai import AT_ONCE, Head, new_head, seeded
from liaoliao.server.openai_chat import ChatCompletionRequest, chat_job
from liaoliao.server.openai_shapes import FAILURES, ChatCompletion, streamed
from liaoliao.server.reply import (
    LARGE_MESSAGES,
    ChatJob,
    ReplyDone,
    ReplyEvent,
    is_large,
    refuse_misfit,
    reply,
)
from liaoliao.server.served import Charge, ServedModel, charge_of, pick
from liaoliao.server.sse import DONE, Frames, encode, finish, merge, stream_response
from liaoliao.server.written import LARGE_VALUES, json_response

router = APIRouter(prefix="/v1", tags=["openai"], route_class=StrictRoute)


@router.post("/chat/completions", responses={200: streamed(ChatCompletion), **FAILURES})
async def chat_completions(body: ChatCompletionRequest, request: Request) -> Response:
    """Let the model answer a conversation."""
    served = pick(request, body.model)
    heavy = bool(body.tools or body.response_format) or len(body.messages) > LARGE_MESSAGES
    job = await off_loop(heavy, chat_job, body, served)
    if body.n and body.n > 1:
        await off_loop(is_large(job), refuse_misfit, served, job)
    head, charge = new_head("chatcmpl", served), charge_of(request)
    if body.stream:
        return await stream_response(request, _frames(body, served, job, head, charge))
    replies = await finish(request, _collect(_replies(body, served, job, charge), body.n or 1))
    num_values = 3 * sum(map(len, replies)) * (1 + job.params.logprobs) if job.logprobs else 0
    large = num_values > LARGE_VALUES
    return await off_loop(large, _response, body, job, head, replies, in_pieces=large)


def _response(
    body: ChatCompletionRequest,
    job: ChatJob,
    head: Head,
    replies: list[list[ReplyEvent]],
    *,
    in_pieces: bool,
) -> Response:
    forced = body.forced_name is not None
    whole = whole_response(head, replies, logprobs=job.logprobs, forced=forced)
    return json_response(whole, in_pieces=in_pieces)


def _replies(
    body: ChatCompletionRequest, served: ServedModel, job: ChatJob, charge: Charge
) -> AsyncGenerator[tuple[int, ReplyEvent], None]:
    jobs = (  # one after the first AT_ONCE has the place of one that has ended
        replace(job, params=seeded(job.params, index), begun=index >= AT_ONCE) for index in range(body.n or 1)
    )
    return merge((reply(served, job, charge=charge) for job in jobs), at_once=AT_ONCE)


async def _collect(
    events: AsyncGenerator[tuple[int, ReplyEvent], None], num_choices: int
) -> list[list[ReplyEvent]]:
    replies: list[list[ReplyEvent]] = [[] for _ in range(num_choices)]
    async with aclosing(events):
        async for index, event in events:
            replies[index].append(event)
    return replies


async def _frames(
    body: ChatCompletionRequest, served: ServedModel, job: ChatJob, head: Head, charge: Charge
) -> Frames:
    forced = body.forced_name is not None
    choices = [ChatChunks(head, index, logprobs=job.logprobs, forced=forced) for index in range(body.n or 1)]
    empty = {"usage": None} if body.wants_usage else {}
    dones: list[ReplyDone] = []
    async with aclosing(_replies(body, served, job, charge)) as events:
        async for index, event in events:
            for chunk in choices[index].of(event):
                yield encode({**chunk, **empty})
            if isinstance(event, ReplyDone):
                dones.append(event)
    if body.wants_usage:
        yield encode(usage_chunk(head, dones))
    yield DONE
