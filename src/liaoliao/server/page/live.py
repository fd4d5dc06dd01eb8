"""All answers that are being made in this process: they belong to nobody's connection.

    live = install_live(app, settings, store)        # and what an earlier process left "running" is "interrupted" now
    with live.starting(account.id, 1):               # is there room? 429 or 503 before anything is stored
        node = await in_store(store.begin_generation, ...)
        live.start(account.id, node, plan)
    await live.view(account.id, node)                # a MessageView, as far as it has come
    async for seq, event in live.follow(account.id, node.id, after=0): ...
    await live.drain(30.0)                           # nobody new; what has not ended by then is "stopped"

An answer is forgotten here as soon as the store has all of it: from then on its only event is its end, made from what
is stored. So memory holds what is running, and nothing else.

Other servers may share the database. What one of them makes is shown here as it comes into the store, its words in
pieces of half a second; it is stopped here by way of the store, too.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, Iterable, Iterator
from contextlib import aclosing, contextmanager
from typing import Final

from fastapi import FastAPI

from liaoliao.errors import NotFoundError
from liaoliao.server.failures import ApiError, overloaded, rate_limited
from liaoliao.server.page.making import SAVE_EVERY_S, Event, Making, done_event, failed_event
from liaoliao.server.page.once import Turns
from liaoliao.server.page.prompts import Plan
from liaoliao.server.page.views import MessageView, message_view
from liaoliao.server.page.work import in_store
from liaoliao.server.served import Charge, free_of_charge
from liaoliao.server.settings import Settings
from liaoliao.store import Store
from liaoliao.store.records import Node

MAX_PER_ACCOUNT: Final = 8
_STOPPING_S: Final = 2.0  # how long one who stops an answer waits for its last state
_LAST_SAVES_S: Final = 3.0
_RETRY_S: Final = 5.0
_LOG = logging.getLogger(__name__)


def install_live(app: FastAPI, settings: Settings, store: Store) -> "Live":
    """Put the app's one Live into `app.state.live`, and mark what was cut off when the last server ended."""
    live = Live(store, max_per_account=settings.max_concurrent or MAX_PER_ACCOUNT)
    num_cut_off = store.interrupt_running()
    if num_cut_off:
        _LOG.warning("%d answers were cut off when the server last ended; what was said is kept", num_cut_off)
    app.state.live = live
    return live


class Live:
    """The answers being made, at most `max_per_account` for each account. Belongs to one event loop."""

    def __init__(
        self, store: Store, *, max_per_account: int = MAX_PER_ACCOUNT, save_every_s: float = SAVE_EVERY_S
    ) -> None:
        self.store, self.max_per_account, self.save_every_s = store, max_per_account, save_every_s
        self._making: dict[str, Making] = {}  # by message id
        self._starting: dict[asyncio.Future[None], tuple[str, int]] = {}  # of which account, how many
        self.turns = Turns()
        self._closed = False
        self._draining: asyncio.Task[bool] | None = None

    # ------------------------------------------------------------ beginning

    @contextmanager
    def starting(self, account_id: str, count: int) -> Iterator[None]:
        """Hold a place for each of `count` answers while they are put into the store and started.

        Raises ApiError 429 where the account has too many running, 503 where the server is about to end.
        """
        self._check_room(account_id, count)
        held = asyncio.get_running_loop().create_future()
        self._starting[held] = (account_id, count)
        try:
            yield
        finally:
            del self._starting[held]
            held.set_result(None)

    def start(self, account_id: str, node: Node, plan: Plan, *, charge: Charge = free_of_charge) -> None:
        """Let the model answer into a node that is in the store already."""
        making = Making(self.store, account_id, node, plan, charge=charge, save_every_s=self.save_every_s)
        self._making[node.id] = making
        making.start().add_done_callback(lambda task: self._forget(node.id, task))

    def _check_room(self, account_id: str, count: int) -> None:
        if self._closed:
            raise overloaded("The server is about to stop; try again in a moment.", retry_after_s=_RETRY_S)
        held = sum(number for account, number in self._starting.values() if account == account_id)
        running = sum(making.account_id == account_id for making in self._making.values())
        if held + running + count > self.max_per_account:
            told = f"{held + running} answers are being written for you already; wait for one or stop it."
            raise rate_limited(told, retry_after_s=1.0)

    def _forget(self, message_id: str, task: asyncio.Task[None]) -> None:
        del self._making[message_id]
        if not task.cancelled() and (error := task.exception()) is not None:
            _LOG.error("the answer %s ended badly", message_id, exc_info=error)

    # ------------------------------------------------------------ looking

    @property
    def num_running(self) -> int:
        """Answers being made now."""
        return len(self._making)

    def is_running(self, message_id: str) -> bool:
        """Whether this message is being made now."""
        return message_id in self._making

    async def refuse_running(self, account_id: str, message_id: str | None) -> None:
        """ApiError 409 where a message is still being written, so that nothing can be built on it yet.

        Raises NotFoundError for a message that is not there or not the account's.
        """
        if message_id is None:
            return
        await self.check(account_id, message_id)
        if self.is_running(message_id) or await in_store(self.store.is_made_elsewhere, message_id):
            raise ApiError("This answer is still being written; stop it first.", status=409, code="busy")

    async def check(self, account_id: str, message_id: str) -> None:
        """Raises NotFoundError for a message that is not there or not the account's."""
        if (making := self._making.get(message_id)) is not None:
            _check_owner(making, account_id)
        else:
            await in_store(self.store.node, account_id, message_id)

    async def view(self, account_id: str, node: Node) -> MessageView:
        """A message with what has been said so far."""
        if (making := await self._find(account_id, node)) is not None:
            return message_view(making.as_it_stands(), seq=making.seq)
        if node.status != "running":
            return message_view(node)
        elsewhere = await in_store(self.store.is_made_elsewhere, node.id)
        node = await in_store(self.store.node, account_id, node.id)  # it may have ended since it was read
        return message_view(node, elsewhere=elsewhere)

    async def views(self, account_id: str, nodes: Iterable[Node]) -> list[MessageView]:
        """Messages with what has been said so far."""
        return [await self.view(account_id, node) for node in nodes]

    async def follow(
        self, account_id: str, message_id: str, after: int = 0
    ) -> AsyncGenerator[tuple[int, Event], None]:
        """The events of an answer from number `after` on, to the last; of one that is over just the last. Of one that
        another server makes, numbers count the characters that were told.

        Raises NotFoundError for a message that is not there or not the account's.
        """
        making = self._making.get(message_id)
        if making is None:
            node = await in_store(self.store.node, account_id, message_id)
            making = await self._find(account_id, node)
        if making is not None:
            _check_owner(making, account_id)
        events = self._read_along(account_id, message_id, after) if making is None else making.follow(after)
        async with aclosing(events):
            async for numbered in events:
                yield numbered

    async def _read_along(
        self, account_id: str, message_id: str, after: int
    ) -> AsyncGenerator[tuple[int, Event], None]:
        """What comes into the store of an answer that is not made here, until it is over."""
        told = max(after, 0)
        while True:
            node = await in_store(self.store.node, account_id, message_id)
            view = await self.view(account_id, node)
            if view.status != "running":
                yield told + 1, _last_event(view)
                return
            for kind, words in _beyond(view, told):
                told += len(words)
                yield told, {"type": kind, "text": words}
            await asyncio.sleep(self.save_every_s)

    async def _find(self, account_id: str, node: Node) -> Making | None:
        """The maker of a node, also where it is only about to start."""
        if node.id not in self._making and node.status == "running":
            held = [future for future, (account, _) in self._starting.items() if account == account_id]
            if held:
                await asyncio.wait(held)
        return self._making.get(node.id)

    # ------------------------------------------------------------ ending

    async def stop(self, account_id: str, message_id: str) -> MessageView:
        """End an answer; the message with what was said. One that is over stays as it is.

        Raises NotFoundError for a message that is not there or not the account's.
        """
        making = self._making.get(message_id)
        if making is not None:
            _check_owner(making, account_id)
            await self._stop([making], within_s=_STOPPING_S)
        elif await in_store(self.store.is_made_elsewhere, message_id):
            await in_store(self.store.stop_generation, account_id, message_id)
        return await self.view(account_id, await in_store(self.store.node, account_id, message_id))

    async def stop_conversation(self, account_id: str, conversation_id: str) -> None:
        """End the answers in a conversation of the account."""
        mine = [making for making in self._making.values() if making.account_id == account_id]
        await self._stop([making for making in mine if making.node.conversation_id == conversation_id])

    async def stop_account(self, account_id: str) -> None:
        """End all answers of an account."""
        await self._stop([making for making in self._making.values() if making.account_id == account_id])

    async def drain(self, timeout_s: float) -> bool:
        """Start nothing more and wait for what runs; then end what still does. Whether nothing had to be ended.

        Whoever calls it a second time waits for the same end.
        """
        self._closed = True
        if self._draining is None:
            self._draining = asyncio.create_task(self._drain(timeout_s))
        return await asyncio.shield(self._draining)

    async def _drain(self, timeout_s: float) -> bool:
        while self._starting:
            await asyncio.wait(list(self._starting))
        if tasks := self._tasks(self._making.values()):
            await asyncio.wait(tasks, timeout=timeout_s)
        left = list(self._making.values())
        await self._stop(left, within_s=_LAST_SAVES_S)
        return not left

    async def _stop(self, makings: Iterable[Making], within_s: float = _STOPPING_S) -> None:
        stopped = list(makings)
        for making in stopped:
            making.stop()
        if tasks := self._tasks(stopped):
            await asyncio.wait(tasks, timeout=within_s)

    def _tasks(self, makings: Iterable[Making]) -> list[asyncio.Task[None]]:
        return [making.task for making in makings if making.task is not None]


def _check_owner(making: Making, account_id: str) -> None:
    if making.account_id != account_id:
        raise NotFoundError("there is no such message")  # in the store's own words, which tell nothing


def _last_event(message: MessageView) -> Event:
    """The one event of a message that is over."""
    if message.status != "failed":
        return done_event(message)
    made = message.generation
    if made is None or made.error is None:
        return failed_event(message, ApiError("This answer failed.", code="reason_unknown"))
    return failed_event(message, ApiError(made.error, code=made.error_code))


def _beyond(view: MessageView, told: int) -> Iterator[tuple[str, str]]:
    """What a view holds beyond its first `told` characters: thoughts, and then words."""
    of_text = max(0, told - len(view.reasoning))
    pieces = {"reasoning": view.reasoning[told:], "text": view.text[of_text:]}
    return ((kind, words) for kind, words in pieces.items() if words)
