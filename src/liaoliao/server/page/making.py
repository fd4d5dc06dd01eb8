"""One answer while it is being made: it goes on whoever listens, and whoever listens can come and go.

    making = Making(store, account_id, node, plan)
    making.start()
    async for seq, event in making.follow(after=0): ...       # {"type": "text", "text": "Hel"} ...
    making.stop()                                             # what was said is kept

                   reply(served, job) ─┬─> events, numbered from 1 ──> any number of listeners
                                       └─> the text so far ──> the store, at once and then every half second

The end is told to listeners only when the store has it, so what a page has seen as done is done. Everything here
happens in one event loop; the store's part in threads.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from liaoliao.errors import LiaoError, NotFoundError, StoreError, UsageError
from liaoliao.messages import Message
from liaoliao.server.failures import ApiError, as_api_error
from liaoliao.server.page.overheard import Overheard
from liaoliao.server.page.prompts import Plan
from liaoliao.server.page.views import MessageView, message_view
from liaoliao.server.page.work import in_store
from liaoliao.server.reply import ReplyDone, ReplyEvent, ReplyReasoning, ReplyText, reply
from liaoliao.server.served import Charge, free_of_charge
from liaoliao.store import Store
from liaoliao.store.records import Node, Status, ToolUse

Event: TypeAlias = Mapping[str, Any]

SAVE_EVERY_S: Final = 0.5
_WAITING_AFTER_S: Final = 1.0
_SAVE_AGAIN_S: Final = (0.2, 1.0, 5.0, 20.0)  # a disk that is full, a database that restarts
_GROWING: Final = ("text", "reasoning")
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class End:
    """How an answer ended. `error` is told where it failed."""

    status: Status
    done: ReplyDone | None = None
    error: ApiError | None = None


class Making:
    """One assistant message on its way into the store, where it is `node`, empty and "running"."""

    def __init__(
        self,
        store: Store,
        account_id: str,
        node: Node,
        plan: Plan,
        *,
        charge: Charge = free_of_charge,
        save_every_s: float = SAVE_EVERY_S,
    ) -> None:
        self.account_id, self.node, self.plan = account_id, node, plan
        self.over = False  # all has been told
        self.task: asyncio.Task[None] | None = None
        self._speaking: asyncio.Task[ReplyDone] | None = None
        self._store, self._charge, self._every_s = store, charge, save_every_s
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._tool_uses: dict[str, ToolUse] = {}  # by their ids
        self._token_ids: list[int] = []
        self._num_prompt = self._num_made = 0
        self._began = time.monotonic()
        self._first_token_s: float | None = None
        self._events: list[Event] = []
        self._told = asyncio.Event()  # set, and replaced, when there is something new
        self._unsaved, self._said_all = asyncio.Event(), asyncio.Event()
        for begun in (ReplyReasoning(plan.begun.reasoning), ReplyText(plan.begun.text)):
            self._take(
                begun
            )  # so that the events make up the whole message also where it goes on with another

    # ------------------------------------------------------------ what others ask of it

    def start(self) -> asyncio.Task[None]:
        """Begin; the task ends when the store has it all and everybody can know."""
        self._speaking = asyncio.create_task(self._speak())
        self.task = asyncio.create_task(self._run())
        return self.task

    def stop(self) -> None:
        """Say no more. What was said stays, and so does an end that has come already."""
        if self._speaking is not None:
            self._speaking.cancel()

    @property
    def seq(self) -> int:
        """The number of the last event."""
        return len(self._events)

    @property
    def message(self) -> Message:
        """What has been said so far."""
        return Message.assistant("".join(self._text), reasoning="".join(self._reasoning))

    @property
    def tool_uses(self) -> tuple[ToolUse, ...]:
        """The tools that have been run so far, those that run now among them."""
        return tuple(self._tool_uses.values())

    def as_it_stands(self) -> Node:
        """The node with what has been said and used so far."""
        assert self.node.generation is not None, "it is being made here"
        made = replace(self.node.generation, tool_uses=self.tool_uses)
        return replace(self.node, message=self.message, generation=made)

    async def follow(self, after: int = 0) -> AsyncGenerator[tuple[int, Event], None]:
        """Events with numbers above `after` as they come, to the last; pieces of text that are there already come as
        one, under the number of the last of them.
        """
        after = max(0, min(after, self.seq - self.over))
        while True:
            told = self._told
            for seq, event in self._since(after):
                yield seq, event
                after = seq
            if self.over and after == self.seq:
                return
            if after == self.seq:
                await told.wait()

    # ------------------------------------------------------------ the making

    async def _run(self) -> None:
        saving = asyncio.create_task(self._keep_saved())
        end = await self._end()
        self._said_all.set()
        self._unsaved.set()
        await asyncio.wait((saving,))  # an older state must not come after the last one
        await self._tell_end(end)

    async def _end(self) -> End:
        """Wait for the end of what is said."""
        assert self._speaking is not None, "started"
        try:
            await asyncio.wait((self._speaking,))
        except asyncio.CancelledError:  # the event loop ends: keep what there is, in the time it gives us
            self._speaking.cancel()
            await asyncio.wait((self._speaking,))
        if self._speaking.cancelled():
            return End("stopped")
        if (error := self._speaking.exception()) is not None:
            return End("failed", error=self._shown(error))
        done = self._speaking.result()
        return End("length" if done.finish_reason == "length" else "done", done)

    async def _speak(self) -> ReplyDone:
        waiting = asyncio.get_running_loop().call_later(_WAITING_AFTER_S, self._tell_waiting)
        served, job = self.plan.served, self.plan.job
        served = replace(served, tools=Overheard(served.tools, self._use))
        try:
            async with aclosing(
                reply(served, job, charge=self._count, on_token=self._token_ids.append)
            ) as events:
                async for event in events:
                    waiting.cancel()
                    if isinstance(event, ReplyDone):
                        return event
                    self._take(event)
        finally:
            waiting.cancel()
        raise AssertionError("a reply ends in ReplyDone")

    def _take(self, event: ReplyEvent) -> None:
        """Add a piece to what has been said, and tell of it. Calls are none: no job of the page's has tools but the
        model's own, which `_use` hears of.
        """
        match event:
            case ReplyText(text) if text:
                self._text.append(text)
                self._tell({"type": "text", "text": text})
            case ReplyReasoning(text) if text:
                self._reasoning.append(text)
                self._tell({"type": "reasoning", "text": text})

    def _use(self, use: ToolUse) -> None:
        """A tool begins to run, or has run; the one who listens adds up arguments, so those come once."""
        if self._said_all.is_set():  # stopped meanwhile: nobody waits for the tool any more
            return
        arguments = "" if use.id in self._tool_uses else use.arguments
        self._tool_uses[use.id] = use
        place = {"index": list(self._tool_uses).index(use.id), "id": use.id, "name": use.name}
        self._tell({"type": "tool_call", **place, "arguments": arguments, "result": use.result})

    def _count(self, num_tokens: int) -> None:
        """Tokens were used: first all of the prompt, then one by one those of the reply."""
        if self._first_token_s is None:
            self._first_token_s, self._num_prompt = time.monotonic() - self._began, num_tokens
        else:
            self._num_made += num_tokens
        self._charge(num_tokens)

    def _shown(self, error: BaseException) -> ApiError:
        """A failure as a person is told of it; what is not ours goes to the log."""
        if not isinstance(error, LiaoError):
            _LOG.error("the answer %s failed", self.node.id, exc_info=error)
        if not isinstance(error, Exception):
            return ApiError("The answer broke off.", status=500, code="broke_off")
        shown = as_api_error(error)
        code = shown.code or ("broke_off" if shown.status == 500 else None)
        return ApiError(shown.message, status=shown.status, code=code)

    # ------------------------------------------------------------ telling

    def _tell(self, event: Event) -> None:
        self._events.append(event)
        self._unsaved.set()
        told, self._told = self._told, asyncio.Event()
        told.set()

    def _tell_waiting(self) -> None:
        self._tell({"type": "waiting", "num_waiting": self.plan.served.engine.stats().num_waiting})

    async def _tell_end(self, end: End) -> None:
        node, error = await self._save_end(end)
        view = message_view(node)
        self.over = True
        self._tell(done_event(view) if error is None else failed_event(view, error))

    def _since(self, after: int) -> Iterator[tuple[int, Event]]:
        """What is there already, neighbouring pieces of one kind as one."""
        pieces: list[str] = []
        kind, fresh = "", self._events[after:]
        for seq, event in enumerate(fresh, after + 1):
            if pieces and event["type"] != kind:
                yield seq - 1, {"type": kind, "text": "".join(pieces)}
                pieces = []
            kind = event["type"]
            if kind in _GROWING:
                pieces.append(event["text"])
            else:
                yield seq, event
        if pieces:
            yield after + len(fresh), {"type": kind, "text": "".join(pieces)}

    # ------------------------------------------------------------ saving

    async def _keep_saved(self) -> None:
        """Save at the first word and then every so often, until all is said."""
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            if self._said_all.is_set():
                return
            try:
                parts = self.message, tuple(self._token_ids), self.tool_uses
                await in_store(self._store.save_partial, self.node.id, *parts)
            except (NotFoundError, UsageError):  # it was deleted meanwhile, or stopped by another server
                self.stop()
                return
            except StoreError as error:  # a full disk, a lost database: the next time may do
                _LOG.warning("a part of the answer %s was not saved: %s", self.node.id, error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._said_all.wait(), self._every_s)

    async def _save_end(self, end: End) -> tuple[Node, ApiError | None]:
        """The node as the store has it in the end, and what has gone wrong."""
        why = ApiError(
            "The answer could not be saved, and will be gone when you reload the page.", code="not_saved"
        )
        for again_s in (*_SAVE_AGAIN_S, None):
            try:
                return await in_store(self._finish, end), end.error
            except UsageError:  # it was saved, but the news of that was lost on the way
                return await in_store(self._store.node, self.account_id, self.node.id), end.error
            except NotFoundError:
                why = ApiError("The conversation was deleted.", code="conversation_deleted")
                break
            except StoreError as error:
                _LOG.error("the answer %s was not saved: %s", self.node.id, error)
            if again_s is not None:
                await asyncio.sleep(again_s)
        return replace(self.as_it_stands(), status="failed"), why

    def _finish(self, end: End) -> Node:
        """Write the end into the store; what is there then."""
        done, usage = end.done, end.done.usage if end.done else None
        return self._store.finish_generation(
            self.node.id,
            self.message,
            end.status,
            prompt_tokens=usage.prompt_tokens if usage else self._num_prompt,
            completion_tokens=usage.completion_tokens if usage else self._num_made,
            cached_tokens=usage.cached_tokens if usage else 0,
            first_token_s=self._first_token_s,
            total_s=time.monotonic() - self._began,
            finish_reason=done.finish_reason if done else None,
            error=end.error.message if end.error else None,
            error_code=end.error.code if end.error else None,
            token_ids=done.token_ids if done else tuple(self._token_ids),
            tool_uses=sorted(self.tool_uses, key=_number),
            opening_tokens=len(self.plan.job.opening),
        )


def done_event(message: MessageView) -> Event:
    """The last event of an answer: all of it."""
    return {"type": "done", "message": message.model_dump()}


def failed_event(message: MessageView, error: ApiError) -> Event:
    """The last event of an answer that failed: what there is of it, and why."""
    told = {"message": error.message, "code": error.code}
    return {"type": "failed", "message": message.model_dump(), "error": told}


def _number(use: ToolUse) -> tuple[int, str]:
    """In which order the model called: `text.parse` counts calls in their ids, while threads begin as they like."""
    return len(use.id), use.id
