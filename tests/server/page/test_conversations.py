"""The rest of what a page asks for: conversations, models, opinions, files, personas, and all of it out and in again."""

import json
from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.server.failures import ApiError
from liaoliao.server.page.attachments import MAX_BYTES, as_text, file_name
from tests.chat.test_persona import V2, as_json, carried, picture
from tests.server.conftest import Says
from tests.server.page.talking import Page, visit


def test_a_list_that_can_be_searched_paged_and_changed(chat: FastAPI, says: Says) -> None:
    says.text("猫坐在垫子上")

    async def scene(page: Page) -> None:
        ids = [(await page.begin(title=f"talk {n}"))["id"] for n in range(5)]
        changed = await page.ask(
            "PATCH", f"/conversations/{ids[1]}", json={"pinned": True, "title": " ferries "}
        )
        assert (changed["pinned"], changed["title"], changed["messages"]) == (True, "ferries", [])
        await page.exchange(ids[0], "what sat?")
        listed = (await page.get("/conversations", params={"limit": 3}))["conversations"]
        assert [one["id"] for one in listed] == [ids[1], ids[0], ids[4]]
        rest = (await page.get("/conversations", params={"limit": 2, "before": ids[4]}))["conversations"]
        assert [one["id"] for one in rest] == [ids[3], ids[2]]
        [found] = (await page.get("/conversations", params={"query": "垫子"}))["conversations"]
        assert found["id"] == ids[0] and "垫子" in found["snippet"]
        settings = {"temperature": 0.5, "system": "x", "seed": None}
        changed = await page.ask(
            "PATCH", f"/conversations/{ids[2]}", json={"settings": settings, "model": "slow"}
        )
        assert changed["settings"] == {"temperature": 0.5, "system": "x"} and changed["model"] == "slow"
        assert (await page.ask("PATCH", f"/conversations/{ids[2]}", json={"model": None}))["model"] is None
        await page.ask("DELETE", f"/conversations/{ids[2]}", status=204)
        await page.get(f"/conversations/{ids[2]}", status=404)

    visit(chat, scene)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, None),
        ({"colour": 1}, "colour"),
        ({"title": "x" * 201}, "title"),
        ({"settings": {"temperature": 3}}, "settings.temperature"),
        ({"settings": {"colour": 3}}, "settings.colour"),
        ({"pinned": None}, "pinned"),
    ],
)
def test_changes_that_make_no_sense_are_refused_by_name(chat: FastAPI, body: Any, param: str | None) -> None:
    async def scene(page: Page) -> None:
        talk = await page.begin()
        refused = await page.ask("PATCH", f"/conversations/{talk['id']}", json=body, status=400)
        assert refused["error"]["param"] == param
        assert await page.get(f"/conversations/{talk['id']}") == talk

    visit(chat, scene)


def test_the_models_there_are(chat: FastAPI) -> None:
    async def scene(page: Page) -> None:
        found = await page.get("/models")
        assert found["current"] == "scripted" and [m["id"] for m in found["models"]] == ["scripted", "slow"]
        model = found["models"][0]
        assert model["defaults"] == {"temperature": 0.0} and (model["version"], model["state"]) == (
            "v1",
            "ready",
        )

    visit(chat, scene)


def test_opinions(chat: FastAPI, says: Says) -> None:
    says.text("the cat")

    async def scene(page: Page) -> None:
        talk = await page.begin()
        answer = await page.exchange(talk["id"], "what?")
        told = {"thumb": -1, "reasons": ["wrong"], "comment": "不对"}
        path = f"/messages/{answer['id']}/feedback"
        assert (await page.ask("PUT", path, json=told))["feedback"] == told
        assert (await page.ask("PUT", path, json={"thumb": 0}))["feedback"] is None
        user = f"/messages/{answer['parent_id']}/feedback"
        assert (await page.ask("PUT", user, json=told, status=400))["error"]["code"] == "no_answer"
        vote = {"parent_id": answer["parent_id"], "chosen_id": answer["id"], "rejected_id": answer["id"]}
        await page.post("/votes", vote, status=400)
        await page.post("/votes", {**vote, "rejected_id": None})

    visit(chat, scene)


def test_files(chat: FastAPI) -> None:
    async def scene(page: Page) -> None:
        async def give(name: str, data: bytes, status: int = 201) -> Any:
            return await page.ask("POST", "/attachments", status=status, files={"file": (name, data)})

        kept = await give("..\\..\\笔记 1.txt", "\ufeff猫\r\n坐".encode())
        assert (kept["name"], kept["size_bytes"]) == ("笔记 1.txt", len("猫\n坐".encode()))
        assert page.store.attachment_text(page.account_id, kept["id"]) == "猫\n坐"
        assert (await give("a.png", b"\x89PNG\r\n\x1a\n\0", 400))["error"]["code"] == "not_text"
        assert (await give("a.txt", b"x" * (MAX_BYTES + 1), 413))["error"]["code"] == "file_too_large"
        missing = await page.ask("POST", "/attachments", status=400, files={"other": ("a", b"x")})
        assert missing["error"]["param"] == "file"

    visit(chat, scene)


@given(st.text(max_size=300))
def test_a_file_has_a_name_that_can_be_shown(given_name: str) -> None:
    name = file_name(given_name)
    assert 0 < len(name) <= 120 and not set(name) & set("/\\\n\r\0\u202e\u2028")
    assert file_name(name) == name or name.strip(".") == ""


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r\ufeff")))
def test_a_text_is_read_in_what_it_says_it_is_written_in(text: str) -> None:
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        assert as_text(text.encode(encoding), "a") == text
    with pytest.raises(ApiError, match="save it as UTF-8"):
        as_text(text.encode() + b"\xff", "a")


def test_personas(chat: FastAPI) -> None:
    async def scene(page: Page) -> None:
        made = await page.post("/personas", {"name": "Ben", "system_prompt": "You are {{char}}."})
        changed = await page.ask("PATCH", f"/personas/{made['id']}", json={"greeting": "Hi"})
        assert changed == {**made, "greeting": "Hi"} == await page.get(f"/personas/{made['id']}")
        await page.get(f"/personas/{made['id']}/avatar", status=404)
        sent = {"file": ("anna.png", picture(carried(V2)))}
        imported = await page.ask("POST", "/personas/import", status=201, files=sent)
        anna = imported["persona"]
        assert (
            anna["name"] == "Anna Karenina"
            and anna["has_avatar"]
            and imported["unused"] == ["character_book"]
        )
        response = await page.client.get(f"/api/personas/{anna['id']}/avatar")
        assert response.content == picture() and response.headers["content-type"] == "image/png"
        assert {p["id"] for p in (await page.get("/personas"))["personas"]} == {made["id"], anna["id"]}
        await page.ask("DELETE", f"/personas/{made['id']}", status=204)
        refused = await page.ask("POST", "/personas/import", status=400, files={"file": ("x", as_json({}))})
        assert "needs a name" in refused["error"]["message"] and refused["error"]["code"] == "persona_name"
        for wrong in ({"name": " "}, {"name": "x", "avatar": "y"}, {"greeting": "x"}):
            await page.post("/personas", wrong, status=400)
        nul = await page.post("/personas", {"name": "x", "greeting": "\0"}, status=400)
        assert nul["error"]["code"] == "not_writable"

    visit(chat, scene)


def test_all_of_it_out_and_in_again(chat: FastAPI, says: Says) -> None:
    says.text("the cat")

    async def scene(page: Page) -> None:
        talk = await page.begin(title="moving house")
        await page.exchange(talk["id"], "what is 垫子?")
        response = await page.client.get("/api/export")
        assert 'filename="liaoliao-export.json"' in response.headers["content-disposition"]
        data = response.json()
        assert data["format"] == "liaoliao/1"
        whole = await page.get(f"/conversations/{talk['id']}")
        await page.ask("DELETE", f"/conversations/{talk['id']}", status=204)
        for sent in ({"files": {"file": ("a.json", response.content)}}, {"content": response.content}):
            report = await page.ask("POST", "/import", **sent)
            assert report["num_conversations"] >= 1 and report["num_messages"] >= 2
        found = (await page.get("/conversations", params={"query": "moving house"}))["conversations"]
        assert len(found) >= 1
        again = await page.get(f"/conversations/{found[0]['id']}")
        assert [m["text"] for m in again["messages"]] == [m["text"] for m in whole["messages"]]

    visit(chat, scene)


def test_an_answer_that_goes_on_with_another_does_so_after_an_import(chat: FastAPI, says: Says) -> None:
    says.text("the cat", " sat", " on")
    other = says.tokenizer.encode(" the")[0]

    async def scene(page: Page) -> None:
        talk = await page.begin(title="Weitergehen")
        first = await page.exchange(talk["id"], "what?")
        [more] = (await page.post(f"/messages/{first['id']}/continue"))["answers"]
        whole = await page.end(more["id"])
        data = (await page.client.get("/api/export")).content
        await page.ask("DELETE", f"/conversations/{talk['id']}", status=204)
        await page.ask("POST", "/import", content=data)
        [found] = (await page.get("/conversations", params={"query": "Weitergehen"}))["conversations"]
        [*_, begun, again] = (await page.get(f"/conversations/{found['id']}"))["messages"]
        assert (begun["text"], again["text"]) == ("the cat", whole["text"]) and again["id"] != whole["id"]
        place = {"token_index": 0, "token_id": other}
        [branch] = (await page.post(f"/messages/{again['id']}/branch", place))["answers"]
        text = (await page.end(branch["id"]))["text"]
        assert text.startswith("the cat") and text.endswith(" on")

    visit(chat, scene)


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[NaN]", b"\xff", b"[" * 100_000, b'["\\ud800"]', b"[1, 2]", b'{"format": "other"}']
)
def test_an_import_that_is_none_is_refused_or_skipped(chat: FastAPI, body: bytes) -> None:
    async def scene(page: Page) -> None:
        response = await page.client.post("/api/import", content=body)
        assert response.status_code in (200, 400), response.text
        if response.status_code == 400:
            assert response.json()["error"]["code"] in ("no_json", "no_export")
        else:
            report = response.json()
            assert report["num_conversations"] == 0 and report["skipped"]

    visit(chat, scene)


def test_a_form_without_a_file_is_refused(chat: FastAPI) -> None:
    async def scene(page: Page) -> None:
        refused = await page.ask(
            "POST", "/import", status=400, files={"other": ("a", json.dumps({}).encode())}
        )
        assert refused["error"]["param"] == "file"

    visit(chat, scene)
