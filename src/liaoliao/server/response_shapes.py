"""The shapes of what /v1/responses answers, for the schema at /openapi.json and for the tests that hold us to it."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from liaoliao.server.openai_shapes import Shape, TokenShape

_Status = Literal["in_progress", "completed", "incomplete"]


class OutputText(Shape):
    """Words."""

    type: Literal["output_text"]
    text: str
    annotations: list[None] = Field(max_length=0)
    logprobs: list[TokenShape]


class ReasoningText(Shape):
    """Words that were thought."""

    type: Literal["reasoning_text"]
    text: str


class MessageItem(Shape):
    """What the model said."""

    type: Literal["message"]
    id: str
    role: Literal["assistant"]
    status: _Status
    content: list[OutputText]


class ReasoningItem(Shape):
    """What the model thought, in full; there is no summary of it."""

    type: Literal["reasoning"]
    id: str
    status: _Status
    summary: list[None] = Field(max_length=0)
    content: list[ReasoningText]


class FunctionCallItem(Shape):
    """A call of one of the client's tools."""

    type: Literal["function_call"]
    id: str
    call_id: str
    name: str
    arguments: str
    status: _Status


class InputDetails(Shape):
    """Of the input's tokens."""

    cached_tokens: int
    cache_write_tokens: Literal[0]


class OutputDetails(Shape):
    """Of the output's tokens."""

    reasoning_tokens: int


class ResponseUsage(Shape):
    """What the response cost."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int


class Incomplete(Shape):
    """Why a response is not complete."""

    reason: Literal["max_output_tokens"]


class FailureCode(Shape):
    """Why a response failed."""

    code: Literal["server_error", "rate_limit_exceeded", "invalid_prompt"]
    message: str


class ReasoningShape(Shape):
    """How much was to be thought."""

    effort: str | None
    summary: None


class ResponseShape(Shape):
    """A response, and what it was asked with."""

    id: str
    object: Literal["response"]
    created_at: int
    completed_at: int | None
    status: Literal["in_progress", "completed", "incomplete", "failed"]
    error: FailureCode | None
    incomplete_details: Incomplete | None
    model: str
    instructions: str | None
    max_output_tokens: int | None
    output: list[MessageItem | ReasoningItem | FunctionCallItem]
    parallel_tool_calls: bool
    previous_response_id: None
    reasoning: ReasoningShape
    store: Literal[False]
    temperature: float
    text: dict[str, dict[str, Any]]
    tool_choice: str | dict[str, Any]
    tools: list[dict[str, Any]]
    top_logprobs: int
    top_p: float
    truncation: Literal["auto", "disabled"]
    usage: ResponseUsage | None
    user: str | None
    metadata: dict[str, str]


class InputTokens(Shape):
    """How many tokens the model would read."""

    object: Literal["response.input_tokens"]
    input_tokens: int


def event_stream(whole: type[BaseModel]) -> dict[str, Any]:
    """How /openapi.json describes a route that answers whole or as a stream of named events."""
    events = {"schema": {"type": "string", "description": "Server-sent events, each named by its type."}}
    return {"model": whole, "description": "The answer", "content": {"text/event-stream": events}}
