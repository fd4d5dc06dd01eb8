"""What the store hands out: values that no longer know the database they came from.

    store.conversation(account.id, id)  ->  Conversation(id="01K…", title="Ferry to Hong Kong", pinned=False, …)

Ids are those of `liaoliao.store.ids`; times are Unix seconds. A conversation is a tree of nodes: what a person edits
or asks for anew becomes a sibling, and the path from a root to `head_id` is what the page shows.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from liaoliao.messages import Message, Role

AccountRole: TypeAlias = Literal["admin", "member"]
Status: TypeAlias = Literal["done", "running", "stopped", "length", "interrupted", "failed"]
Thumb: TypeAlias = Literal[-1, 0, 1]


@dataclass(frozen=True, slots=True)
class Account:
    """Someone who owns things here. `has_password` is false for the owner of single-user mode. `password_stamp` tells
    this password from the next one, and nothing else of it; "" for none.
    """

    id: str
    name: str
    role: AccountRole
    created_at: float
    disabled: bool
    has_password: bool = True
    password_stamp: str = field(default="", compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Session:
    """A browser that is logged in until `expires_at`; its token is known to the browser alone."""

    id: str
    account_id: str
    created_at: float
    expires_at: float
    last_seen_at: float


@dataclass(frozen=True, slots=True)
class AccountKey:
    """An API key of an account; of the key itself only the first characters are kept, to tell keys apart."""

    id: str
    account_id: str
    name: str
    prefix: str
    created_at: float
    last_used_at: float | None


@dataclass(frozen=True, slots=True)
class Conversation:
    """A tree of messages and how it is carried on. `head_id`: the message that the page shows down to."""

    id: str
    account_id: str
    title: str
    pinned: bool
    created_at: float
    updated_at: float
    model: str | None
    persona_id: str | None
    settings: Mapping[str, Any]
    head_id: str | None


@dataclass(frozen=True, slots=True)
class ConversationSummary:
    """A line of the list of conversations. `snippet`: the words around what was searched for, None where it is the
    title that has them, or nothing was searched for.
    """

    id: str
    account_id: str
    title: str
    pinned: bool
    created_at: float
    updated_at: float
    model: str | None
    persona_id: str | None
    head_id: str | None
    snippet: str | None


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A tool of the model's own that was run while it answered. `arguments` is a JSON text; `result` is None where the
    answer was over before the tool.
    """

    id: str
    name: str
    arguments: str
    result: str | None


@dataclass(frozen=True, slots=True)
class Generation:
    """The making of one assistant message. `token_ids`: the reply as made, the first `opening_tokens` of them given
    rather than chosen. `tool_uses`: the tools that were run for it, in order. `error`: why it failed, and `error_code`
    that failure's short name, if it has one. Durations in seconds, None where it did not come to that.
    """

    id: str
    message_id: str
    model: str
    model_version: str
    params: Mapping[str, Any]
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    first_token_s: float | None
    total_s: float | None
    finish_reason: str | None
    error: str | None
    token_ids: tuple[int, ...]
    opening_tokens: int
    tool_uses: tuple[ToolUse, ...] = ()
    error_code: str | None = None


@dataclass(frozen=True, slots=True)
class AnsweredRequest:
    """A request that was carried out under a key of its sender's. `digest` is that of what was asked, `message_ids` are
    the messages that came of it, in the order in which they were made, all in one conversation.
    """

    key: str
    digest: str
    conversation_id: str
    message_ids: tuple[str, ...]
    created_at: float


@dataclass(frozen=True, slots=True)
class Feedback:
    """What a person thinks of an assistant message."""

    message_id: str
    thumb: Thumb
    reasons: tuple[str, ...]
    comment: str
    updated_at: float


@dataclass(frozen=True, slots=True)
class Vote:
    """Of two replies to the message `parent_id`, which is better; a tie has no `rejected_id`."""

    id: str
    conversation_id: str
    parent_id: str
    chosen_id: str
    rejected_id: str | None
    created_at: float


@dataclass(frozen=True, slots=True)
class Attachment:
    """A text file that a person gave; its text is had from `Store.attachment_text`."""

    id: str
    account_id: str
    name: str
    media_type: str
    size_bytes: int
    created_at: float


@dataclass(frozen=True, slots=True)
class Node:
    """A message in the tree. `parent_id` is None for a root; `edited_from` names the sibling that this one improves
    on; a running one holds what has been saved of it so far.
    """

    id: str
    conversation_id: str
    parent_id: str | None
    role: Role
    message: Message
    created_at: float
    status: Status
    attachments: tuple[Attachment, ...]
    generation: Generation | None
    feedback: Feedback | None
    edited_from: str | None


@dataclass(frozen=True, slots=True)
class Persona:
    """A character to talk to. `avatar`: PNG, JPEG or WebP; `source`: the card as it was imported, {} for our own."""

    id: str
    account_id: str
    name: str
    description: str
    system_prompt: str
    greeting: str
    example: str
    avatar: bytes | None
    source: Mapping[str, Any]
    created_at: float


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What came of an import; each line of `skipped` names something that was left out, and why."""

    num_conversations: int
    num_messages: int
    skipped: tuple[str, ...]
