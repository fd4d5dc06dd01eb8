"""From a wish of the page to answers that are being made: the one way in for all routes that let a model talk.

    shown = await begin(request, caller, conversation, 1, lambda desk: say(desk, "2+3?", parent_id, (), 1))
    [user, answer] = shown.messages          # their views; the answer itself goes on by itself

    wish ──> Draft (nothing is stored yet) ──> one transaction: messages, empty answers, the request's key ──> Live

Refusals come first, and store nothing: a model that is not there, settings that make no sense, no room. A request that
was carried out before is answered with what came of it (see `once`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fastapi import Request

from liaoliao.messages import Message
from liaoliao.server.failures import ApiError
from liaoliao.server.page.access import Caller
from liaoliao.server.page.following import pick_model
from liaoliao.server.page.live import Live
from liaoliao.server.page.once import Once, carried_out, messages_of
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
class Words:
    """Something to be said by a person: a question, or an answer that improves on `edited_from`."""

    message: Message
    attachment_ids: tuple[str, ...] = ()
    edited_from: str | None = None
    title: str | None = None  # what the conversation is to be called, if it has no name by then


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be put below a message: perhaps words, and answers (to them, where there are some)."""

    parent_id: str | None
    plans: tuple[Plan, ...] = ()
    words: Words | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """What is in the store: messages, words before answers; and how the last of them are to be made, which is nobody's
    task any more where the request came a second time.
    """

    nodes: tuple[Node, ...]
    plans: tuple[Plan, ...] = ()


@dataclass(frozen=True, slots=True)
class Shown:
    """The same as the page is told."""

    messages: list[MessageView]
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
    work: Callable[[Desk], Draft],
    *,
    model: str | None = None,
    once: Once | None = None,
) -> Shown:
    """Put what `work` drafts, with `count` answers, into the store, and start them; where that was done for the same
    request, show what came of it.

    Raises ApiError: 400 for settings, 404 for the model, 422 for a key of another request, 429 and 503 for want of room;
    and what `work` raises.
    """
    live: Live = request.app.state.live
    account, talk = caller.account, conversation
    async with live.turns.of(talk.id, once):
        if once is not None:
            done = await in_store(carried_out, live.store, account.id, talk.id, once)
            if done is not None:
                nodes = await in_store(messages_of, live.store, account.id, done)
                return await _shown(live, caller, talk, nodes)
        served = await pick_model(
            request.app, model or talk.model or current_model(request), may_load=caller.is_admin
        )
        desk = Desk(live.store, account, talk, read_settings(talk.settings), served)
        with live.starting(account.id, count):
            begun = await in_store(lambda: keep(live.store, account.id, talk, work(desk), once))
            for node, plan in zip(begun.nodes[-len(begun.plans) :], begun.plans, strict=False):
                live.start(account.id, node, plan, charge=charge_of(request))
    return await _shown(live, caller, talk, begun.nodes)


async def _shown(live: Live, caller: Caller, talk: Conversation, nodes: Sequence[Node]) -> Shown:
    messages = await live.views(caller.account.id, nodes)
    return Shown(messages, (await in_store(live.store.conversation, caller.account.id, talk.id)).title)


# In a thread, as all of it reads the store, and tokenizes or writes


def keep(store: Store, account_id: str, talk: Conversation, draft: Draft, once: Once | None) -> Begun:
    """Put a draft into the store as a whole, unless that was done for the same request.

    Raises NotFoundError, DataError for what cannot be kept, and ApiError 422 as `carried_out` does.
    """
    with store.together():
        done = carried_out(store, account_id, talk.id, once, alone=True)
        if done is not None:
            return Begun(messages_of(store, account_id, done))
        words = [_keep_words(store, account_id, talk, draft.parent_id, draft.words)] if draft.words else []
        parent_id = words[0].id if words else draft.parent_id
        answers = [
            _keep_answer(store, account_id, talk, parent_id, plan, move_head=index == 0)
            for index, plan in enumerate(draft.plans)
        ]
        nodes = (*words, *answers)
        if once is not None:
            made = [node.id for node in nodes]
            store.keep_answered(account_id, talk.id, once.key, once.digest, talk.id, made)
    return Begun(nodes, draft.plans)


def _keep_words(
    store: Store, account_id: str, talk: Conversation, parent_id: str | None, words: Words
) -> Node:
    # a name that was given since the wish came stays: a model may have had to be loaded for it
    if words.title is not None and not store.conversation(account_id, talk.id).title:
        store.update_conversation(account_id, talk.id, title=words.title)
    return store.add_message(
        account_id, talk.id, words.message, parent_id,
        attachment_ids=words.attachment_ids, edited_from=words.edited_from,
    )  # fmt: skip


def _keep_answer(
    store: Store, account_id: str, talk: Conversation, parent_id: str | None, plan: Plan, *, move_head: bool
) -> Node:
    """The node, empty and running, of an answer to be made. Raises ApiError 400 where it would answer nothing."""
    if parent_id is None:
        raise ApiError("There is nothing that this message answers.", code="nothing_to_answer")
    return store.begin_generation(
        account_id,
        talk.id,
        parent_id,
        model=plan.served.id,
        model_version=plan.served.version,
        params=dict(plan.params),
        move_head=move_head,
    )


# Work: each drafts what is to be stored


def say(desk: Desk, text: str, parent_id: str | None, attachment_ids: Sequence[str], count: int) -> Draft:
    """What a person says, and answers below it."""
    files = tuple(desk.store.attachment(desk.account.id, id) for id in attachment_ids)
    title = None
    if not desk.conversation.title:
        title = title_of(text) or title_of(" ".join(file.name for file in files))
    words = Words(Message.user(text), tuple(attachment_ids), title=title)
    asked = Node(
        "", desk.conversation.id, parent_id, "user", words.message, 0.0, "done", files, None, None, None
    )
    return Draft(parent_id, _plans(desk, [*desk.path(parent_id), asked], 0, count), words)


def answer_again(desk: Desk, node: Node) -> Draft:
    """One more answer to the message that `node` answers, or to itself where it is a user's."""
    asked = node.id if node.role == "user" else node.parent_id
    if node.role not in ("user", "assistant") or asked is None:
        raise ApiError("There is nothing that this message answers.", code="nothing_to_answer")
    return Draft(asked, _plans(desk, desk.path(asked), _num_answers(desk, asked), 1))


def beside(node: Node, plan: Plan) -> Draft:
    """A sibling of an answer."""
    return Draft(node.parent_id, (plan,))


def _plans(desk: Desk, path: Sequence[Node], num_before: int, count: int) -> tuple[Plan, ...]:
    """Answers to the end of a path, beside those that it has; the page is shown the first."""
    numbers = range(num_before, num_before + count)
    return tuple(answer_plan(desk, path, number=number, other=number > num_before) for number in numbers)


def _num_answers(desk: Desk, message_id: str) -> int:
    """Answers that a message has already; asked only where a fixed seed would make them all alike."""
    if desk.settings.seed is None:
        return 0
    nodes = desk.store.nodes(desk.account.id, desk.conversation.id)
    return sum(other.parent_id == message_id and other.role == "assistant" for other in nodes)


def node_and_conversation(store: Store, account_id: str, message_id: str) -> tuple[Node, Conversation]:
    """A message and the conversation that it is of. NotFoundError for what is not there, or not the account's."""
    node = store.node(account_id, message_id)
    return node, store.conversation(account_id, node.conversation_id)
