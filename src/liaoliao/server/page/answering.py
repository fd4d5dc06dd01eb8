"""From a wish of the page to answers that are being made: the one way in for all routes that let a model talk.

    begun = await begin(request, caller, conversation, 1, lambda desk: say(desk, "2+3?", parent_id, (), 1))
    [answer] = begun.answers                 # its view; the answer itself goes on by itself

What the person said is in the store before anything else happens, in one piece of work with the empty answer below it.
Refusals that store nothing come first: a model that is not there, settings that make no sense, no room.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from fastapi import Request

from liaoliao.messages import Message
from liaoliao.server.failures import ApiError
from liaoliao.server.page.access import Caller
from liaoliao.server.page.following import pick_model
from liaoliao.server.page.live import Live
from liaoliao.server.page.prompts import Desk, Plan, answer_plan
from liaoliao.server.page.sampling import read_settings
from liaoliao.server.page.titles import title_of
from liaoliao.server.page.views import MessageView
from liaoliao.server.page.work import in_store
from liaoliao.server.served import charge_of
from liaoliao.store import Store
from liaoliao.store.records import Conversation, Node

CURRENT = "current"


@dataclass(frozen=True, slots=True)
class Begun:
    """What has been put into the store: answers to be made, perhaps the message that they answer, and the title."""

    answers: tuple[tuple[Node, Plan], ...]
    user: Node | None = None
    title: str = ""


@dataclass(frozen=True, slots=True)
class Shown:
    """The same as the page is told."""

    answers: list[MessageView]
    user: MessageView | None
    title: str


def current_model(request: Request) -> str:
    """The model that answers where none was chosen. Raises ApiError 404 where there is none at all."""
    models = request.app.state.models
    if CURRENT in models or not models:
        return CURRENT
    own = [name for name in models if not name.startswith("run:")]
    return str(own[0] if own else next(iter(models)))


async def begin(
    request: Request,
    caller: Caller,
    conversation: Conversation,
    count: int,
    work: Callable[[Desk], Begun],
    *,
    model: str | None = None,
) -> Shown:
    """Let `work` put `count` answers into the store, and start them.

    Raises ApiError: 400 for settings, 404 for the model, 429 and 503 for want of room; and what `work` raises.
    """
    live: Live = request.app.state.live
    account = caller.account
    wanted = model or conversation.model or current_model(request)
    served = await pick_model(request.app, wanted, may_load=caller.is_admin)
    desk = Desk(live.store, account, conversation, read_settings(conversation.settings), served)
    with live.starting(account.id, count):
        begun = await in_store(work, desk)
        for node, plan in begun.answers:
            live.start(account.id, node, plan, charge=charge_of(request))
    answers = await live.views(account.id, [node for node, _ in begun.answers])
    user = await live.view(account.id, begun.user) if begun.user else None
    return Shown(answers, user, begun.title)


# Work: each reads and writes the store, so it is done in a thread


def say(desk: Desk, text: str, parent_id: str | None, attachment_ids: Sequence[str], count: int) -> Begun:
    """Store what a person says, and answers below it."""
    store, talk = desk.store, desk.conversation
    node = store.add_message(
        desk.account.id, talk.id, Message.user(text), parent_id, attachment_ids=tuple(attachment_ids)
    )
    title = talk.title
    if not title:
        title = title_of(text) or title_of(" ".join(attachment.name for attachment in node.attachments))
        store.update_conversation(desk.account.id, talk.id, title=title)
    return replace(answer(desk, node, count), user=node, title=title)


def answer(desk: Desk, node: Node, count: int) -> Begun:
    """Store answers below a message; the page is shown the first."""
    path, before = desk.path(node.id), _num_answers(desk, node)
    plans = [answer_plan(desk, path, number=before + index, other=index > 0) for index in range(count)]
    nodes = [put(desk, node.id, plan, move_head=index == 0) for index, plan in enumerate(plans)]
    return Begun(tuple(zip(nodes, plans, strict=True)), title=desk.conversation.title)


def answer_again(desk: Desk, node: Node) -> Begun:
    """Store one more answer to the message that `node` answers, or to itself where it is a user's."""
    if node.role == "user":
        return answer(desk, node, 1)
    if node.role != "assistant" or node.parent_id is None:
        raise ApiError("There is nothing that this message answers.", code="nothing_to_answer")
    return answer(desk, desk.store.node(desk.account.id, node.parent_id), 1)


def beside(desk: Desk, node: Node, plan: Plan) -> Begun:
    """Store a sibling of an answer. Raises ApiError 400 for what answers nothing."""
    if node.parent_id is None:
        raise ApiError("There is nothing that this message answers.", code="nothing_to_answer")
    return Begun(((put(desk, node.parent_id, plan), plan),), title=desk.conversation.title)


def put(desk: Desk, parent_id: str, plan: Plan, *, move_head: bool = True) -> Node:
    """The node, empty and running, of an answer to be made."""
    return desk.store.begin_generation(
        desk.account.id,
        desk.conversation.id,
        parent_id,
        model=plan.served.id,
        model_version=plan.served.version,
        params=dict(plan.params),
        move_head=move_head,
    )


def _num_answers(desk: Desk, node: Node) -> int:
    """Answers that a message has already; asked only where a fixed seed would make them all alike."""
    if desk.settings.seed is None:
        return 0
    nodes = desk.store.nodes(desk.account.id, desk.conversation.id)
    return sum(other.parent_id == node.id and other.role == "assistant" for other in nodes)


def node_and_conversation(store: Store, account_id: str, message_id: str) -> tuple[Node, Conversation]:
    """A message and the conversation that it is of. NotFoundError for what is not there, or not the account's."""
    node = store.node(account_id, message_id)
    return node, store.conversation(account_id, node.conversation_id)
