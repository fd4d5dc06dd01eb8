"""What people think of answers: a thumb with its reasons, and which of two answers is better.

    PUT  /api/messages/{id}/feedback  {"thumb": -1, "reasons": ["wrong"], "comment": "It is 5."}
    POST /api/votes  {"parent_id": "01K…", "chosen_id": "01K…", "rejected_id": "01K…"}      # rejected_id null: a tie

Together with better answers that people write (POST /api/messages/{id}/edit) this is what preferences are made of.
"""

from typing import Annotated, Literal, TypeAlias

from fastapi import APIRouter, Request
from pydantic import Field

from liaoliao.server.body import StrictRoute
from liaoliao.server.failures import ApiError
from liaoliao.server.openai import Wire
from liaoliao.server.openai_shapes import FAILURES, Shape
from liaoliao.server.page.access import CallerDep
from liaoliao.server.page.live import Live
from liaoliao.server.page.views import MessageView
from liaoliao.server.page.work import in_store
from liaoliao.store import Store
from liaoliao.store.records import Node, Vote

router = APIRouter(prefix="/api", tags=["page"], route_class=StrictRoute, responses=FAILURES)

Reason: TypeAlias = Annotated[str, Field(min_length=1, max_length=100)]


class Opinion(Wire):
    """What a person thinks of an answer. All of it replaces what was thought before; a thumb of 0 is none."""

    thumb: Literal[-1, 0, 1]
    reasons: list[Reason] = Field([], max_length=20)
    comment: str = Field("", max_length=10_000)


class Choice(Wire):
    """Which of two answers to one message is better; a tie names one of them, and none that was rejected."""

    parent_id: str
    chosen_id: str
    rejected_id: str | None = None


class VoteView(Shape):
    """A vote that counts."""

    id: str
    parent_id: str
    chosen_id: str
    rejected_id: str | None


def _live(request: Request) -> Live:
    live: Live = request.app.state.live
    return live


@router.put("/messages/{message_id}/feedback")
async def set_feedback(message_id: str, body: Opinion, caller: CallerDep, request: Request) -> MessageView:
    """Say what one thinks of an answer."""
    live, account_id = _live(request), caller.account.id
    node = await in_store(_think, live.store, account_id, message_id, body)
    return await live.view(account_id, node)


@router.post("/votes", status_code=201)
async def vote(body: Choice, caller: CallerDep, request: Request) -> VoteView:
    """Say which answer is better; the conversation goes on from it."""
    cast = await in_store(_vote, _live(request).store, caller.account.id, body)
    return VoteView(
        id=cast.id, parent_id=cast.parent_id, chosen_id=cast.chosen_id, rejected_id=cast.rejected_id
    )


def _think(store: Store, account_id: str, message_id: str, opinion: Opinion) -> Node:
    if store.node(account_id, message_id).role != "assistant":
        raise ApiError("Only an answer of the assistant can be judged.", code="no_answer")
    store.set_feedback(account_id, message_id, opinion.thumb, tuple(opinion.reasons), opinion.comment)
    return store.node(account_id, message_id)


def _vote(store: Store, account_id: str, choice: Choice) -> Vote:
    cast = store.add_vote(account_id, choice.parent_id, choice.chosen_id, choice.rejected_id)
    store.update_conversation(account_id, cast.conversation_id, head_id=cast.chosen_id)
    return cast
