"""What a model is asked, from what is stored: a path through the tree becomes a ChatJob.

    persona, settings.system     ->  one system message
    user message, attachments    ->  the files, fenced, and then the words
    a talk that is too long      ->  its oldest exchanges are left out, whole ones; the system message stays

    plan = answer_plan(desk, store.path(account_id, user_message_id))
    store.begin_generation(..., params=plan.params)       # with all that `replayed` needs to make the job again

The functions here read the store and tokenize: call them where neither holds anybody up (`work.in_store`).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from liaoliao.chat.persona import fill, persona_prompt
from liaoliao.errors import LiaoError
from liaoliao.messages import Message
from liaoliao.server.failures import ApiError
from liaoliao.server.page.sampling import TalkSettings, params_of, sampling
from liaoliao.server.page.views import PROMPT
from liaoliao.server.reply import ChatJob
from liaoliao.server.responses import fitted
from liaoliao.server.served import ServedModel
from liaoliao.store import Store
from liaoliao.store.records import Account, Conversation, Node, Persona

_NOTHING: Final = Message.assistant()
_BACKTICKS: Final = re.compile(r"`{3,}")
_USER: Final = "User"  # who has no name here


@dataclass(frozen=True, slots=True)
class Desk:
    """Where an answer is prepared: who asks, in which conversation, whom."""

    store: Store
    account: Account
    conversation: Conversation
    settings: TalkSettings
    served: ServedModel

    def path(self, message_id: str | None) -> list[Node]:
        """The nodes from the root to this one; none where there is none."""
        return self.store.path(self.account.id, message_id) if message_id is not None else []


@dataclass(frozen=True, slots=True)
class Plan:
    """A job, what is kept with its answer as `Generation.params`, and with what that answer begins: the words of
    another, where it goes on with it.
    """

    served: ServedModel
    job: ChatJob
    params: Mapping[str, Any]
    begun: Message = _NOTHING


# Plans


def answer_plan(desk: Desk, path: Sequence[Node], *, number: int = 0, other: bool = False) -> Plan:
    """Answer what stands at the end of a path; `number` and `other` as for `sampling`."""
    return _plan(
        desk, _messages(desk, path), sampling(desk.settings, desk.served, number=number, other=other)
    )


def continue_plan(desk: Desk, node: Node) -> Plan:
    """Go on with an answer: token for token where it was cut short and the same model made it, else from its words.

    Raises ApiError 400 for one that has no words, or ends in tool calls.
    """
    messages, sampled = _messages(desk, desk.path(node.parent_id)), sampling(desk.settings, desk.served)
    begun = Message.assistant(node.message.text.rstrip(), reasoning=node.message.reasoning.rstrip())
    opening = _cut_short(node, desk.served)
    if node.message.tool_calls or not (begun.text or opening):
        raise ApiError(
            "This answer has no words to go on with; let it be written anew.", code="nothing_to_continue"
        )
    if not opening:
        plan = _plan(desk, (*messages, begun), sampled, continue_final=True)
        return replace(plan, params=_noted(plan.params, continues=node.id), begun=begun)
    as_long = _plan(
        desk, (*messages, begun if begun.parts else Message.assistant(" ")), sampled, continue_final=True
    )
    job = replace(as_long.job, messages=as_long.job.messages[:-1], continue_final=False, opening=opening)
    return replace(as_long, job=job)


def branch_plan(desk: Desk, node: Node, token_index: int, token_id: int) -> Plan:
    """Answer as this answer began, up to token `token_index`, and then with another token.

    Raises ApiError 400 for a token that is not there, 409 where what answers now is not what made that answer.
    """
    made, served = node.generation, desk.served
    if made is None or not made.token_ids:
        told = "The tokens of this answer are not known; only answers made here can be branched."
        raise ApiError(told, code="tokens_unknown")
    if not _made_by(node, served):
        raise ApiError(
            f"This answer was made by {made.model} {made.model_version}, which does not answer any more.",
            status=409, code="model_changed",
        )  # fmt: skip
    if not 0 <= token_index <= len(made.token_ids):  # at its end: what if it had gone on?
        told = f"This answer has {len(made.token_ids)} tokens."
        raise ApiError(told, param="token_index", code="no_such_token")
    if not 0 <= token_id < served.engine.vocab_size:
        raise ApiError(f"The model has no token {token_id}.", param="token_id", code="no_such_token")
    job = replayed(desk.store, desk.account.id, node, served)
    job = replace(
        job, params=replace(job.params, seed=None), opening=(*made.token_ids[:token_index], token_id)
    )
    return Plan(served, job, {**made.params, "seed": None}, _begun(desk.store, desk.account.id, node))


def replayed(store: Store, account_id: str, node: Node, served: ServedModel) -> ChatJob:
    """The job that made a stored answer, as it was then, but for its opening: whatever has been changed since in the
    conversation's settings. ApiError 400 for a message that was not made here.
    """
    if node.generation is None:
        raise ApiError("This message was not made by a model here.", code="not_generated")
    params = node.generation.params
    prompt = params.get(PROMPT) or {}
    path = store.path(account_id, node.parent_id) if node.parent_id is not None else []
    said = list(_said(store, account_id, path))[prompt.get("left_out", 0) :]
    begun = _begun(store, account_id, node)
    messages = (*_system(prompt.get("system", "")), *said, *([begun] if begun.parts else ()))
    return _job(messages, params, continue_final=bool(begun.parts))


def _begun(store: Store, account_id: str, node: Node) -> Message:
    """What an answer began with, if it went on with the words of another."""
    prompt = (node.generation.params.get(PROMPT) if node.generation else None) or {}
    if (continued := prompt.get("continues")) is None:
        return _NOTHING
    message = store.node(account_id, continued).message
    return Message.assistant(message.text.rstrip(), reasoning=message.reasoning.rstrip())


def _plan(
    desk: Desk, messages: tuple[Message, ...], sampled: Mapping[str, Any], *, continue_final: bool = False
) -> Plan:
    job = _job(messages, sampled, continue_final=continue_final)
    try:
        short = fitted(desk.served, job)
    except LiaoError:  # it cannot be laid out at all: the answer itself will say so
        short = job
    system = messages[0].text if messages[0].role == "system" else ""
    left_out = len(job.messages) - len(short.messages)
    return Plan(desk.served, short, {**sampled, PROMPT: {"system": system, "left_out": left_out}})


def _job(messages: Sequence[Message], sampled: Mapping[str, Any], *, continue_final: bool) -> ChatJob:
    thinking = sampled.get("thinking")
    return ChatJob(
        tuple(messages),
        params=params_of(sampled),
        stop=tuple(sampled.get("stop") or ()),
        continue_final=continue_final,
        template_options={} if thinking is None else {"enable_thinking": thinking},
    )


def _noted(params: Mapping[str, Any], **facts: Any) -> dict[str, Any]:
    return {**params, PROMPT: {**params[PROMPT], **facts}}


def _made_by(node: Node, served: ServedModel) -> bool:
    made = node.generation
    return made is not None and (made.model, made.model_version) == (served.id, served.version)


def _cut_short(node: Node, served: ServedModel) -> tuple[int, ...]:
    """The tokens of an answer that can be gone on with as if nothing had been; none where it came to its end."""
    prompt = (node.generation.params.get(PROMPT) if node.generation else None) or {}
    if (
        node.generation is None
        or node.status == "done"
        or "continues" in prompt
        or not _made_by(node, served)
    ):
        return ()
    return node.generation.token_ids


# Messages


def _messages(desk: Desk, path: Sequence[Node]) -> tuple[Message, ...]:
    """All that is to be said to the model; ApiError 400 where there is nothing."""
    rest = [node for node in path if node.role != "system"]
    said = tuple(_said(desk.store, desk.account.id, rest))
    if not said:
        raise ApiError("There is nothing to answer.", code="nothing_to_answer")
    own = [node.message.text for node in path if node.role == "system"]
    return (*_system(*_system_texts(desk), *own), *said)


def _system(*texts: str) -> tuple[Message, ...]:
    """One system message of all texts that say something; none where none does."""
    said = "\n\n".join(text.strip() for text in texts if text.strip())
    return (Message.system(said),) if said else ()


def _system_texts(desk: Desk) -> Iterator[str]:
    if desk.conversation.persona_id is not None:
        persona = desk.store.persona(desk.account.id, desk.conversation.persona_id)
        user = user_name(desk.account)
        yield persona_prompt(persona.name, persona.system_prompt, persona.example, user=user)
    yield desk.settings.system or ""


def user_name(account: Account) -> str:
    """How a persona calls its partner; who never had to choose a name is "User"."""
    return account.name if account.has_password else _USER


def greeting(persona: Persona, account: Account) -> str:
    """With what a persona opens a conversation; "" for one that waits."""
    return fill(persona.greeting.strip(), char=persona.name, user=user_name(account))


def _said(store: Store, account_id: str, path: Sequence[Node]) -> Iterator[Message]:
    """The messages of a path. An answer that came to nothing is not one."""
    for node in path:
        if node.role == "system" or (node.role == "assistant" and not node.message.parts):
            continue
        if node.attachments:
            files = [(a.name, store.attachment_text(account_id, a.id)) for a in node.attachments]
            yield Message.user("\n\n".join([*(_fenced(*file) for file in files), node.message.text]).strip())
        else:
            yield node.message


def _fenced(name: str, text: str) -> str:
    """A file as a model reads it: its name, and its text between fences that it does not hold itself."""
    longest = max((len(run) for run in _BACKTICKS.findall(text)), default=2)
    fence = "`" * (longest + 1)
    return f"File: {name}\n{fence}\n{text.rstrip()}\n{fence}"
