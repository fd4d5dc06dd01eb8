"""The shapes of OpenAI's responses, for the schema at /openapi.json and for the tests that hold us to it.

Responses are built as plain dicts, of which a stream makes thousands; these models only describe them.
"""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class Shape(BaseModel):
    """A part of a response: exactly these names."""

    model_config = ConfigDict(extra="forbid")


class Failure(Shape):
    """What went wrong."""

    message: str
    type: str
    param: str | None
    code: str | None


class FailureEnvelope(Shape):
    """The body of every failure."""

    error: Failure


class PromptDetails(Shape):
    """Of the prompt's tokens."""

    cached_tokens: int


class CompletionDetails(Shape):
    """Of the completion's tokens."""

    reasoning_tokens: int


class UsageShape(Shape):
    """What a response cost."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails
    completion_tokens_details: CompletionDetails


class AlternativeShape(Shape):
    """A token that could have stood there."""

    token: str
    logprob: float
    bytes: list[int]


class TokenShape(AlternativeShape):
    """A token of the text."""

    top_logprobs: list[AlternativeShape]


class ChatLogprobs(Shape):
    """The tokens of a chat reply; their bytes add up to its content."""

    content: list[TokenShape]
    refusal: None


class CallShape(Shape):
    """A tool call."""

    id: str
    type: Literal["function"]
    function: dict[Literal["name", "arguments"], str]


class MessageShape(Shape):
    """A reply."""

    role: Literal["assistant"]
    content: str | None
    refusal: None
    reasoning_content: str | None = None
    tool_calls: list[CallShape] | None = None


class ChatChoice(Shape):
    """One of `n` replies."""

    index: int
    message: MessageShape
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length", "tool_calls"]


class ResponseHead(Shape):
    """What all responses of a model tell."""

    id: str
    created: int
    model: str
    system_fingerprint: str


class ChatCompletion(ResponseHead):
    """The answer to a conversation."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]
    usage: UsageShape


class CallDelta(Shape):
    """A piece of a tool call."""

    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: dict[Literal["name", "arguments"], str]


class Delta(Shape):
    """What a chunk adds to a reply."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[CallDelta] | None = None


class ChunkChoice(Shape):
    """Which reply a chunk adds to, and what."""

    index: int
    delta: Delta
    logprobs: ChatLogprobs | None
    finish_reason: Literal["stop", "length", "tool_calls"] | None


class ChatCompletionChunk(ResponseHead):
    """One event of a streamed answer."""

    object: Literal["chat.completion.chunk"]
    choices: list[ChunkChoice]
    usage: UsageShape | None = None


class TextLogprobs(Shape):
    """The tokens of a text, and where in it (in characters) they begin."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None] | None
    text_offset: list[int]


class TextChoice(Shape):
    """One continuation of one prompt."""

    index: int
    text: str
    logprobs: TextLogprobs | None
    finish_reason: Literal["stop", "length"] | None


class TextCompletion(ResponseHead):
    """Continuations of the prompts, and one event of a streamed one."""

    object: Literal["text_completion"]
    choices: list[TextChoice]
    usage: UsageShape | None = None


class ModelShape(Shape):
    """A served model."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int = Field(description="Tokens that a prompt and its reply may have together.")


class ModelList(Shape):
    """All served models."""

    object: Literal["list"]
    data: list[ModelShape]


class EmbeddingShape(Shape):
    """The vector of one input: numbers, or base64 of little-endian float32."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class EmbeddingUsage(Shape):
    """What embeddings cost."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingList(Shape):
    """The vectors of all inputs, in their order."""

    object: Literal["list"]
    data: list[EmbeddingShape]
    model: str
    usage: EmbeddingUsage


class TokenList(Shape):
    """The token ids of a text."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None


class Detokenized(Shape):
    """The text of token ids."""

    prompt: str


def streamed(whole: type[BaseModel]) -> dict[str, Any]:
    """How /openapi.json describes a route that answers whole or as a stream."""
    events = {"schema": {"type": "string", "description": "Server-sent events, the last of them [DONE]."}}
    return {"model": whole, "description": "The answer", "content": {"text/event-stream": events}}


FAILURES: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": FailureEnvelope, "description": "The request is at fault, or came too often"},
    "5XX": {"model": FailureEnvelope, "description": "The server is at fault, or has too much to do"},
}
