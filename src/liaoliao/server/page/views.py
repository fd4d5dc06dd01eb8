"""What the page is shown: records of the store as JSON, in the shapes that `web/` is written against.

    message_view(node)  ->  MessageView(id="01K…", role="assistant", text="5", status="done", ...)

All names are always there, null where there is nothing. Times are Unix seconds, durations seconds.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

from pydantic import JsonValue

from liaoliao.messages import Role
from liaoliao.server.failures import ApiError, envelope
from liaoliao.server.openai_shapes import Shape
from liaoliao.server.sse import encode
from liaoliao.store.records import (
    Attachment,
    Conversation,
    ConversationSummary,
    Feedback,
    Generation,
    Node,
    Persona,
    Status,
)

PROMPT: Final = "prompt"  # what of a generation's params is about the prompt (prompts.py), and no setting


class CallView(Shape):
    """A call of a tool; `arguments` is a JSON text. `result` is null where the tool has not answered."""

    id: str
    name: str
    arguments: str
    result: str | None


class AttachmentView(Shape):
    """A text file that was given."""

    id: str
    name: str
    size_bytes: int


class FeedbackView(Shape):
    """What a person thinks of an answer."""

    thumb: Literal[-1, 0, 1]
    reasons: list[str]
    comment: str


class GenerationView(Shape):
    """How an answer was made. `left_out`: the oldest messages that did not fit the model's context any more.
    `error_code` names a failure for which the page has words; `error` has those of the server.
    """

    id: str
    model: str
    model_version: str
    params: dict[str, JsonValue]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    first_token_s: float | None
    total_s: float | None
    finish_reason: str | None
    error: str | None
    error_code: str | None
    left_out: int


class MessageView(Shape):
    """A message of the tree. Where it is "running", `seq` is the number of the last event that it has in it."""

    id: str
    conversation_id: str
    parent_id: str | None
    role: Role
    text: str
    reasoning: str
    tool_calls: list[CallView]
    status: Status
    created_at: float
    edited_from: str | None
    attachments: list[AttachmentView]
    feedback: FeedbackView | None
    generation: GenerationView | None
    seq: int | None


class ConversationView(Shape):
    """A conversation, with all of its tree where that was asked for."""

    id: str
    title: str
    pinned: bool
    created_at: float
    updated_at: float
    model: str | None
    persona_id: str | None
    settings: dict[str, JsonValue]
    head_id: str | None
    messages: list[MessageView]


class SummaryView(Shape):
    """A line of the list. `snippet`: the words around what was searched for."""

    id: str
    title: str
    pinned: bool
    updated_at: float
    model: str | None
    snippet: str | None


class PersonaView(Shape):
    """A character to talk to."""

    id: str
    name: str
    description: str
    system_prompt: str
    greeting: str
    example: str
    has_avatar: bool
    created_at: float


def message_view(node: Node, *, seq: int | None = None, elsewhere: bool = False) -> MessageView:
    """A message. One that is said to be running, with no events (`seq`) of its own here and no other server that makes
    it (`elsewhere`), has lost its maker.
    """
    message, lost = node.message, node.status == "running" and seq is None and not elsewhere
    return MessageView(
        id=node.id,
        conversation_id=node.conversation_id,
        parent_id=node.parent_id,
        role=node.role,
        text=message.text,
        reasoning=message.reasoning,
        tool_calls=list(_calls(node)),
        status="interrupted" if lost else node.status,
        created_at=node.created_at,
        edited_from=node.edited_from,
        attachments=[attachment_view(attachment) for attachment in node.attachments],
        feedback=feedback_view(node.feedback) if node.feedback else None,
        generation=generation_view(node.generation) if node.generation else None,
        seq=seq,
    )


def _calls(node: Node) -> Iterator[CallView]:
    """The tools that were run for an answer; and calls in it that somebody else was to answer (it was imported)."""
    for use in node.generation.tool_uses if node.generation else ():
        yield CallView(id=use.id, name=use.name, arguments=use.arguments, result=use.result)
    for call in node.message.tool_calls:
        yield CallView(id=call.id, name=call.name, arguments=call.arguments, result=None)


def attachment_view(attachment: Attachment) -> AttachmentView:
    """A file that was given."""
    return AttachmentView(id=attachment.id, name=attachment.name, size_bytes=attachment.size_bytes)


def feedback_view(feedback: Feedback) -> FeedbackView:
    """What someone thinks."""
    return FeedbackView(thumb=feedback.thumb, reasons=list(feedback.reasons), comment=feedback.comment)


def generation_view(made: Generation) -> GenerationView:
    """How it was made; what the prompt was is the X-ray's to show."""
    return GenerationView(
        id=made.id,
        model=made.model,
        model_version=made.model_version,
        params={name: value for name, value in made.params.items() if name != PROMPT},
        prompt_tokens=made.prompt_tokens,
        completion_tokens=made.completion_tokens,
        cached_tokens=made.cached_tokens,
        first_token_s=made.first_token_s,
        total_s=made.total_s,
        finish_reason=made.finish_reason,
        error=made.error,
        error_code=made.error_code,
        left_out=_left_out(made.params.get(PROMPT)),
    )


def _left_out(prompt: Any) -> int:
    number = prompt.get("left_out", 0) if isinstance(prompt, Mapping) else 0
    return number if isinstance(number, int) else 0


def conversation_view(conversation: Conversation, messages: Iterable[MessageView] = ()) -> ConversationView:
    """A conversation with these messages."""
    return ConversationView(
        id=conversation.id,
        title=conversation.title,
        pinned=conversation.pinned,
        created_at=conversation.created_at,
        updated_at=conversation.updated_at,
        model=conversation.model,
        persona_id=conversation.persona_id,
        settings=dict(conversation.settings),
        head_id=conversation.head_id,
        messages=list(messages),
    )


def error_event(error: ApiError) -> bytes:
    """A failure in the midst of a stream, which ends there: an event like all others, and without a number, as it is
    not one of the answer's. Programs under /v1 get the bare envelope (`sse.error_frame`).
    """
    return encode({"type": "error", **envelope(error)})


def summary_view(summary: ConversationSummary) -> SummaryView:
    """A line of the list."""
    return SummaryView(
        id=summary.id, title=summary.title, pinned=summary.pinned, updated_at=summary.updated_at,
        model=summary.model, snippet=summary.snippet,
    )  # fmt: skip


def persona_view(persona: Persona) -> PersonaView:
    """A character, without its picture."""
    return PersonaView(
        id=persona.id, name=persona.name, description=persona.description,
        system_prompt=persona.system_prompt, greeting=persona.greeting, example=persona.example,
        has_avatar=persona.avatar is not None, created_at=persona.created_at,
    )  # fmt: skip
