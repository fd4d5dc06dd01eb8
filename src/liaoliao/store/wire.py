"""The form in which talks are exported and read back: format "liaoliao/1", as dataclasses.

    {"format": "liaoliao/1", "exported_at": …, "account": {…}, "keys": […], "personas": […], "attachments": […],
     "conversations": [{"title": "Ferries", "messages": [{"id": "01K…", "parent_id": null, "role": "user",
                        "parts": [{"type": "text", "text": "When?"}], …}, …], "votes": […], …}]}

Ids only tie the file's own parts together; an import gives everything new ones. What another program exports is first
turned into an `ExportedConversation` (see `chatgpt`), so there is one way into the database.
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from liaoliao.errors import DataError
from liaoliao.messages import Role
from liaoliao.store.records import Status, Thumb, ToolUse

FORMAT = "liaoliao/1"
MAX_MESSAGES = 200_000  # of one conversation
_LATEST = 1e11  # seconds: some thousand years from now
_MOST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ExportedGeneration:
    """A generation, without its ids. `params["prompt"]["continues"]`, if there is such, is the id of the message with
    whose words it goes on.
    """

    model: str
    model_version: str
    params: Mapping[str, Any]
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    first_token_s: float | None = None
    total_s: float | None = None
    finish_reason: str | None = None
    error: str | None = None
    token_ids: tuple[int, ...] = ()
    opening_tokens: int = 0
    tool_uses: tuple[ToolUse, ...] = ()
    error_code: str | None = None


@dataclass(frozen=True, slots=True)
class ExportedFeedback:
    """A feedback, without the id of its message."""

    thumb: Thumb
    reasons: tuple[str, ...]
    comment: str
    updated_at: float


@dataclass(frozen=True, slots=True)
class ExportedMessage:
    """A message of a tree; `parts` as in `liaoliao.store.parts`, `attachments` by id."""

    id: str
    parent_id: str | None
    role: Role
    parts: tuple[Mapping[str, str], ...]
    created_at: float
    status: Status = "done"
    edited_from: str | None = None
    attachments: tuple[str, ...] = ()
    generation: ExportedGeneration | None = None
    feedback: ExportedFeedback | None = None


@dataclass(frozen=True, slots=True)
class ExportedVote:
    """A vote within a conversation."""

    parent_id: str
    chosen_id: str
    rejected_id: str | None
    created_at: float


@dataclass(frozen=True, slots=True)
class ExportedConversation:
    """A conversation with its tree."""

    id: str
    title: str
    created_at: float
    updated_at: float
    messages: tuple[ExportedMessage, ...]
    pinned: bool = False
    model: str | None = None
    persona_id: str | None = None
    settings: Mapping[str, Any] | None = None
    head_id: str | None = None
    votes: tuple[ExportedVote, ...] = ()


@dataclass(frozen=True, slots=True)
class ExportedAttachment:
    """A text file."""

    id: str
    name: str
    media_type: str
    created_at: float
    text: str


@dataclass(frozen=True, slots=True)
class ExportedPersona:
    """A persona; the avatar in base64."""

    id: str
    name: str
    description: str
    system_prompt: str
    greeting: str
    example: str
    created_at: float
    avatar: str | None = None
    source: Mapping[str, Any] | None = None


def checked(conversation: ExportedConversation) -> ExportedConversation:
    """The conversation, if its messages are a tree and its figures can be. Raises DataError."""
    if len(conversation.messages) > MAX_MESSAGES:
        raise DataError(f"{len(conversation.messages)} messages; at most {MAX_MESSAGES} make a conversation")
    parents = {message.id: message.parent_id for message in conversation.messages}
    if len(parents) < len(conversation.messages):
        raise DataError("two messages have one id")
    times = [conversation.created_at, conversation.updated_at]
    for message in conversation.messages:
        _check_message(message, parents)
        times += [message.created_at, *([message.feedback.updated_at] if message.feedback else [])]
    if conversation.head_id is not None and conversation.head_id not in parents:
        raise DataError("head_id names no message of it")
    for vote in conversation.votes:
        times.append(vote.created_at)
        _check_vote(vote, parents)
    if not all(math.isfinite(time) and 0 <= time < _LATEST for time in times):
        raise DataError("a time is not in Unix seconds")
    return conversation


def _check_message(message: ExportedMessage, parents: Mapping[str, str | None]) -> None:
    if message.parent_id is not None and message.parent_id not in parents:
        raise DataError("a message has a parent that is not there")
    if message.edited_from is not None and parents.get(message.edited_from, "") != message.parent_id:
        raise DataError("edited_from names no sibling")
    made = message.generation
    if made is None:
        return
    counts = (made.prompt_tokens, made.completion_tokens, made.cached_tokens, made.opening_tokens)
    durations = (made.first_token_s or 0.0, made.total_s or 0.0)
    if not all(0 <= count <= _MOST for count in counts) or not all(map(math.isfinite, durations)):
        raise DataError("a generation has figures that cannot be")


def _check_vote(vote: ExportedVote, parents: Mapping[str, str | None]) -> None:
    voted = {vote.chosen_id, vote.rejected_id or vote.chosen_id}
    if vote.chosen_id == vote.rejected_id or any(parents.get(id, "") != vote.parent_id for id in voted):
        raise DataError("a vote names no two different replies to its parent")


def in_order(messages: Sequence[ExportedMessage]) -> list[ExportedMessage]:
    """The messages with every parent before its children; as they stand, if they do so already. Raises DataError for
    a circle.
    """
    placed: set[str | None] = {None}
    for message in messages:
        if message.parent_id not in placed:
            return _from_the_roots(messages)
        placed.add(message.id)
    return list(messages)


def _from_the_roots(messages: Sequence[ExportedMessage]) -> list[ExportedMessage]:
    children: dict[str | None, list[ExportedMessage]] = {}
    for message in messages:
        children.setdefault(message.parent_id, []).append(message)
    ordered: list[ExportedMessage] = []
    waiting = deque(children.get(None, ()))
    while waiting:
        message = waiting.popleft()
        ordered.append(message)
        waiting.extend(children.get(message.id, ()))
    if len(ordered) < len(messages):
        raise DataError("the messages go in a circle")
    return ordered
