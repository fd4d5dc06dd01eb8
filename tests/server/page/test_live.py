"""Answers belong to nobody's connection: whatever a page does, nothing of them is lost, doubled or left running."""

import asyncio
import gc
import itertools
import json
import random
import weakref
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest
from fastapi import FastAPI

from liaoliao.errors import NotFoundError, StoreError
from liaoliao.messages import Message
from liaoliao.server.failures import ApiError
from liaoliao.server.page import making
from liaoliao.server.page.live import Live, install_live
from liaoliao.server.settings import Settings
from liaoliao.store import Store
from tests.server.conftest import Says
from tests.server.page.people import database
from tests.server.page.talking import SLOW_WORDS, Page, text_of, visit, wait_until


async def begun(page: Page, model: str = "slow") -> tuple[str, str]:
    """A conversation with an answer on its way: their ids."""
    talk = await page.begin(model=model)
    said = await page.say(talk["id"], "the cat?")
    return talk["id"], said["answers"][0]["id"]


async def heard(page: Page, message_id: str, after: int = 0, most: int = 10**9) -> list[tuple[int, Any]]:
    events = []
    async for numbered in page.live.follow(page.account_id, message_id, after):
        events.append(numbered)
        if len(events) == most:
            break
    return events


def test_an_answer_goes_on_with_nobody_listening(chat: FastAPI, says: Says) -> None:
    says.chat(Message.assistant("the cat 猫", reasoning="two and"))

    async def scene(page: Page) -> None:
        talk, answer = await begun(page, "scripted")
        await wait_until(lambda: not page.live.num_running)
        stored = page.store.node(page.account_id, answer)
        assert stored.status == "done" and stored.message == Message.assistant(
            "the cat 猫", reasoning="two and"
        )
        made = stored.generation
        assert made is not None and made.token_ids == tuple(says.replies[0][:-1])
        assert made.prompt_tokens == len(says.requests[0].token_ids) and made.completion_tokens == len(
            says.replies[0]
        )
        assert made.finish_reason == "stop" and made.first_token_s is not None and made.total_s is not None
        assert 0 < made.first_token_s <= made.total_s
        [(_, event)] = await heard(page, answer)
        assert event["type"] == "done" and event["message"] == await page.get(f"/messages/{answer}")
        whole = await page.get(f"/conversations/{talk}")
        assert whole["head_id"] == answer and [m["id"] for m in whole["messages"]][1] == answer

    visit(chat, scene)


def test_who_comes_and_goes_misses_nothing_and_hears_nothing_twice(chat: FastAPI, slow: Says) -> None:
    slow.chat(Message.assistant(SLOW_WORDS + "猫鑫", reasoning="two and three"))
    dice = random.Random(7)

    async def listener(page: Page, answer: str) -> list[Any]:
        """Hears a few events at a time, goes away for a while, and goes on from the last number."""
        events: list[Any] = []
        last = 0
        while not events or events[-1]["type"] not in ("done", "failed"):
            for seq, event in await heard(page, answer, last, dice.randint(1, 12)):
                assert seq > last
                last = seq
                events.append(event)
            await asyncio.sleep(dice.choice((0.0, 0.0, 0.05, 0.2)))
        return events

    async def scene(page: Page) -> None:
        _, answer = await begun(page)
        for events in await asyncio.gather(*(listener(page, answer) for _ in range(12))):
            # who is away when it ends finds the whole in the last event, and need not hear the rest
            assert events[-1]["message"]["text"] == SLOW_WORDS + "猫鑫"
            assert (SLOW_WORDS + "猫鑫").startswith(text_of(events))
            assert "two and three".startswith(text_of(events, "reasoning"))

    visit(chat, scene)


def test_a_reload_shows_what_was_said_and_goes_on_from_there(chat: FastAPI, slow: Says) -> None:
    words = (SLOW_WORDS * 2).strip()
    slow.chat(Message.assistant(words))

    async def scene(page: Page) -> None:
        talk, answer = await begun(page)
        views = []
        for count in (2, 4):
            await heard(page, answer, most=count)
            shown = (await page.get(f"/conversations/{talk}"))["messages"][-1]
            assert shown["status"] == "running" and shown["seq"] >= count
            views.append((shown, asyncio.create_task(heard(page, answer, shown["seq"]))))
        for shown, listening in views:
            rest = await listening
            assert shown["text"] and shown["text"] + text_of([event for _, event in rest]) == words
            assert rest[-1][1]["message"]["seq"] is None

    visit(chat, scene)


def test_the_first_words_are_saved_at_once_and_then_every_so_often(
    chat: FastAPI, slow: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow.chat(Message.assistant(SLOW_WORDS))
    saved: list[tuple[float, str, int]] = []
    save = Store.save_partial

    def noted(store: Store, message_id: str, message: Message, token_ids: tuple[int, ...], uses: Any) -> None:
        save(store, message_id, message, token_ids, uses)
        saved.append(
            (asyncio.run_coroutine_threadsafe(now(), loops[0]).result(), message.text, len(token_ids))
        )

    async def now() -> float:
        return loops[0].time()

    loops: list[asyncio.AbstractEventLoop] = []
    monkeypatch.setattr(Store, "save_partial", noted)

    async def scene(page: Page) -> None:
        loops.append(asyncio.get_running_loop())
        monkeypatch.setattr(page.live, "save_every_s", 0.06)
        _, answer = await begun(page)
        await heard(page, answer, most=1)
        await wait_until(lambda: saved)
        stored = page.store.node(page.account_id, answer)
        assert stored.status == "running" and SLOW_WORDS.startswith(stored.message.text) and saved[0][2] <= 8
        await page.end(answer)
        gaps = [later[0] - earlier[0] for earlier, later in itertools.pairwise(saved)]
        assert len(gaps) >= 2 and min(gaps) >= page.live.save_every_s * 0.9
        assert all(SLOW_WORDS.startswith(text) for _, text, _ in saved)

    visit(chat, scene)


def test_stopping_keeps_what_was_said(chat: FastAPI, slow: Says) -> None:
    slow.chat(Message.assistant(SLOW_WORDS))

    async def scene(page: Page) -> None:
        _, answer = await begun(page)
        listening = asyncio.create_task(heard(page, answer))
        await heard(page, answer, most=5)
        stopped = await page.post(f"/messages/{answer}/stop", status=200)
        assert stopped["status"] == "stopped" and stopped["text"] and SLOW_WORDS.startswith(stopped["text"])
        events = [event for _, event in await listening]
        assert events[-1] == {"type": "done", "message": stopped} and text_of(events) == stopped["text"]
        stored = page.store.node(page.account_id, answer)
        assert stored.generation is not None and stored.message.text == stopped["text"]
        token_ids = stored.generation.token_ids
        assert (
            slow.tokenizer.decode(token_ids).startswith(stopped["text"]) and stored.generation.prompt_tokens
        )
        engine = page.app.state.models["slow"].engine
        await wait_until(lambda: engine.stats().num_running == 0)
        assert await page.post(f"/messages/{answer}/stop", status=200) == stopped

    visit(chat, scene)


def test_stopping_before_the_first_word(chat: FastAPI, slow: Says) -> None:
    slow.chat(Message.assistant(SLOW_WORDS))

    async def scene(page: Page) -> None:
        talk = await page.begin(model="slow")
        said = await page.say(talk["id"], "the cat?")
        answer = said["answers"][0]["id"]
        assert (await page.post(f"/messages/{answer}/stop", status=200))["status"] == "stopped"

    visit(chat, scene)


def test_a_full_queue_and_a_talk_too_long_fail_and_lose_no_question(
    chat: FastAPI, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    says.text("the cat")

    async def scene(page: Page) -> None:
        talk = await page.begin(model="scripted")
        engine = page.app.state.models["scripted"].engine
        with monkeypatch.context() as patch:
            patch.setattr(
                engine, "max_waiting", -engine.engine.max_running
            )  # full already when nobody is there
            full = await page.exchange(talk["id"], "the mat?")
        assert full["status"] == "failed" and "try again later" in full["generation"]["error"]
        assert full["generation"]["error_code"] == "overloaded"
        again = (await page.post(f"/messages/{full['id']}/regenerate"))["answers"][0]
        assert (await page.end(again["id"]))["status"] == "done"
        long = await page.exchange(talk["id"], "the cat sat on the mat " * 200)
        assert long["status"] == "failed" and "maximum context length" in long["generation"]["error"]
        [(_, event)] = await heard(page, long["id"])
        told = {"message": long["generation"]["error"], "code": long["generation"]["error_code"]}
        assert event["type"] == "failed" and event["error"] == told
        assert told["code"] == "context_length_exceeded"
        nodes = (await page.get(f"/conversations/{talk['id']}"))["messages"]
        assert sum(node["role"] == "user" for node in nodes) == 2

    visit(chat, scene)


def test_a_model_that_breaks_keeps_what_it_said(chat: FastAPI, slow: Says) -> None:
    slow.chat(Message.assistant(SLOW_WORDS))

    async def scene(page: Page) -> None:
        _, answer = await begun(page)
        await heard(page, answer, most=4)
        page.app.state.models["slow"].engine.engine.runner.fail = RuntimeError("secret")
        end = await page.end(answer)
        assert end["status"] == "failed" and end["text"] and SLOW_WORDS.startswith(end["text"])
        assert "secret" not in end["generation"]["error"]
        assert end["generation"]["error_code"] == "broke_off"
        assert page.store.node(page.account_id, answer).message.text == end["text"]

    visit(chat, scene)


def test_too_many_at_once_are_refused_before_anything_is_stored(
    chat: FastAPI, slow: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat.state.live, "max_per_account", 3)
    slow.chat(Message.assistant(SLOW_WORDS))

    async def scene(page: Page) -> None:
        talk = await page.begin(model="slow")
        said = await asyncio.gather(*(page.say(talk["id"], f"{n}?") for n in range(3)))
        refused = await page.client.post(
            f"/api/conversations/{talk['id']}/messages", json={"text": "one more", "parent_id": None}
        )
        assert refused.status_code == 429 and refused.headers["retry-after"]
        assert len(page.store.nodes(page.account_id, talk["id"])) == 2 * 3
        busy = {"text": "and?", "parent_id": said[0]["answers"][0]["id"]}
        assert (await page.post(f"/conversations/{talk['id']}/messages", busy, status=409))["error"][
            "code"
        ] == "busy"
        await page.live.stop_account(page.account_id)
        assert page.live.num_running == 0

    visit(chat, scene)


def test_what_a_dead_server_left_running_is_interrupted(
    tmp_path: Any, chat: FastAPI, caplog: pytest.LogCaptureFixture
) -> None:
    dead = Store.open(database(tmp_path))
    account = dead.single_account()
    talk = dead.create_conversation(account.id)
    asked = dead.add_message(account.id, talk.id, Message.user("2+3?"), None)
    cut = dead.begin_generation(account.id, talk.id, asked.id, model="m", model_version="", params={})
    dead.save_partial(cut.id, Message.assistant("It is"), (5, 6))
    dead.close()
    store = Store.open(database(tmp_path))
    try:
        app = FastAPI()
        live = install_live(app, Settings(), store)
        assert app.state.live is live and "1 answers were cut off" in caplog.text

        async def look() -> None:
            [(seq, event)] = [numbered async for numbered in live.follow(account.id, cut.id, after=57)]
            assert seq > 57 and event["type"] == "done"
            assert (event["message"]["status"], event["message"]["text"]) == ("interrupted", "It is")

        asyncio.run(look())
    finally:
        store.close()


def test_a_message_that_nobody_makes_is_shown_as_interrupted(chat: FastAPI) -> None:
    async def scene(page: Page) -> None:
        talk = await page.begin()
        asked = page.store.add_message(page.account_id, talk["id"], Message.user("2+3?"), None)
        made = page.store.begin_generation(
            page.account_id, talk["id"], asked.id, model="m", model_version="", params={}
        )
        assert (await page.get(f"/messages/{made.id}"))["status"] == "interrupted"
        assert (await page.end(made.id))["status"] == "interrupted"

    visit(chat, scene)


def test_an_answer_that_is_about_to_start_is_waited_for(chat: FastAPI, says: Says) -> None:
    """Another tab may list it between its being stored and its being started."""
    says.text("5")

    async def scene(page: Page) -> None:
        talk = await page.begin()
        live, views = page.live, []
        with live.starting(page.account_id, 1):
            asked = page.store.add_message(page.account_id, talk["id"], Message.user("2+3?"), None)
            made = page.store.begin_generation(
                page.account_id, talk["id"], asked.id, model="m", model_version="", params={}
            )
            looking = asyncio.create_task(live.view(page.account_id, made))
            await asyncio.sleep(0.05)
            views.append(looking.done())
        assert views == [False] and (await looking).status == "interrupted"  # it never came to start

    visit(chat, scene)


def test_others_do_not_find_it(chat: FastAPI, slow: Says) -> None:
    slow.chat(Message.assistant(SLOW_WORDS))

    async def scene(page: Page) -> None:
        _, answer = await begun(page)
        stranger = page.store.create_account("stranger", "a long enough password", "member")
        for _ in range(2):  # while it runs, and when it is over
            for wish in (page.live.check, page.live.stop):
                with pytest.raises(NotFoundError, match="no such message"):
                    await wish(stranger.id, answer)
            with pytest.raises(NotFoundError, match="no such message"):
                await anext(page.live.follow(stranger.id, answer))
            await page.live.stop(page.account_id, answer)

    visit(chat, scene)


def test_a_deleted_conversation_takes_its_answers_with_it(chat: FastAPI, slow: Says) -> None:
    slow.chat(Message.assistant(SLOW_WORDS))

    async def scene(page: Page) -> None:
        talk, answer = await begun(page)
        await heard(page, answer, most=2)
        await page.ask("DELETE", f"/conversations/{talk}", status=204)
        assert page.live.num_running == 0
        await page.get(f"/messages/{answer}/events", status=404)
        talk, answer = await begun(page)
        listening = asyncio.create_task(heard(page, answer))
        await heard(page, answer, most=2)
        page.store.delete_conversation(page.account_id, talk)  # by whatever way, in the middle
        end = (await listening)[-1][1]
        assert (end["type"], end["error"]["code"]) == ("failed", "conversation_deleted")
        await wait_until(lambda: page.live.num_running == 0)

    visit(chat, scene)


def failing(times: int, error: Callable[[], Exception], real: Any) -> Any:
    """A method of the store that fails so often, and then works."""
    left = [times]

    def method(*args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] >= 0:
            raise error()
        return real(*args, **kwargs)

    return method


def test_a_disk_that_is_full_for_a_while(chat: FastAPI, says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    says.text("the cat")
    monkeypatch.setattr(making, "_SAVE_AGAIN_S", (0.01, 0.01, 0.01))

    def full() -> StoreError:
        return StoreError("the database cannot do this now: database or disk is full")

    async def scene(page: Page) -> None:
        monkeypatch.setattr(Store, "save_partial", failing(10**9, full, None))
        monkeypatch.setattr(Store, "finish_generation", failing(3, full, Store.finish_generation))
        _, answer = await begun(page, "scripted")
        assert (await page.end(answer))["status"] == "done"
        monkeypatch.setattr(Store, "finish_generation", failing(10**9, full, None))
        _, answer = await begun(page, "scripted")
        events = [event for _, event in await heard(page, answer)]
        assert events[-1]["type"] == "failed" and "could not be saved" in events[-1]["error"]["message"]
        assert events[-1]["message"]["text"] == "the cat"
        assert events[-1]["error"]["code"] == "not_saved"
        assert (await page.get(f"/messages/{answer}"))["status"] == "interrupted"

    visit(chat, scene)


def test_a_line_that_breaks_off_tells_it_in_an_event(
    chat: FastAPI, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reply has begun, so there is no status to tell it with."""
    says.text("the cat")

    async def away(
        live: Live, account_id: str, message_id: str, after: int = 0
    ) -> AsyncGenerator[tuple[int, Any], None]:
        yield 7, {"type": "text", "text": "the"}
        raise StoreError("the database cannot be reached now")

    async def scene(page: Page) -> None:
        _, answer = await begun(page, "scripted")
        await page.end(answer)
        monkeypatch.setattr(Live, "follow", away)
        reply = await page.client.get(f"/api/messages/{answer}/events")
        assert reply.status_code == 200
        first, last = [frame for frame in reply.text.split("\n\n") if frame and not frame.startswith(":")]
        assert first.startswith("id: 7\ndata: ")
        told = json.loads(last.removeprefix("data: "))
        error = told.pop("error")
        assert told == {"type": "error"} and error["message"] == "the database cannot be reached now"
        assert (error["type"], error["code"]) == ("server_error", "overloaded")

    visit(chat, scene)


def test_draining_lets_finish_and_stops_the_rest(tmp_path: Any, chat: FastAPI, slow: Says) -> None:
    slow.chat(Message.assistant(SLOW_WORDS))

    async def scene(page: Page) -> None:
        live, page.app.state.live = page.live, Live(page.store)
        try:
            _, answer = await begun(page)
            await heard(page, answer, most=3)
            ending = [asyncio.create_task(page.live.drain(0.1)) for _ in range(2)]
            await asyncio.sleep(0)
            with pytest.raises(ApiError, match="about to stop"), page.live.starting(page.account_id, 1):
                raise AssertionError("there is no room any more")
            assert await asyncio.gather(*ending) == [False, False]
            stored = page.store.node(page.account_id, answer)
            assert stored.status == "stopped" and SLOW_WORDS.startswith(stored.message.text)
            page.app.state.live = Live(page.store)
            slow.chat(Message.assistant("the cat"))
            _, answer = await begun(page)
            assert await page.live.drain(10.0) is True
            assert page.store.node(page.account_id, answer).status == "done"
        finally:
            page.app.state.live = live

    visit(chat, scene)


def test_the_end_of_the_event_loop_saves_what_was_said(chat: FastAPI, slow: Says) -> None:
    slow.chat(Message.assistant(SLOW_WORDS))

    async def scene(page: Page) -> str:
        _, answer = await begun(page)
        await heard(page, answer, most=3)
        return answer

    answer = visit(chat, scene)
    stored = chat.state.store.node(chat.state.store.single_account().id, answer)
    assert stored.status == "stopped" and stored.message.text and SLOW_WORDS.startswith(stored.message.text)


def test_nothing_is_kept_of_what_is_over(chat: FastAPI, says: Says) -> None:
    says.text("the cat")

    async def scene(page: Page) -> None:
        _, answer = await begun(page, "scripted")
        kept = weakref.ref(page.live._making[answer])
        await page.end(answer)
        await wait_until(lambda: not page.live.num_running)
        gc.collect()
        assert kept() is None and not page.live._starting

    visit(chat, scene)


def test_who_waits_long_for_the_first_word_is_told(
    chat: FastAPI, slow: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "_WAITING_AFTER_S", 0.0)
    slow.chat(Message.assistant("the cat"))

    async def scene(page: Page) -> None:
        _, answer = await begun(page)
        events = [event for _, event in await heard(page, answer)]
        assert events[0]["type"] == "waiting" and events[0]["num_waiting"] >= 0
        assert text_of(events) == "the cat"

    visit(chat, scene)
