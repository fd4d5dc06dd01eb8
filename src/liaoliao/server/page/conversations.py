"""/api/conversations: the list, and one conversation with its whole tree.

POST  /api/conversations  {"persona_id": "01K…"}      ->  201, with the persona's greeting in it (see also `once`)
PATCH /api/conversations/{id}  {"title": "Ferries"}   ->  the conversation without its messages
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from liaoliao.messages import Message
from liaoliao.server.body import StrictRoute
from liaoliao.server.failures import ApiError
from liaoliao.server.openai import Wire
from liaoliao.server.openai_shapes import FAILURES, Shape
from liaoliao.server.page.access import CallerDep
from liaoliao.server.page.live import Live
from liaoliao.server.page.once import KeyDep, Once, carried_out, messages_of, once_of
from liaoliao.server.page.prompts import greeting
from liaoliao.server.page.sampling import TalkSettings
from liaoliao.server.page.views import ConversationView, SummaryView, conversation_view, summary_view
from liaoliao.server.page.work import in_store
from liaoliao.store import Store
from liaoliao.store.records import Account, Conversation, Node

router = APIRouter(prefix="/api", tags=["page"], route_class=StrictRoute, responses=FAILURES)

MAX_TITLE: Final = 200
MOST_LISTED: Final = 200


class NewConversation(Wire):
    """How a conversation is to be."""

    title: str = Field("", max_length=MAX_TITLE)
    model: str | None = Field(None, max_length=200)
    persona_id: str | None = None
    settings: TalkSettings = TalkSettings()


class Change(Wire):
    """What is to be different. `settings` stands in the place of all that were set."""

    title: str = Field("", max_length=MAX_TITLE)
    pinned: bool = False
    model: str | None = Field(None, max_length=200)
    persona_id: str | None = None
    settings: TalkSettings = TalkSettings()
    head_id: str | None = None


class Conversations(Shape):
    """A part of the list, the newest first; what is pinned stands before all else."""

    conversations: list[SummaryView]


def _live(request: Request) -> Live:
    live: Live = request.app.state.live
    return live


@router.get("/conversations")
async def conversations(
    caller: CallerDep,
    request: Request,
    query: Annotated[str, Query(max_length=500)] = "",
    limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 50,
    before: str | None = None,
) -> Conversations:
    """The list, or what of it holds certain words; `before` names the last one that is known already."""
    found = await in_store(
        _live(request).store.conversations, caller.account.id, query=query.strip(), limit=limit, before=before
    )
    return Conversations(conversations=[summary_view(summary) for summary in found])


@router.post("/conversations", status_code=201)
async def new_conversation(
    body: NewConversation, caller: CallerDep, request: Request, key: KeyDep
) -> ConversationView:
    """Begin one. A persona may have the first word."""
    live, once = _live(request), once_of(request, key, body)
    conversation, nodes = await in_store(_create_once, live.store, caller.account, body, once)
    return conversation_view(conversation, await live.views(caller.account.id, nodes))


@router.get("/conversations/{conversation_id}")
async def conversation(conversation_id: str, caller: CallerDep, request: Request) -> ConversationView:
    """All of one, with answers as far as they have come."""
    live = _live(request)
    found, nodes = await in_store(_read, live.store, caller.account.id, conversation_id)
    return conversation_view(found, await live.views(caller.account.id, nodes))


@router.patch("/conversations/{conversation_id}")
async def change(conversation_id: str, body: Change, caller: CallerDep, request: Request) -> ConversationView:
    """Call it otherwise, pin it, carry it on in another way, or show another of its branches."""
    update = _live(request).store.update_conversation
    return conversation_view(await in_store(update, caller.account.id, conversation_id, **_changes(body)))


@router.delete("/conversations/{conversation_id}", status_code=204)
async def delete(conversation_id: str, caller: CallerDep, request: Request) -> Response:
    """Delete it with all that is in it; what is being written there ends."""
    live, account_id = _live(request), caller.account.id
    await live.stop_conversation(account_id, conversation_id)
    await in_store(live.store.delete_conversation, account_id, conversation_id)
    return Response(status_code=204)


def _create_once(
    store: Store, account: Account, body: NewConversation, once: Once | None
) -> tuple[Conversation, Sequence[Node]]:
    """The new conversation and its messages, all at once; or what came of the same request before."""
    with store.together():
        if (done := carried_out(store, account.id, "", once, alone=True)) is not None:
            return store.conversation(account.id, done.conversation_id), messages_of(store, account.id, done)
        made, nodes = _create(store, account, body)
        if once is not None:
            store.keep_answered(account.id, "", once.key, once.digest, made.id, [node.id for node in nodes])
    return made, nodes


def _create(store: Store, account: Account, body: NewConversation) -> tuple[Conversation, list[Node]]:
    persona = store.persona(account.id, body.persona_id) if body.persona_id is not None else None
    made = store.create_conversation(
        account.id, title=body.title.strip(), model=body.model, persona_id=body.persona_id,
        settings=_settings(body.settings),
    )  # fmt: skip
    words = greeting(persona, account) if persona else ""
    if not words:
        return made, []
    node = store.add_message(account.id, made.id, Message.assistant(words), None)
    return store.conversation(account.id, made.id), [node]


def _read(store: Store, account_id: str, conversation_id: str) -> tuple[Conversation, list[Node]]:
    return store.conversation(account_id, conversation_id), store.nodes(account_id, conversation_id)


def _changes(body: Change) -> dict[str, Any]:
    """What was named in the body, and nothing else. Raises ApiError 400 for a body that names nothing."""
    changes: dict[str, Any] = {name: getattr(body, name) for name in body.model_fields_set}
    if not changes:
        raise ApiError("Nothing is to be changed; name a field.", code="no_change")
    if "settings" in changes:
        changes["settings"] = _settings(body.settings)
    if "title" in changes:
        changes["title"] = body.title.strip()
    return changes


def _settings(settings: TalkSettings) -> dict[str, Any]:
    """What is set."""
    return settings.model_dump(exclude_none=True)
