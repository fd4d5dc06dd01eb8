"""Asked twice, done once: whoever asks again under the same key gets what came of it the first time."""

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI

from liaoliao.messages import Message
from liaoliao.server.app import create_app
from liaoliao.server.served import ServedModel
from liaoliao.server.settings import Settings
from liaoliao.store import Store
from tests.server.conftest import Says
from tests.server.page.talking import SLOW_WORDS, Page, visit, visit_all

KEY = "3f6a-!~#" + "x" * 192
HEADERS = {"Idempotency-Key": KEY}


def ids(answered: Any) -> Any:
    """Which messages a reply is about."""
    return [
        *([answered["user"]["id"]] if "user" in answered else []),
        *(view["id"] for view in answered.get("answers", [])),
        *([answered["message"]["id"]] if "message" in answered else []),
    ]


def test_a_question_is_asked_once(chat: FastAPI, says: Says) -> None:
    says.text("5")

    async def scene(page: Page) -> None:
        talk = await page.begin()
        first = await page.say(talk["id"], "2+3?", num_answers=2, headers=HEADERS)
        again = await page.say(talk["id"], "2+3?", num_answers=2, headers=HEADERS)
        assert ids(again) == ids(first) and again["title"] == first["title"] == "2+3?"
        ends = [await page.end(view["id"]) for view in first["answers"]]
        late = await page.post(
            f"/conversations/{talk['id']}/messages", {"num_answers": 2, "text": "2+3?"}, headers=HEADERS
        )
        assert late["answers"] == ends, "the same, as it is now"
        assert len(page.store.nodes(page.account_id, talk["id"])) == 3 and len(says.requests) == 2
        assert ids(await page.say(talk["id"], "2+3?")) != ids(first), "without a key it is another question"

    visit(chat, scene)


def test_a_key_stands_for_one_request(chat: FastAPI, says: Says) -> None:
    says.text("5")

    async def scene(page: Page) -> None:
        talk, other = await page.begin(), await page.begin()
        said = await page.say(talk["id"], "2+3?", headers=HEADERS)
        await page.end(said["answers"][0]["id"])
        for path, body in (
            (f"conversations/{talk['id']}/messages", {"text": "2+4?"}),
            (f"conversations/{talk['id']}/messages", {"text": "2+3?", "num_answers": 2}),
            (f"messages/{said['answers'][0]['id']}/regenerate", {}),
            (f"messages/{said['user']['id']}/edit", {"text": "2+3?"}),
            (f"messages/{said['answers'][0]['id']}/edit", {"text": "2+3?"}),
        ):
            refused = await page.post(f"/{path}", body, status=422, headers=HEADERS)
            assert refused["error"]["code"] == "idempotency_key_reused"
        assert len(page.store.nodes(page.account_id, talk["id"])) == 2
        elsewhere = await page.say(other["id"], "2+4?", headers=HEADERS)
        assert ids(elsewhere) != ids(said), "another conversation has keys of its own"

    visit(chat, scene)


@pytest.mark.parametrize(
    ("wish", "body", "of_the_question"),
    [
        ("regenerate", {}, False),
        ("regenerate", {}, True),
        ("continue", {}, False),
        ("branch", {"token_index": 0, "token_id": 5}, False),
        ("edit", {"text": "2+4?"}, True),
        ("edit", {"text": "it is 5"}, False),
    ],
)
def test_every_wish_is_granted_once(
    chat: FastAPI, says: Says, wish: str, body: Any, of_the_question: bool
) -> None:
    says.text("the cat")

    async def scene(page: Page) -> None:
        talk = await page.begin()
        answer = await page.exchange(talk["id"], "2+3?")
        path = f"/messages/{answer['parent_id' if of_the_question else 'id']}/{wish}"
        first = await page.post(path, body, headers=HEADERS)
        made = len(page.store.nodes(page.account_id, talk["id"]))
        again = [await page.post(path, body, headers=HEADERS) for _ in range(2)]
        assert ids(first) and [ids(one) for one in again] == [ids(first)] * 2
        assert len(page.store.nodes(page.account_id, talk["id"])) == made > 2

    visit(chat, scene)


def test_a_conversation_is_begun_once(chat: FastAPI) -> None:
    async def scene(page: Page) -> None:
        persona = page.store.add_persona(page.account_id, name="Anna", greeting="Hello")
        body = {"persona_id": persona.id}
        first = await page.post("/conversations", body, headers=HEADERS)
        again = await asyncio.gather(*(page.post("/conversations", body, headers=HEADERS) for _ in range(3)))
        assert again == [first] * 3 and [m["text"] for m in first["messages"]] == ["Hello"]
        refused = await page.post("/conversations", {"title": "x"}, status=422, headers=HEADERS)
        assert refused["error"]["code"] == "idempotency_key_reused"
        await page.ask("DELETE", f"/conversations/{first['id']}", status=204)
        anew = await page.post("/conversations", body, headers=HEADERS)
        assert anew["id"] != first["id"], "what came of it is no more"

    visit(chat, scene)


def test_those_who_ask_at_once_get_one_answer(
    chat: FastAPI, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat.state.live, "max_per_account", 1)  # nobody is told that there are too many
    says.text("5")

    async def scene(page: Page) -> None:
        talk = await page.begin()
        said = await asyncio.gather(*(page.say(talk["id"], "2+3?", headers=HEADERS) for _ in range(6)))
        assert len({tuple(ids(one)) for one in said}) == 1
        assert (await page.end(said[0]["answers"][0]["id"]))["text"] == "5"
        assert len(page.store.nodes(page.account_id, talk["id"])) == 2 and len(says.requests) == 1

    visit(chat, scene)


def test_two_servers_that_are_asked_at_once_answer_once(two: tuple[FastAPI, FastAPI], slow: Says) -> None:
    slow.chat(Message.assistant(SLOW_WORDS * 3))

    async def scene(first: Page, second: Page) -> None:
        talk = await first.begin(model="slow")
        asked = (page.say(talk["id"], "2+3?", headers=HEADERS) for page in (first, second) * 3)
        said = await asyncio.gather(*asked)
        assert len({tuple(ids(one)) for one in said}) == 1
        assert {one["answers"][0]["status"] for one in said} == {"running"}
        assert len(first.store.nodes(first.account_id, talk["id"])) == 2 and len(slow.requests) == 1
        assert first.live.num_running + second.live.num_running == 1

    visit_all(two, scene)


def test_a_server_that_was_started_anew_knows_what_was_asked(
    shared: str, served: ServedModel, slow_model: tuple[ServedModel, Says], slow: Says
) -> None:
    slow.chat(Message.assistant(SLOW_WORDS))

    async def ask(page: Page) -> Any:
        found = (await page.get("/conversations"))["conversations"]
        talk = found[0] if found else await page.begin(model="slow")
        return await page.say(talk["id"], "2+3?", headers=HEADERS)

    said = []
    for _ in range(2):
        with Store.open(shared) as store:
            said.append(visit(create_app(Settings(), [served, slow_model[0]], store=store), ask))
    assert ids(said[0]) == ids(said[1]) and said[1]["answers"][0]["status"] != "running"


@pytest.mark.parametrize(
    "keys", [[b""], [b" "], [b"a b"], [b"a\tb"], ["é".encode()], [b"\x7f"], [b"x" * 201], [b"a", b"a"]]
)
def test_what_is_no_key_is_refused_and_leaves_nothing(chat: FastAPI, keys: list[bytes]) -> None:
    async def scene(page: Page) -> None:
        talk = await page.begin()
        headers = [(b"idempotency-key", key) for key in keys]
        path = f"/conversations/{talk['id']}/messages"
        refused = await page.post(path, {"text": "2+3?"}, status=400, headers=headers)
        assert refused["error"]["code"] == "invalid_idempotency_key"
        assert refused["error"]["param"] == "Idempotency-Key"
        assert not page.store.nodes(page.account_id, talk["id"])

    visit(chat, scene)


def test_what_was_refused_is_tried_anew(chat: FastAPI, says: Says) -> None:
    says.text("5")

    async def scene(page: Page) -> None:
        talk = await page.begin(model="nosuch")
        path = f"/conversations/{talk['id']}/messages"
        await page.post(path, {"text": "2+3?"}, status=404, headers=HEADERS)
        await page.ask("PATCH", f"/conversations/{talk['id']}", json={"model": None})
        assert (await page.exchange(talk["id"], "2+3?", headers=HEADERS))["text"] == "5"

    visit(chat, scene)
