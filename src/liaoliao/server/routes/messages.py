"""POST /v1/messages, whole or as a stream, and /v1/messages/count_tokens: Anthropic's API.

    curl localhost:8000/v1/messages -H 'content-type: application/json' -H 'anthropic-version: 2023-06-01' \\
         -d '{"model": "current", "max_tokens": 99, "messages": [{"role": "user", "content": "2+3?"}]}'
"""

from contextlib import aclosing
from typing import Annotated, Any

from fastapi import APIRouter, Header, Request, Response
from starlette.responses import JSONResponse

from liaoliao.server.anthropic import MessagesRequest, PromptRequest, check_version, message_job, prompt_job
from liaoliao.server.anthropic_events import MessageWriter
from liaoliao.server.anthropic_shapes import ANTHROPIC_FAILURES, AnthropicMessage, TokensCount
from liaoliao.server.body import StrictRoute, off_loop
from liaoliao.server.failures import envelope
from liaoliao.server.reply import ChatJob, prompt_ids, reply
from liaoliao.server.response_shapes import event_stream
from liaoliao.server.served import Charge, ServedModel, charge_of, pick
from liaoliao.server.sse import Frames, encode, finish, stream_response

router = APIRouter(prefix="/v1/messages", tags=["anthropic"], route_class=StrictRoute)
_Version = Annotated[str | None, Header(alias="anthropic-version")]


@router.post("", responses={200: event_stream(AnthropicMessage), **ANTHROPIC_FAILURES})
async def create_message(body: MessagesRequest, request: Request, version: _Version = None) -> Response:
    """Let the model answer a conversation."""
    check_version(version)
    served = pick(request, body.model)
    job = await off_loop(True, message_job, body, served)
    writing = _Writing(served, job, body.max_tokens, charge_of(request))
    if body.stream:
        path = request.url.path
        return await stream_response(
            request, writing.frames(), lambda error: _encoded([envelope(error, path)])
        )
    return JSONResponse(await finish(request, writing.whole()))


@router.post(
    "/count_tokens", responses={200: {"model": TokensCount, "description": "The count"}, **ANTHROPIC_FAILURES}
)
async def count_tokens(body: PromptRequest, request: Request, version: _Version = None) -> Response:
    """How many tokens the model would read."""
    check_version(version)
    served = pick(request, body.model)
    ids = await off_loop(True, lambda: prompt_ids(served, prompt_job(body, served)))
    return JSONResponse({"input_tokens": len(ids)})


class _Writing:
    """One request at work."""

    def __init__(self, served: ServedModel, job: ChatJob, max_tokens: int, charge: Charge) -> None:
        self.served, self.job, self.max_tokens = served, job, max_tokens
        self._charge = charge
        self._num_prompt = 0

    async def frames(self) -> Frames:
        """The stream; it begins when there is an answer, so that what is wrong is told by the status before."""
        writer: MessageWriter | None = None
        async with aclosing(reply(self.served, self.job, charge=self._meter)) as events:
            async for event in events:
                told: list[dict[str, Any]] = []
                if writer is None:
                    writer = self._writer()
                    told = writer.begin()
                if told := told + writer.feed(event):
                    yield _encoded(told)

    async def whole(self) -> dict[str, Any]:
        """The message."""
        writer = self._writer()
        async with aclosing(reply(self.served, self.job, charge=self._meter)) as events:
            async for event in events:
                writer.feed(event)
        return writer.message

    def _writer(self) -> MessageWriter:
        return MessageWriter(self.served.id, num_prompt=self._num_prompt, max_tokens=self.max_tokens)

    def _meter(self, num_tokens: int) -> None:
        """Charge, and learn from the first charge, which is for the prompt, how long that is."""
        self._num_prompt = self._num_prompt or num_tokens
        self._charge(num_tokens)


def _encoded(told: list[dict[str, Any]]) -> bytes:
    return b"".join(encode(event, event=event["type"]) for event in told)
