"""What nobody needs any more goes while the server runs, at once and then every so often."""

import asyncio
import time

import pytest
from fastapi import FastAPI

from liaoliao.errors import NotFoundError, StoreError
from liaoliao.server.page import page_life
from liaoliao.server.page.tidying import keep_tidy
from liaoliao.store import Store
from liaoliao.store.attachments import UNUSED_S
from tests.server.page.talking import wait_until


def is_there(store: Store, file: str) -> bool:
    try:
        return bool(store.attachment(store.single_account().id, file))
    except NotFoundError:
        return False


def give_long_ago(store: Store, monkeypatch: pytest.MonkeyPatch) -> str:
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 1_800_000_000.0 - UNUSED_S)
        return store.add_attachment(store.single_account().id, "a", "text/plain", b"text").id


def test_it_begins_with_the_server(chat: FastAPI, monkeypatch: pytest.MonkeyPatch) -> None:
    store: Store = chat.state.store
    file = give_long_ago(store, monkeypatch)
    live = chat.state.live
    monkeypatch.setattr(live, "drain", lambda timeout_s: asyncio.sleep(0))  # other tests need it yet

    async def scene() -> None:
        async with page_life(chat):
            await wait_until(lambda: not is_there(store, file))
        assert [
            task for task in asyncio.all_tasks() if "keep_tidy" in str(task) and not task.cancelling()
        ] == []

    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    asyncio.run(scene())


def test_it_goes_on_when_the_database_was_away(
    chat: FastAPI, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store: Store = chat.state.store
    file = give_long_ago(store, monkeypatch)
    monkeypatch.setattr(time, "time", lambda: 1_800_000_000.0)
    real, times = Store.forget_unused, []

    def away_at_first(self: Store, *, most: int) -> int:
        times.append(most)
        if len(times) == 1:
            raise StoreError("the database cannot do this now")
        return real(self, most=most)

    monkeypatch.setattr(Store, "forget_unused", away_at_first)

    async def scene() -> None:
        tidying = asyncio.create_task(keep_tidy(store, every_s=0.01))
        await wait_until(lambda: not is_there(store, file))
        tidying.cancel()

    asyncio.run(scene())
    assert "was not tidied up" in caplog.text
