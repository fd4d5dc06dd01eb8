"""Somebody at the page, in process: one event loop for a whole scene, so that answers go on between requests.

async def scene(page: Page) -> None:
    talk = await page.begin()
    said = await page.say(talk["id"], "2+3?")
    assert (await page.end(said["answers"][0]["id"]))["text"] == "5"

visit(app, scene)
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

import httpx
from fastapi import FastAPI

from liaoliao.server.page.live import Live
from liaoliao.store import Store
from tests.server.page.people import OWN
from tests.server.plain import WAIT_S

T = TypeVar("T")
SLOW_WORDS = "the cat sat on the mat, " * 12  # some 80 tokens: half a second of the slow model


@dataclass(frozen=True, slots=True)
class Page:
    """A browser without a face."""

    app: FastAPI
    client: httpx.AsyncClient

    @property
    def live(self) -> Live:
        live: Live = self.app.state.live
        return live

    @property
    def store(self) -> Store:
        store: Store = self.app.state.store
        return store

    @property
    def account_id(self) -> str:
        return self.store.single_account().id

    async def ask(self, method: str, path: str, *, status: int = 200, **more: Any) -> Any:
        """The JSON of a reply, which must have this status."""
        response = await self.client.request(method, f"/api{path}", **more)
        assert response.status_code == status, response.text
        return response.json() if response.content else None

    async def get(self, path: str, **more: Any) -> Any:
        return await self.ask("GET", path, **more)

    async def post(self, path: str, body: Any = None, *, status: int = 201, **more: Any) -> Any:
        return await self.ask("POST", path, status=status, json=body if body is not None else {}, **more)

    async def begin(self, **fields: Any) -> Any:
        """A new conversation."""
        return await self.post("/conversations", fields)

    async def say(
        self, talk: str, text: str, parent: str | None = None, *, headers: Any = None, **more: Any
    ) -> Any:
        """Say something in it."""
        body = {"text": text, "parent_id": parent, **more}
        return await self.post(f"/conversations/{talk}/messages", body, headers=headers)

    async def end(self, message_id: str) -> Any:
        """An answer when it is over."""
        events = [event async for _, event in self.live.follow(self.account_id, message_id)]
        return json.loads(json.dumps(events[-1]["message"]))

    async def exchange(self, talk: str, text: str, parent: str | None = None, **more: Any) -> Any:
        """Say something, and wait for the answer."""
        said = await self.say(talk, text, parent, **more)
        return await self.end(said["answers"][0]["id"])


def visit(app: FastAPI, scene: Callable[[Page], Awaitable[T]]) -> T:
    """Play a scene at the page of an app."""
    return visit_all([app], scene)


def visit_all(apps: Sequence[FastAPI], scene: Callable[..., Awaitable[T]]) -> T:
    """Play a scene at the pages of several apps, which it is given one after the other."""

    async def play() -> T:
        async with AsyncExitStack() as stack:
            pages = [Page(app, await stack.enter_async_context(_client(app))) for app in apps]
            return await asyncio.wait_for(scene(*pages), 3 * WAIT_S)

    return asyncio.run(play())


def _client(app: FastAPI) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=OWN)


async def wait_until(true: Callable[[], object]) -> None:
    """Let others go on until something is true."""
    async with asyncio.timeout(WAIT_S):
        while not true():
            await asyncio.sleep(0.002)


def text_of(events: list[Any], kind: str = "text") -> str:
    """What pieces make up."""
    return "".join(event["text"] for event in events if event["type"] == kind)
