"""From a stored answer to what can be put under glass: the model that made it, and its tokens in their places.

    slide = slide_of(store, account, message_id, app.state.models, "current")       # in a thread: it tokenizes
    slide.trace.rounds[0].prompt     ->  the ids that the model really read
    slide.text(slide.trace.pieces[0].token_id)

Only weights that answer now can be looked into. An answer that was made by others is refused; one that no model here
made (edited, imported) is laid out as the template would write it, and its tokens are those.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from liaoliao.server.failures import ApiError
from liaoliao.server.logprobs import spell
from liaoliao.server.page.answering import node_and_conversation
from liaoliao.server.page.prompts import Desk, answer_plan, replayed
from liaoliao.server.page.sampling import read_settings
from liaoliao.server.page.trace import Place, Trace, readable, rendered_ids, trace_of
from liaoliao.server.reply import ChatJob
from liaoliao.server.served import ServedModel
from liaoliao.store import Store
from liaoliao.store.records import Account, Generation, Node


@dataclass(frozen=True, slots=True)
class Slide:
    """An answer with the model to look into. `generated`: its tokens are those that were sampled; `end`: the last of
    them is the one that ended it.
    """

    served: ServedModel
    trace: Trace
    generated: bool
    end: bool

    def text(self, token_id: int) -> str:
        """A token as text that can be read."""
        return readable(spell(self.served.tokenizer, token_id))

    def in_answer(self, index: int) -> Place:
        """The place of a token of the answer. Raises ApiError 404."""
        try:
            return self.trace.place(index)
        except IndexError as error:
            raise _no_token(f"This answer has {len(self.trace.pieces)} tokens.") from error

    def in_prompt(self, index: int) -> Place:
        """The place of a token of the first prompt. Raises ApiError 404, and 400 for the very first."""
        if index == 0:
            told = "Nothing stands before the first token, so it was not chosen."
            raise ApiError(told, param="index", code="first_token")
        if index >= len(self.trace.rounds[0].prompt):
            raise _no_token(f"The prompt has {len(self.trace.rounds[0].prompt)} tokens.")
        return Place(self.trace.rounds[0].token_ids, index)


def slide_of(
    store: Store, account: Account, message_id: str, models: Mapping[str, ServedModel], current: str
) -> Slide:
    """An answer of this account. Runs the model's own tools again where they were part of it.

    Raises NotFoundError; ApiError 400 for what is no answer, 409 for one that is still being written or whose model does
    not answer any more; and what `reply` raises for a conversation that cannot be laid out.
    """
    node, conversation = node_and_conversation(store, account.id, message_id)
    if node.role != "assistant":
        raise ApiError("Only answers of the assistant can be looked into.", code="no_answer")
    if node.status == "running":
        raise ApiError("This answer is still being written; wait for its end.", status=409, code="busy")
    if node.generation is not None:
        return _of_generated(store, account, node, node.generation, _maker(models, node.generation))
    served = models.get(conversation.model or current) or models.get(current)
    if served is None:
        raise _changed("No model answers here now, so there is none to look into.")
    return _of_words(Desk(store, account, conversation, read_settings(conversation.settings), served), node)


def _of_generated(store: Store, account: Account, node: Node, made: Generation, served: ServedModel) -> Slide:
    job = replayed(store, account.id, node, served)
    begun = len(job.messages[-1].text) if job.continue_final else 0
    end = made.finish_reason == "stop" and not job.stop  # a stop string may have ended it instead
    return _slide(served, job, made.token_ids, begun, generated=True, end=end)


def _of_words(desk: Desk, node: Node) -> Slide:
    if node.parent_id is None:
        raise ApiError(
            "This message opens the conversation: no model was asked for it.", code="not_generated"
        )
    job = replace(answer_plan(desk, desk.path(node.parent_id)).job, stop=())
    text = node.message.text
    ids = rendered_ids(desk.served, job, node.message) if node.message.parts else ()
    return _slide(desk.served, job, ids, len(text) - len(text.lstrip()), generated=False, end=True)


def _slide(
    served: ServedModel, job: ChatJob, token_ids: tuple[int, ...], offset: int, *, generated: bool, end: bool
) -> Slide:
    trace = trace_of(served, job, (*token_ids, *served.template.stop_ids[: int(end)]), offset=offset)
    return Slide(served, trace, generated, end)


def _maker(models: Mapping[str, ServedModel], made: Generation) -> ServedModel:
    """The model that made an answer, if it still answers."""
    served = models.get(made.model)
    if served is None:
        raise _changed(f"This answer was made by {made.model}, which is not served now.")
    if served.version != made.model_version:
        raise _changed(
            f"This answer was made by version {made.model_version or 'unknown'} of {made.model}; version "
            f"{served.version or 'unknown'} answers now. Ask again to look into that one."
        )
    return served


def _changed(message: str) -> ApiError:
    return ApiError(message, status=409, code="model_changed")


def _no_token(message: str) -> ApiError:
    return ApiError(message, status=404, param="index", code="no_such_token")
