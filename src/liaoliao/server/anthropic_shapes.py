"""The shapes of what /v1/messages answers, for the schema at /openapi.json and for the tests that hold us to it."""

from typing import Any, Literal

from liaoliao.server.openai_shapes import Shape


class TextShape(Shape):
    """Words."""

    type: Literal["text"]
    text: str


class ThinkingShape(Shape):
    """Words that were thought; they are not signed."""

    type: Literal["thinking"]
    thinking: str
    signature: Literal[""]


class ToolUseShape(Shape):
    """A call of one of the client's tools."""

    type: Literal["tool_use"]
    id: str
    name: str
    input: dict[str, Any]


class ThinkingTokens(Shape):
    """Of the output's tokens."""

    thinking_tokens: int


class AnthropicUsage(Shape):
    """What a message cost."""

    input_tokens: int
    cache_read_input_tokens: int
    cache_creation_input_tokens: int
    output_tokens: int
    output_tokens_details: ThinkingTokens


class AnthropicMessage(Shape):
    """The answer to a conversation."""

    id: str
    type: Literal["message"]
    role: Literal["assistant"]
    model: str
    content: list[TextShape | ThinkingShape | ToolUseShape]
    stop_reason: (
        Literal["end_turn", "max_tokens", "stop_sequence", "tool_use", "model_context_window_exceeded"] | None
    )
    stop_sequence: str | None
    usage: AnthropicUsage


class TokensCount(Shape):
    """How many tokens the model would read."""

    input_tokens: int


class ErrorDetails(Shape):
    """What a client can act on."""

    error_code: Literal["thread_unsupported_request"]


class AnthropicFailure(Shape):
    """What went wrong."""

    type: str
    message: str
    details: ErrorDetails | None = None


class AnthropicFailureEnvelope(Shape):
    """The body of every failure."""

    type: Literal["error"]
    error: AnthropicFailure


ANTHROPIC_FAILURES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": AnthropicFailureEnvelope, "description": "The request is at fault, or came too often"},
    "5XX": {
        "model": AnthropicFailureEnvelope,
        "description": "The server is at fault, or has too much to do",
    },
}
