"""Several servers on one database: each shows what the others are writing, and takes none of it for left behind."""

import asyncio
from typing import Any

from fastapi import FastAPI

from liaoliao.messages import Message
from tests.server.conftest import Says
from tests.server.page.talking import SLOW_WORDS, Page, text_of, visit_all, wait_until

LONG = SLOW_WORDS * 3  # more than a second of the slow model


async def begun(page: Page) -> tuple[str, str]:
    """A conversation with an answer on its way, and something of that in the store: their ids."""
    talk = await page.begin(model="slow")
    said = await page.say(talk["id"], "the cat?")
    answer = said["answers"][0]["id"]
    await wait_until(lambda: page.store.node(page.account_id, answer).message.text)
    return talk["id"], answer


def eager(*pages: Page) -> None:
    """Save and look often."""
    for page in pages:
        page.live.save_every_s = 0.02


async def heard(page: Page, message_id: str, after: int = 0) -> list[tuple[int, Any]]:
    return [numbered async for numbered in page.live.follow(page.account_id, message_id, after)]


def test_what_another_server_writes_is_read_along(two: tuple[FastAPI, FastAPI], slow: Says) -> None:
    words = "two and three"
    slow.chat(Message.assistant(LONG, reasoning=words))

    async def scene(maker: Page, other: Page) -> None:
        eager(maker, other)
        talk, answer = await begun(maker)
        shown = (await other.get(f"/conversations/{talk}"))["messages"][-1]
        assert (shown["status"], shown["seq"]) == ("running", None)
        assert shown["text"] and LONG.startswith(shown["text"]) and shown["reasoning"] == words
        there, here = await asyncio.gather(heard(other, answer), heard(maker, answer))
        events = [event for _, event in there]
        assert events[-1] == here[-1][1] and events[-1]["type"] == "done"
        assert text_of(events, "reasoning") == words and LONG.startswith(text_of(events))
        assert sum(event["type"] == "text" for event in events) >= 2, "as it grows"
        numbers = [number for number, _ in there]
        assert numbers == sorted(set(numbers))

    visit_all(two, scene)


def test_who_comes_back_hears_the_rest(two: tuple[FastAPI, FastAPI], slow: Says) -> None:
    slow.chat(Message.assistant(LONG, reasoning="two"))

    async def scene(maker: Page, other: Page) -> None:
        eager(maker, other)
        _, answer = await begun(maker)
        told, last = "", 0
        for _ in range(3):
            async for number, event in other.live.follow(other.account_id, answer, last):
                told, last = told + (event["text"] if event["type"] == "text" else ""), number
                if event["type"] == "text":
                    break
        assert told and LONG.startswith(told) and last == len("two") + len(told)

    visit_all(two, scene)


def test_nothing_is_built_on_what_another_server_writes(two: tuple[FastAPI, FastAPI], slow: Says) -> None:
    slow.chat(Message.assistant(LONG))

    async def scene(maker: Page, other: Page) -> None:
        talk, answer = await begun(maker)
        for path, body in (
            (f"/conversations/{talk}/messages", {"text": "and?", "parent_id": answer}),
            (f"/messages/{answer}/continue", {}),
            (f"/messages/{answer}/edit", {"text": "better"}),
        ):
            assert (await other.post(path, body, status=409))["error"]["code"] == "busy"

    visit_all(two, scene)


def test_an_answer_is_stopped_at_another_server(two: tuple[FastAPI, FastAPI], slow: Says) -> None:
    slow.chat(Message.assistant(LONG))

    async def scene(maker: Page, other: Page) -> None:
        eager(maker)
        _, answer = await begun(maker)
        making = maker.live._making[answer]
        stopped = await other.post(f"/messages/{answer}/stop", status=200)
        assert stopped["status"] == "stopped" and LONG.startswith(stopped["text"])
        await wait_until(lambda: not maker.live.num_running)
        assert await maker.end(answer) == await other.end(answer) == stopped
        assert len(making._token_ids) < len(slow.replies[0]), "it was not made to its end"

    visit_all(two, scene)


def test_what_a_server_leaves_behind_is_interrupted_at_once(two: tuple[FastAPI, FastAPI]) -> None:
    async def scene(maker: Page, other: Page) -> None:
        eager(other)
        talk = await maker.begin()
        asked = maker.store.add_message(maker.account_id, talk["id"], Message.user("2+3?"), None)
        made = maker.store.begin_generation(
            maker.account_id, talk["id"], asked.id, model="m", model_version="", params={}
        )
        maker.store.save_partial(made.id, Message.assistant("It is"), (5, 6))
        events: list[Any] = []

        async def listen() -> None:
            async for _, event in other.live.follow(other.account_id, made.id, 0):
                events.append(event)

        listening = asyncio.create_task(listen())
        await wait_until(lambda: text_of(events))
        assert not listening.done()
        maker.store.close()
        await listening
        assert text_of(events) == "It is" and events[-1]["message"]["status"] == "interrupted"
        assert (await other.get(f"/messages/{made.id}"))["status"] == "interrupted"

    visit_all(two, scene)
