"""/v1/chat/completions: the wire form of a request, and the `ChatJob` that it asks for.

    {"model": "m", "messages": [{"role": "user", "content": "2+3?"}], "tools": [...], "tool_choice": "required"}
        ->  ChatJob((Message.user("2+3?"),), tools=(...), grammar=<calls of these tools>)

The way back, from events to chunks, is `chat_chunks`.
"""

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, Literal

from pydantic import Field

from liaoliao.engine.request import Grammar
from liaoliao.errors import DataError
from liaoliao.messages import Message, Tool
from liaoliao.server.failures import ApiError
from liaoliao.server.openai import Echo, Label, Sampling, Wire, only, sampling_params
from liaoliao.server.reply import ChatJob
from liaoliao.server.served import ServedModel
from liaoliao.server.wishes import CallMode, Effort, ToolWish, require, thinking_options

_SAID_TWICE = "OpenAI's client sends back what it has parsed: the same once more."
_TEXT_ONLY = "this server makes and reads text only"


class ImageUrl(Wire):
    """Where a picture is: a data URL."""

    url: str
    detail: str | None = None


class Part(Wire):
    """A piece of a message's content."""

    type: str = Field(description='"text" or "image_url"')
    text: str | None = None
    image_url: ImageUrl | None = None


class CalledFunction(Wire):
    """The function that was called, with its arguments as a JSON text."""

    name: str
    arguments: str
    parsed_arguments: Any = Field(None, exclude=True, description=_SAID_TWICE)


class MadeCall(Wire):
    """A tool call that the assistant made before."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = None


class ChatMessage(Echo):
    """One message of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    name: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[MadeCall] | None = None
    tool_call_id: str | None = None
    parsed: Any = Field(None, exclude=True, description=_SAID_TWICE)

    def to_message(self) -> Message:
        """The message. Raises DataError for what its role cannot hold."""
        wire = self.model_dump(exclude_none=True)
        if self.role == "assistant":
            wire.pop("name", None)  # which of several assistants said it: the model takes them all for itself
        return Message.from_openai(wire)


class FunctionDefinition(Wire):
    """A function that the model may call."""

    name: str = Field(pattern=r"^[\w.-]{1,128}$")
    description: str | None = None
    parameters: dict[str, Any] | None = Field(None, description="A JSON schema of the arguments.")
    strict: bool | None = Field(None, description="Hold every call to the schema while it is written.")


class ToolDefinition(Wire):
    """A tool; functions are the only kind."""

    type: Literal["function"]
    function: FunctionDefinition


class ChosenFunction(Wire):
    """The name of a function."""

    name: str


class ToolChoice(Wire):
    """The one tool that must be called."""

    type: Literal["function"]
    function: ChosenFunction


class JsonSchema(Wire):
    """A named JSON schema."""

    name: str | None = None
    description: str | None = None
    schema_: dict[str, Any] | None = Field(None, alias="schema")
    strict: bool | None = Field(None, description="Accepted; the schema is always held to.")


class ResponseFormat(Wire):
    """What the reply must be: any text, any JSON object, or JSON of a schema."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class ChatCompletionRequest(Sampling):
    """The body of POST /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    tools: Annotated[list[ToolDefinition], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    reasoning_effort: Effort | None = None
    # beyond OpenAI's
    chat_template_kwargs: Annotated[dict[str, Any], Field(max_length=32)] | None = None
    continue_final_message: bool | None = Field(None, description="Go on with the last assistant message.")
    add_generation_prompt: bool | None = Field(None, description="True, unless continue_final_message is.")
    # what says nothing to the model
    metadata: Annotated[dict[str, Label], Field(max_length=16)] | None = Field(
        None, description="Accepted; it has no effect."
    )
    safety_identifier: Label | None = Field(None, description="Accepted; it has no effect.")
    prompt_cache_key: Label | None = Field(None, description="Accepted; prompts are matched by their tokens.")
    # what cannot be honoured
    store: Annotated[Literal[False] | None, only(False, why="nothing is stored here; leave it out")] = None
    service_tier: Annotated[
        Literal["auto", "default"] | None, only("auto", "default", why="there is but one")
    ] = None
    modalities: Annotated[list[Literal["text"]] | None, only(["text"], why=_TEXT_ONLY)] = None
    audio: Annotated[None, only(why=_TEXT_ONLY)] = None
    prediction: Annotated[None, only(why="predicted outputs are not supported")] = None
    web_search_options: Annotated[None, only(why="there is no web search here")] = None
    verbosity: Annotated[None, only(why="no model here knows it; ask for it in a message")] = None
    prompt_cache_retention: Annotated[None, only(why="the cache is not kept for a time")] = None
    functions: Annotated[None, only(why="it is replaced by 'tools'")] = None
    function_call: Annotated[None, only(why="it is replaced by 'tool_choice'")] = None

    @property
    def forced_name(self) -> str | None:
        """The tool that must be called, if one is named."""
        return self.tool_choice.function.name if isinstance(self.tool_choice, ToolChoice) else None

    def check(self) -> None:
        """ApiError for fields that do not go together."""
        self.check_stream()
        require(not (self.top_logprobs and not self.logprobs), "top_logprobs", "it needs 'logprobs': true")
        both = self.max_tokens is not None and self.max_completion_tokens is not None
        require(not both, "max_tokens", "give 'max_completion_tokens' alone")
        continues = bool(self.continue_final_message)
        clash = self.add_generation_prompt is not None and self.add_generation_prompt == continues
        require(not clash, "add_generation_prompt", "it must be the opposite of 'continue_final_message'")
        bound = self.response_format is not None and self.response_format.type != "text"
        calls = bool(self.tools) and self.tool_choice != "none"
        require(
            not (bound and calls), "response_format", "a reply is in this format or calls tools; choose one"
        )


def chat_job(wire: ChatCompletionRequest, served: ServedModel) -> ChatJob:
    """What the request asks for. Raises ApiError and other LiaoErrors for what cannot be done.

    It compiles schemas and may take a while: run it off the event loop.
    """
    wire.check()
    wish = _wish(wire)
    return ChatJob(
        messages=tuple(to_messages(wire.messages)),
        tools=wish.offered(served),
        params=sampling_params(
            wire, served,
            max_tokens=wire.max_completion_tokens or wire.max_tokens, logprobs=wire.top_logprobs or 0,
        ),
        stop=wire.stop_strings,
        grammar=wish.grammar(served) or _format_grammar(wire.response_format, served),
        continue_final=bool(wire.continue_final_message),
        template_options={**thinking_options(wire.reasoning_effort, served), **(wire.chat_template_kwargs or {})},
        logprobs=bool(wire.logprobs),
        allow_calls=wire.tool_choice != "none",
        one_call=wire.parallel_tool_calls is False,
    )  # fmt: skip


def to_messages(messages: Iterable[ChatMessage]) -> Iterator[Message]:
    """The conversation. Raises ApiError naming the first message that is none."""
    for index, message in enumerate(messages):
        try:
            yield message.to_message()
        except DataError as error:
            raise ApiError(f"messages[{index}]: {error}", param=f"messages[{index}]") from error


def _wish(wire: ChatCompletionRequest) -> ToolWish:
    functions = [definition.function for definition in wire.tools or ()]
    mode: CallMode = "required" if isinstance(wire.tool_choice, ToolChoice) else wire.tool_choice or "auto"
    strict = any(function.strict for function in functions)
    return ToolWish([*map(to_tool, functions)], mode, wire.forced_name, strict=strict)


def to_tool(function: FunctionDefinition) -> Tool:
    """The tool; without parameters it takes none."""
    if function.parameters is None:
        return Tool(function.name, function.description or "")
    return Tool(function.name, function.description or "", function.parameters)


def _format_grammar(wanted: ResponseFormat | None, served: ServedModel) -> Grammar | None:
    if wanted is None or wanted.type == "text":
        return None
    if wanted.type == "json_object":
        return served.grammars.json_object()
    if wanted.json_schema is None or wanted.json_schema.schema_ is None:
        raise ApiError(
            "Missing required parameter: 'response_format.json_schema.schema'.",
            param="response_format.json_schema.schema", code="missing_required_parameter",
        )  # fmt: skip
    return served.grammars.json_schema(wanted.json_schema.schema_)
