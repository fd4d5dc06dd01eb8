"""POST /v1/responses, whole or as a stream, and /v1/responses/input_tokens.

    curl localhost:8000/v1/responses -H 'content-type: application/json' \\
         -d '{"model": "current", "input": "2+3?", "stream": true}'
"""

from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.responses import JSONResponse

from liaoliao.server.body import StrictRoute, off_loop
from liaoliao.server.failures import ApiError
from liaoliao.server.openai_shapes import FAILURES
from liaoliao.server.reply import ChatJob, prompt_ids, reply
from liaoliao.server.response_events import ResponseWriter
from liaoliao.server.response_shapes import InputTokens, ResponseShape, event_stream
from liaoliao.server.responses import (
    InputTokensRequest,
    ResponsesRequest,
    input_job,
    opening_response,
    response_job,
)
from liaoliao.server.served import Charge, ServedModel, charge_of, pick
from liaoliao.server.sse import Frames, encode, finish, stream_response

router = APIRouter(prefix="/v1/responses", tags=["openai"], route_class=StrictRoute)


@router.post("", responses={200: event_stream(ResponseShape), **FAILURES})
async def create_response(body: ResponsesRequest, request: Request) -> Response:
    """Let the model answer a conversation; nothing is stored."""
    served = pick(request, body.model)
    job = await off_loop(True, response_job, body, served)
    writer, charge = ResponseWriter(opening_response(body, served, job)), charge_of(request)
    if body.stream:
        frames = _frames(writer, served, job, charge)
        return await stream_response(request, frames, lambda error: _encoded(writer.fail(error)))
    await finish(request, _whole(writer, served, job, charge))
    return JSONResponse(writer.response)


@router.post("/input_tokens", responses={200: {"model": InputTokens, "description": "The count"}, **FAILURES})
async def count_input_tokens(body: InputTokensRequest, request: Request) -> Response:
    """How many tokens the model would read."""
    served = pick(request, body.model)
    ids = await off_loop(True, lambda: prompt_ids(served, input_job(body, served)))
    return JSONResponse({"object": "response.input_tokens", "input_tokens": len(ids)})


@router.get("/{response_id}", responses=FAILURES)
async def retrieve_response(response_id: str) -> Response:
    """Always a 404: nothing is stored."""
    message = f"Response with id {response_id[:80]!r} not found: this server stores no responses."
    raise ApiError(message, status=404, param="response_id", code="not_found")


async def _whole(writer: ResponseWriter, served: ServedModel, job: ChatJob, charge: Charge) -> None:
    async with aclosing(reply(served, job, charge=charge)) as events:
        async for event in events:
            writer.feed(event)


async def _frames(writer: ResponseWriter, served: ServedModel, job: ChatJob, charge: Charge) -> Frames:
    begun = False
    async with aclosing(reply(served, job, charge=charge)) as events:
        async for event in events:
            if not begun:  # not before there is an answer: what is wrong with a request is told by its status
                yield _encoded(writer.begin())
            begun = True
            if told := writer.feed(event):
                yield _encoded(told)


def _encoded(told: list[dict[str, Any]]) -> bytes:
    return b"".join(encode(event, event=event["type"]) for event in told)
