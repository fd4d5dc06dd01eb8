"""/v1/messages: Anthropic's wire form of a request, and the `ChatJob` that it asks for.

    {"model": "m", "max_tokens": 99, "system": "Be brief.", "messages": [{"role": "user", "content": "2+3?"}]}
        ->  ChatJob((Message.system("Be brief."), Message.user("2+3?")), params=SamplingParams(max_tokens=99))

A user's `tool_result` blocks are tool messages of their own here. A last message of the assistant is gone on with.
The blocks of messages are read by `anthropic_blocks`, the way back from events to the wire is `anthropic_events`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from liaoliao.engine.request import SamplingParams
from liaoliao.errors import DataError
from liaoliao.messages import Message, Tool
from liaoliao.server.anthropic_blocks import CacheControl, InputMessage, TextBlock, text_parts
from liaoliao.server.failures import ApiError
from liaoliao.server.openai import Label, Sampling, StopString, Wire, only, sampling_params
from liaoliao.server.reply import ChatJob
from liaoliao.server.served import ServedModel
from liaoliao.server.unions import WordsOr
from liaoliao.server.wishes import CallMode, Effort, ToolWish, require, thinking_options

VERSIONS: Final = ("2023-06-01", "2026-10-21")
_MODES: Final[Mapping[str, CallMode]] = {
    "auto": "auto",
    "any": "required",
    "tool": "required",
    "none": "none",
}


class ToolDefinition(Wire):
    """A tool that the model may call and the client runs."""

    type: Annotated[Literal["custom"] | None, only("custom", why="the server has no tools of this type")] = (
        None
    )
    name: str = Field(pattern=r"^[\w.-]{1,128}$")
    description: str | None = None
    input_schema: dict[str, Any] = Field(description="A JSON schema of the input.")
    strict: bool | None = Field(None, description="Hold every call to the schema while it is written.")
    cache_control: CacheControl | None = None
    defer_loading: Annotated[Literal[False] | None, only(False, why="tools are loaded at once")] = None
    allowed_callers: Annotated[
        list[Literal["direct"]] | None, only(["direct"], why="tools are called by the model alone")
    ] = None

    def tool(self) -> Tool:
        """As the chat template knows it."""
        return Tool(self.name, self.description or "", self.input_schema)


class ToolChoice(Wire):
    """Whether tools may (auto), must (any; tool: the one with this name) or must not (none) be called."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None
    disable_parallel_tool_use: bool | None = Field(None, description="End the reply after one call.")


class Thinking(Wire):
    """Whether the model thinks before it speaks; `budget_tokens` is the most that it may think."""

    type: Literal["adaptive", "enabled", "disabled"]
    budget_tokens: int | None = Field(None, ge=1)
    display: Annotated[
        Literal["summarized"] | None, only("summarized", why="thoughts are shown as they are")
    ] = None


class JsonFormat(Wire):
    """JSON of a schema."""

    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(Wire):
    """How much the model thinks, and what its words must be."""

    effort: Effort | None = None
    format: JsonFormat | None = None


class Metadata(Wire):
    """What says nothing to the model."""

    user_id: Label | None = None


class PromptRequest(Wire):
    """What makes a prompt; the body of POST /v1/messages/count_tokens."""

    model: str = Field(description="The id of a served model, see /v1/models.")
    messages: Annotated[list[InputMessage], Field(min_length=1)]
    system: WordsOr[list[TextBlock]] | None = None
    tools: Annotated[list[ToolDefinition], Field(max_length=128)] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    cache_control: CacheControl | None = None
    speed: Annotated[Literal["standard"] | None, only("standard", why="there is but one")] = None
    thread: Any = Field(
        None, description="Refused with the code at which the SDK sends the whole talk instead."
    )

    @property
    def wish(self) -> ToolWish:
        """The tools, and how they are to be called."""
        tools, choice = self.tools or [], self.tool_choice
        mode, name = (_MODES[choice.type], choice.name) if choice else ("auto", None)
        named = choice is not None and choice.type == "tool"
        require(
            named == (name is not None), "tool_choice.name", "it goes with the type 'tool', and only there"
        )
        return ToolWish(
            [tool.tool() for tool in tools], mode, name, strict=any(tool.strict for tool in tools)
        )


class MessagesRequest(PromptRequest):
    """The body of POST /v1/messages."""

    max_tokens: int = Field(ge=1)
    stream: bool | None = None
    stop_sequences: Annotated[list[StopString], Field(max_length=16)] | None = None
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    top_k: int | None = Field(None, ge=-1, le=2**31 - 1, description="0 or -1: off")
    seed: int | None = Field(None, ge=-(2**63), le=2**63 - 1)  # beyond Anthropic's
    metadata: Metadata | None = Field(None, description="Accepted; it has no effect.")
    service_tier: Annotated[
        Literal["auto", "standard_only"] | None, only("auto", "standard_only", why="there is but one")
    ] = None


def message_job(wire: MessagesRequest, served: ServedModel) -> ChatJob:
    """What the request asks for. Raises ApiError and other LiaoErrors for what cannot be done.

    It compiles schemas and may take a while: run it off the event loop.
    """
    job, wish = prompt_job(wire, served), wire.wish
    wanted = wire.output_config.format if wire.output_config else None
    require(
        not (wanted and job.tools),
        "output_config.format",
        "a reply is in this format or calls tools; choose one",
    )
    choice = wire.tool_choice
    return replace(
        job,
        params=_params(wire, served),
        stop=tuple(wire.stop_sequences or ()),
        grammar=served.grammars.json_schema(wanted.schema_) if wanted else wish.grammar(served),
        one_call=bool(choice and choice.disable_parallel_tool_use),
        max_thinking=wire.thinking.budget_tokens if wire.thinking else None,
    )


def prompt_job(wire: PromptRequest, served: ServedModel) -> ChatJob:
    """As much of the job as its prompt needs. Raises as `message_job` does."""
    if wire.thread is not None:
        message = "thread: nothing is stored here; send the whole conversation as 'messages'"
        raise ApiError(message, param="thread", code="thread_unsupported_request")
    _check_thinking(wire.thinking)
    effort = wire.output_config.effort if wire.output_config else None
    switch = {"enable_thinking": wire.thinking.type != "disabled"} if wire.thinking else {}
    wish = wire.wish
    return ChatJob(
        messages=tuple(_messages(wire)),
        tools=wish.offered(served),
        continue_final=wire.messages[-1].role == "assistant",
        template_options={**thinking_options(effort, served), **switch},
        allow_calls=wish.mode != "none",
    )


def check_version(version: str | None) -> None:
    """ApiError for a version of the API that is not known; without one, it is the latest.

    The versions differ here in nothing: what the later one took away at Anthropic's (temperature, top_p, top_k) a
    model of one's own still has, and documents and citations are read in neither.
    """
    if version is not None and version not in VERSIONS:
        message = f"anthropic-version: {version!r} is not known here; known are {', '.join(VERSIONS)}"
        raise ApiError(message, param="anthropic-version")


def _messages(wire: PromptRequest) -> Iterator[Message]:
    if wire.system:
        yield Message("system", text_parts(wire.system))
    for index, message in enumerate(wire.messages):
        try:
            yield from message.messages()
        except DataError as error:
            raise ApiError(f"messages[{index}]: {error}", param=f"messages[{index}]") from error


def _params(wire: MessagesRequest, served: ServedModel) -> SamplingParams:
    given = {name: getattr(wire, name) for name in ("model", "temperature", "top_p", "top_k", "seed")}
    return sampling_params(Sampling.model_validate(given), served, max_tokens=wire.max_tokens, logprobs=0)


def _check_thinking(thinking: Thinking | None) -> None:
    if thinking is not None:
        enabled, budgeted = thinking.type == "enabled", thinking.budget_tokens is not None
        require(
            enabled == budgeted, "thinking.budget_tokens", "it goes with the type 'enabled', and only there"
        )
