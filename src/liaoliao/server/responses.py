"""/v1/responses: the wire form of a request, the `ChatJob` that it asks for, and the response it opens.

    {"model": "m", "input": "2+3?", "instructions": "Be brief.", "reasoning": {"effort": "low"}}
        ->  ChatJob((Message.system("Be brief."), Message.user("2+3?")), template_options={"enable_thinking": True})

Nothing is stored: a conversation goes on by sending its items again. The input is read by `response_items`, the
way back from events to the wire is `response_events`.
"""

import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal, TypeAlias
from uuid import uuid4

from pydantic import Field, Tag

from liaoliao.engine.request import Grammar, SamplingParams
from liaoliao.messages import Message, Tool
from liaoliao.server.failures import ApiError
from liaoliao.server.openai import Label, Sampling, StreamOptions, Wire, only, sampling_params
from liaoliao.server.reply import ChatJob, prompt_ids
from liaoliao.server.response_items import Input, read_input
from liaoliao.server.served import ServedModel
from liaoliao.server.unions import by_type
from liaoliao.server.wishes import CallMode, Effort, ToolWish, require, thinking_options

_STATELESS = "nothing is stored here; send the conversation's earlier items as 'input'"
_ONE_TIER = "there is but one"
_DEFAULT_PARAMS = SamplingParams()
LOGPROBS = "message.output_text.logprobs"


class FunctionTool(Wire):
    """A function that the model may call."""

    type: Literal["function"]
    name: str = Field(pattern=r"^[\w.-]{1,128}$")
    description: str | None = None
    parameters: dict[str, Any] | None = Field(None, description="A JSON schema of the arguments.")
    strict: bool | None = Field(None, description="Hold every call to the schema while it is written.")
    defer_loading: Annotated[Literal[False] | None, only(False, why="tools are loaded at once")] = None
    allowed_callers: Annotated[
        list[Literal["direct"]] | None, only(["direct"], why="tools are called by the model alone")
    ] = None
    output_schema: Annotated[None, only(why="it would not reach the model; say it in the description")] = None

    def tool(self) -> Tool:
        """As the chat template knows it."""
        given = {} if self.parameters is None else {"parameters": self.parameters}
        return Tool(self.name, self.description or "", **given)


class ToolName(Wire):
    """One of the tools."""

    type: Literal["function"]
    name: str


class AllowedTools(Wire):
    """Some of the tools, of which calls may or must be made."""

    type: Literal["allowed_tools"]
    mode: Literal["auto", "required"]
    tools: list[ToolName]


ToolChoice: TypeAlias = Annotated[
    Annotated[CallMode, Tag("<str>")]
    | Annotated[ToolName, Tag("<function>")]
    | Annotated[AllowedTools, Tag("<allowed_tools>")],
    by_type('"none", "auto", "required", and objects of the types function, allowed_tools'),
]


class PlainFormat(Wire):
    """Any text."""

    type: Literal["text"] = "text"


class JsonFormat(Wire):
    """Any JSON object."""

    type: Literal["json_object"]


class SchemaFormat(Wire):
    """JSON of a schema."""

    type: Literal["json_schema"]
    name: str
    schema_: dict[str, Any] = Field(alias="schema")
    description: str | None = None
    strict: bool | None = Field(None, description="Accepted; the schema is always held to.")


Format: TypeAlias = Annotated[
    Annotated[PlainFormat, Tag("<text>")]
    | Annotated[JsonFormat, Tag("<json_object>")]
    | Annotated[SchemaFormat, Tag("<json_schema>")],
    by_type("text, json_object, json_schema"),
]


class TextConfig(Wire):
    """What the words of the response must be."""

    format: Format | None = None
    verbosity: Annotated[
        Literal["medium"] | None, only("medium", why="no model here knows it; ask for it")
    ] = None


class ReasoningConfig(Wire):
    """How much the model thinks. Its thoughts are given in full, as the `content` of reasoning items."""

    effort: Effort | None = None
    summary: Annotated[
        Literal["auto"] | None, only("auto", why="thoughts are given in full, no summary is made")
    ] = None


class ResponseStreamOptions(StreamOptions):
    """What a stream tells besides its text; its usage always comes with the last event."""

    include_usage: Annotated[None, only(why="the last event always has it")] = None


class InputTokensRequest(Wire):
    """What makes a prompt; the body of POST /v1/responses/input_tokens."""

    model: str = Field(description="The id of a served model, see /v1/models.")
    input: Input
    instructions: str | None = None
    tools: Annotated[list[FunctionTool], Field(max_length=128)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: ReasoningConfig | None = None
    truncation: Literal["auto", "disabled"] | None = Field(
        None, description="auto: drop the oldest messages where the conversation does not fit the context."
    )
    chat_template_kwargs: Annotated[dict[str, Any], Field(max_length=32)] | None = None  # beyond OpenAI's
    # what cannot be honoured
    previous_response_id: Annotated[None, only(why=_STATELESS)] = None
    conversation: Annotated[None, only(why=_STATELESS)] = None

    @property
    def wish(self) -> ToolWish:
        """The tools, and how they are to be called."""
        given = self.tools or []
        tools, strict = [tool.tool() for tool in given], any(tool.strict for tool in given)
        match self.tool_choice:
            case ToolName(name=name):
                return ToolWish(tools, "required", name)
            case AllowedTools(mode=mode, tools=allowed):
                return ToolWish(_allowed(tools, allowed), mode, strict=strict)
            case mode:
                return ToolWish(tools, mode or "auto", strict=strict)

    @property
    def format(self) -> Format:
        """What the text must be."""
        return self.text.format if self.text and self.text.format else PlainFormat()


class ResponsesRequest(InputTokensRequest, Sampling):
    """The body of POST /v1/responses."""

    max_output_tokens: int | None = Field(None, ge=1)
    include: list[Literal["message.output_text.logprobs", "reasoning.encrypted_content"]] | None = Field(
        None, description="Reasoning comes in plain 'content', which is all that is needed to send it again."
    )
    top_logprobs: int | None = Field(None, ge=0, le=20)
    stream_options: ResponseStreamOptions | None = None
    # what says nothing to the model
    metadata: Annotated[dict[Annotated[str, Field(max_length=64)], Label], Field(max_length=16)] | None = None
    safety_identifier: Label | None = Field(None, description="Accepted; it has no effect.")
    prompt_cache_key: Label | None = Field(None, description="Accepted; prompts are matched by their tokens.")
    # what cannot be honoured
    n: Annotated[Literal[1] | None, only(1, why="a response is one reply")] = None
    store: Annotated[Literal[False] | None, only(False, why=_STATELESS)] = None
    prompt: Annotated[None, only(why=_STATELESS)] = None
    background: Annotated[Literal[False] | None, only(False, why="a response is made while one waits")] = None
    max_tool_calls: Annotated[None, only(why="it bounds built-in tools, of which there are none")] = None
    service_tier: Annotated[Literal["auto", "default"] | None, only("auto", "default", why=_ONE_TIER)] = None
    moderation: Annotated[None, only(why="there is no moderation model")] = None
    context_management: Annotated[None, only(why="see 'truncation'")] = None
    prompt_cache_retention: Annotated[None, only(why="the cache is not kept for a time")] = None
    prompt_cache_options: Annotated[None, only(why="prompts are matched by their tokens")] = None

    @property
    def wants_logprobs(self) -> bool:
        """Whether each token of the text comes with its logprob."""
        return LOGPROBS in (self.include or ()) or bool(self.top_logprobs)


def response_job(wire: ResponsesRequest, served: ServedModel) -> ChatJob:
    """What the request asks for. Raises ApiError and other LiaoErrors for what cannot be done.

    It compiles schemas, and with `truncation` lays out prompts: run it off the event loop.
    """
    wire.check_stream()
    params = sampling_params(wire, served, max_tokens=wire.max_output_tokens, logprobs=wire.top_logprobs or 0)
    job, grammar = input_job(wire, served, params), _format_grammar(wire.format, served)
    require(
        not (job.tools and grammar), "text.format", "a reply is in this format or calls tools; choose one"
    )
    return replace(
        job,
        stop=wire.stop_strings,
        grammar=grammar or wire.wish.grammar(served),
        logprobs=wire.wants_logprobs,
        one_call=wire.parallel_tool_calls is False,
    )


def input_job(
    wire: InputTokensRequest, served: ServedModel, params: SamplingParams = _DEFAULT_PARAMS
) -> ChatJob:
    """As much of the job as its prompt needs. Raises as `response_job` does."""
    wish, effort = wire.wish, wire.reasoning.effort if wire.reasoning else None
    opening = [Message.system(wire.instructions)] if wire.instructions else []
    job = ChatJob(
        messages=(*opening, *read_input(wire.input)),
        tools=wish.offered(served),
        params=params,
        template_options={**thinking_options(effort, served), **(wire.chat_template_kwargs or {})},
        allow_calls=wish.mode != "none",
    )
    return fitted(served, job) if wire.truncation == "auto" else job


def _allowed(tools: Sequence[Tool], allowed: Sequence[ToolName]) -> list[Tool]:
    names = {tool.name for tool in allowed}
    unknown = sorted(names - {tool.name for tool in tools})
    require(not unknown, "tool_choice.tools", f"these are not in 'tools': {', '.join(unknown)}")
    require(bool(names), "tool_choice.tools", "name one at least")
    return [tool for tool in tools if tool.name in names]


def _format_grammar(wanted: Format, served: ServedModel) -> Grammar | None:
    match wanted:
        case JsonFormat():
            return served.grammars.json_object()
        case SchemaFormat(schema_=schema):
            return served.grammars.json_schema(schema)
    return None


def fitted(served: ServedModel, job: ChatJob) -> ChatJob:
    """The job without as many of its oldest messages as must go for it to fit the context.

    What a system message says at the head stays, and so does what came last. Messages go up to the next one of
    the user, so that no answer is left without its question and no result without its call.
    """
    starts = [index for index, message in enumerate(job.messages) if message.role == "user"]
    head = next((i for i, message in enumerate(job.messages) if message.role != "system"), 0)
    shorter = [
        replace(job, messages=(*job.messages[:head], *job.messages[start:]))
        for start in [head, *(start for start in starts if start > head)]
    ]
    chosen = bisect_left(shorter, True, key=lambda job: _fits(served, job))
    return shorter[chosen] if chosen < len(shorter) else shorter[-1]


def _fits(served: ServedModel, job: ChatJob) -> bool:
    """Whether there is room for the prompt and for a quarter of the context to answer in."""
    room = served.max_length // 4
    try:
        return len(prompt_ids(served, job)) + min(job.params.max_tokens or room, room) <= served.max_length
    except ApiError:
        return False  # so long that it was not even laid out


def opening_response(wire: ResponsesRequest, served: ServedModel, job: ChatJob) -> dict[str, Any]:
    """The response object before anything is said: what was asked, in OpenAI's words."""
    return {
        "id": f"resp_{uuid4().hex}",
        "object": "response",
        "created_at": int(time.time()),
        "completed_at": None,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": served.id,
        "instructions": wire.instructions,
        "max_output_tokens": wire.max_output_tokens,
        "output": [],
        "parallel_tool_calls": wire.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": wire.reasoning.effort if wire.reasoning else None, "summary": None},
        "store": False,
        "temperature": job.params.temperature,
        "text": {"format": wire.format.model_dump(by_alias=True, exclude_none=True)},
        "tool_choice": _dumped(wire.tool_choice) or "auto",
        "tools": [{"parameters": None, "strict": None, **_dumped(tool)} for tool in wire.tools or ()],
        "top_logprobs": wire.top_logprobs or 0,
        "top_p": job.params.top_p,
        "truncation": wire.truncation or "disabled",
        "usage": None,
        "user": wire.user,
        "metadata": wire.metadata or {},
    }


def _dumped(wire: Any) -> Any:
    return wire.model_dump(exclude_unset=True) if isinstance(wire, Wire) else wire
