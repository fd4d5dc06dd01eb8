"""/api/messages and what is said in a conversation: say, answer anew, go on, edit, branch, stop, and listen.

    POST /api/conversations/{id}/messages  {"text": "2+3?", "parent_id": null}   ->  201 {user, answers: [running], title}
    GET  /api/messages/{answer}/events                                           ->  SSE: text, text, ..., done

A tree only grows: an edited question and an answer written anew are siblings of what they improve on. The answer is
made whether anybody listens or not (`live`); listening again with the number of the last event goes on from there. What
makes messages takes an `Idempotency-Key` (`once`), so that it can safely be asked again.
"""

from contextlib import aclosing
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import Field

from liaoliao.messages import Message
from liaoliao.server.body import StrictRoute
from liaoliao.server.failures import ApiError
from liaoliao.server.openai import Wire
from liaoliao.server.openai_shapes import FAILURES, Shape
from liaoliao.server.page.access import Caller, CallerDep
from liaoliao.server.page.answering import (
    Draft,
    Shown,
    Words,
    answer_again,
    begin,
    beside,
    keep,
    node_and_conversation,
    say,
)
from liaoliao.server.page.live import Live
from liaoliao.server.page.once import KeyDep, Once, once_of
from liaoliao.server.page.prompts import branch_plan, continue_plan
from liaoliao.server.page.views import MessageView, error_event
from liaoliao.server.page.work import in_store
from liaoliao.server.sse import Frames, encode, stream_response
from liaoliao.store.records import Conversation, Node

router = APIRouter(prefix="/api", tags=["page"], route_class=StrictRoute, responses=FAILURES)

MAX_TEXT: Final = 1_000_000  # characters of a message; what a model takes is for its context to say
MAX_ATTACHMENTS: Final = 10
_MOST: Final = 2**31 - 1
_ON: Final = b": on\n\n"
_EVENTS: Final[dict[int | str, dict[str, Any]]] = {
    200: {"description": "Events of an answer", "content": {"text/event-stream": {}}}
}


class NothingMore(Wire):
    """A wish that needs no words."""


class Say(Wire):
    """What a person says, below which message, and how many answers are wanted beside each other."""

    text: str = Field(max_length=MAX_TEXT)
    parent_id: str | None = None
    attachment_ids: list[str] = Field([], max_length=MAX_ATTACHMENTS)
    num_answers: Literal[1, 2] = 1


class Edit(Wire):
    """Other words for a message."""

    text: str = Field(min_length=1, max_length=MAX_TEXT)


class Branch(Wire):
    """Where an answer should have gone another way: from its token number `token_index`, with this one instead."""

    token_index: int = Field(ge=0, le=_MOST)
    token_id: int = Field(ge=0, le=_MOST)


class Answers(Shape):
    """Answers that have begun."""

    answers: list[MessageView]


class Said(Shape):
    """What was said, the answers that have begun, and what the conversation is called now."""

    user: MessageView
    answers: list[MessageView]
    title: str


class Edited(Shape):
    """A better answer, written by a person."""

    message: MessageView


def _live(request: Request) -> Live:
    live: Live = request.app.state.live
    return live


async def _find(request: Request, caller: Caller, message_id: str) -> tuple[Node, Conversation]:
    store = _live(request).store
    return await in_store(node_and_conversation, store, caller.account.id, message_id)


@router.post("/conversations/{conversation_id}/messages", status_code=201)
async def say_something(
    conversation_id: str, body: Say, caller: CallerDep, request: Request, key: KeyDep
) -> Said:
    """Say something, and let the model answer."""
    if not (body.text.strip() or body.attachment_ids):
        raise ApiError("There are no words in this message.", param="text", code="no_words")
    conversation = await in_store(_live(request).store.conversation, caller.account.id, conversation_id)
    await _live(request).refuse_running(caller.account.id, body.parent_id)
    return _said(
        await begin(
            request, caller, conversation, body.num_answers,
            lambda desk: say(desk, body.text, body.parent_id, body.attachment_ids, body.num_answers),
            once=once_of(request, key, body),
        )
    )  # fmt: skip


@router.get("/messages/{message_id}")
async def message(message_id: str, caller: CallerDep, request: Request) -> MessageView:
    """One message, as far as it has come."""
    live = _live(request)
    return await live.view(caller.account.id, await in_store(live.store.node, caller.account.id, message_id))


@router.post("/messages/{message_id}/regenerate", status_code=201)
async def regenerate(
    message_id: str, caller: CallerDep, request: Request, key: KeyDep, body: NothingMore | None = None
) -> Answers:
    """One more answer beside this one, or below this message of the user."""
    node, conversation = await _find(request, caller, message_id)
    once = once_of(request, key)
    shown = await begin(request, caller, conversation, 1, lambda desk: answer_again(desk, node), once=once)
    return Answers(answers=shown.messages)


@router.post("/messages/{message_id}/continue", status_code=201)
async def go_on(
    message_id: str, caller: CallerDep, request: Request, key: KeyDep, body: NothingMore | None = None
) -> Answers:
    """Go on with this answer, in a sibling that has its words and more."""
    node, conversation = await _find_answer(request, caller, message_id)
    shown = await begin(
        request, caller, conversation, 1,
        lambda desk: beside(node, continue_plan(desk, node)),
        once=once_of(request, key),
    )  # fmt: skip
    return Answers(answers=shown.messages)


@router.post("/messages/{message_id}/branch", status_code=201)
async def branch(message_id: str, body: Branch, caller: CallerDep, request: Request, key: KeyDep) -> Answers:
    """Another answer, that begins as this one but for one token."""
    node, conversation = await _find_answer(request, caller, message_id)
    model = node.generation.model if node.generation else None
    shown = await begin(
        request, caller, conversation, 1,
        lambda desk: beside(node, branch_plan(desk, node, body.token_index, body.token_id)),
        model=model, once=once_of(request, key, body),
    )  # fmt: skip
    return Answers(answers=shown.messages)


@router.post("/messages/{message_id}/edit", status_code=201)
async def edit(
    message_id: str, body: Edit, caller: CallerDep, request: Request, key: KeyDep
) -> Said | Edited:
    """Other words: a question is asked anew with them; an answer stands corrected by them."""
    node, conversation = await _find(request, caller, message_id)
    if not body.text.strip():
        raise ApiError("There are no words in this message.", param="text", code="no_words")
    once = once_of(request, key, body)
    if node.role == "assistant":
        return Edited(message=await _better(request, caller, (node, conversation), body.text, once))
    if node.role != "user":
        raise ApiError("Only what was said by the user or the assistant can be edited.", code="not_editable")
    await _live(request).refuse_running(caller.account.id, node.parent_id)
    files = [attachment.id for attachment in node.attachments]
    return _said(
        await begin(
            request, caller, conversation, 1,
            lambda desk: say(desk, body.text, node.parent_id, files, 1),
            once=once,
        )
    )  # fmt: skip


@router.post("/messages/{message_id}/stop")
async def stop(
    message_id: str, caller: CallerDep, request: Request, body: NothingMore | None = None
) -> MessageView:
    """Say no more; what was said stays."""
    return await _live(request).stop(caller.account.id, message_id)


@router.get("/messages/{message_id}/events", responses=_EVENTS, response_class=Response)
async def events(
    message_id: str,
    caller: CallerDep,
    request: Request,
    after: Annotated[int, Query(ge=0, le=_MOST)] = 0,
    last_event_id: Annotated[int | None, Header(ge=0, le=_MOST)] = None,
) -> Response:
    """What happens to an answer after event number `after` (or `Last-Event-ID`), as it happens, to its end."""
    live = _live(request)
    await live.check(caller.account.id, message_id)
    after = after if last_event_id is None else last_event_id
    return await stream_response(request, _frames(live, caller.account.id, message_id, after), error_event)


async def _frames(live: Live, account_id: str, message_id: str, after: int) -> Frames:
    yield _ON  # the page knows at once that the line stands
    async with aclosing(live.follow(account_id, message_id, after)) as numbered:
        async for seq, event in numbered:
            yield b"id: %d\n" % seq + encode(event)


async def _find_answer(request: Request, caller: Caller, message_id: str) -> tuple[Node, Conversation]:
    """An assistant's message that is over. Raises ApiError 400 and 409 for others."""
    node, conversation = await _find(request, caller, message_id)
    if node.role != "assistant":
        raise ApiError("This is no answer of the assistant.", code="no_answer")
    await _live(request).refuse_running(caller.account.id, node.id)
    return node, conversation


async def _better(
    request: Request, caller: Caller, found: tuple[Node, Conversation], text: str, once: Once | None
) -> MessageView:
    """Store what a person would rather have heard, as a sibling that remembers of what."""
    live, (node, conversation) = _live(request), found
    await live.refuse_running(caller.account.id, node.id)
    draft = Draft(node.parent_id, words=Words(Message.assistant(text), edited_from=node.id))
    begun = await in_store(keep, live.store, caller.account.id, conversation, draft, once)
    return await live.view(caller.account.id, begun.nodes[0])


def _said(shown: Shown) -> Said:
    user, *answers = shown.messages
    return Said(user=user, answers=answers, title=shown.title)
