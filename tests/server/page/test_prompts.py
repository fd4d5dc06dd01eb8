"""What the model is asked: everything that was given, in its place, as much of it as fits, and the same again later."""

from typing import Any

import pytest
from fastapi import FastAPI
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.messages import Message
from liaoliao.server.page.prompts import _fenced, replayed
from liaoliao.server.page.sampling import TalkSettings, params_of, read_settings, sampling
from liaoliao.server.served import ServedModel
from tests.server.conftest import CONTEXT, Says
from tests.server.page.talking import Page, visit


async def seen(page: Page, says: Says, talk: str, text: str, **more: Any) -> list[int]:
    """The prompt of an answer."""
    says.requests.clear()
    await page.exchange(talk, text, **more)
    return list(says.requests[-1].token_ids)


def test_persona_settings_and_files_stand_in_their_places(chat: FastAPI, says: Says) -> None:
    says.text("5")

    async def scene(page: Page) -> None:
        persona = page.store.add_persona(
            page.account_id,
            name="Anna",
            system_prompt="You are {{char}}, friend of {{user}}.",
            greeting="Hi {{user}}!",
        )
        file = page.store.add_attachment(page.account_id, "a.md", "text/plain", b"```\ncode\n```\n")
        talk = await page.begin(persona_id=persona.id, settings={"system": " Be brief. "})
        assert [m["text"] for m in talk["messages"]] == ["Hi User!"]
        prompt = await seen(page, says, talk["id"], "what?", parent=talk["head_id"], attachment_ids=[file.id])
        assert prompt == says.template.prompt([
            Message.system("You are Anna, friend of User.\n\nBe brief."),
            Message.assistant("Hi User!"),
            Message.user("File: a.md\n````\n```\ncode\n```\n````\n\nwhat?"),
        ])  # fmt: skip
        page.store.delete_persona(page.account_id, persona.id)
        prompt = await seen(page, says, talk["id"], "what?")
        assert prompt == says.template.prompt([Message.system("Be brief."), Message.user("what?")])

    visit(chat, scene)


@pytest.mark.parametrize("system", [None, "", " \n "])
def test_what_says_nothing_is_no_system_message(chat: FastAPI, says: Says, system: str | None) -> None:
    says.text("5")

    async def scene(page: Page) -> None:
        persona = page.store.add_persona(page.account_id, name="Blank", system_prompt=" ", greeting=" ")
        talk = await page.begin(persona_id=persona.id, settings={"system": system})
        assert talk["messages"] == []
        assert await seen(page, says, talk["id"], "what?") == says.template.prompt([Message.user("what?")])

    visit(chat, scene)


def test_the_oldest_exchanges_give_way_whole_and_the_page_is_told(chat: FastAPI, says: Says) -> None:
    says.text("the cat sat on the mat " * 8)

    async def scene(page: Page) -> None:
        talk = await page.begin(settings={"system": "be a cat"})
        messages, head = [Message.system("be a cat")], None
        left_out = []
        for number in range(7):
            end = await page.exchange(talk["id"], f"the cat {number}?", head)
            assert end["status"] == "done"
            messages.append(Message.user(f"the cat {number}?"))
            count = end["generation"]["left_out"]
            prompt = says.template.prompt([messages[0], *messages[1 + count :]])
            assert says.requests[-1].token_ids == tuple(prompt) and count % 2 == 0
            assert len(prompt) <= CONTEXT * 3 // 4
            if count:  # one exchange more would have been too many
                more = says.template.prompt([messages[0], *messages[count - 1 :]])
                assert len(more) > CONTEXT * 3 // 4
            messages.append(Message.assistant(end["text"]))
            head = end["id"]
            left_out.append(count)
        assert left_out[0] == 0 and left_out[-1] >= 4 and left_out == sorted(left_out)

    visit(chat, scene)


def test_an_answer_that_came_to_nothing_is_not_told_to_the_model(chat: FastAPI, says: Says) -> None:
    says.text("", "5")

    async def scene(page: Page) -> None:
        talk = await page.begin()
        empty = await page.exchange(talk["id"], "what?")
        prompt = await seen(page, says, talk["id"], "well?", parent=empty["id"])
        assert prompt == says.template.prompt([Message.user("what?"), Message.user("well?")])

    visit(chat, scene)


def test_every_prompt_can_be_had_again_whatever_was_changed(
    chat: FastAPI, says: Says, served: ServedModel
) -> None:
    says.text("the cat")

    async def scene(page: Page) -> None:
        persona = page.store.add_persona(page.account_id, name="Anna", system_prompt="You are {{char}}.")
        file = page.store.add_attachment(page.account_id, "a.txt", "text/plain", b"two")
        talk = await page.begin(
            persona_id=persona.id, settings={"system": "x", "temperature": 0.0, "stop": ["zz"]}
        )
        ends = [await page.exchange(talk["id"], "what?", attachment_ids=[file.id])]
        ends.append(await page.exchange(talk["id"], "and?", ends[-1]["id"]))
        [more] = (await page.post(f"/messages/{ends[-1]['id']}/continue"))["answers"]
        ends.append(await page.end(more["id"]))
        for number in range(6):
            ends.append(
                await page.exchange(talk["id"], f"{number} the cat sat on the mat" * 5, ends[-1]["id"])
            )
        assert ends[-1]["generation"]["left_out"]
        await page.ask("PATCH", f"/conversations/{talk['id']}", json={"settings": {}, "persona_id": None})
        assert len(says.requests) == len(ends)
        for end, request in zip(ends, says.requests, strict=True):
            job = replayed(page.store, page.account_id, page.store.node(page.account_id, end["id"]), served)
            prompt = says.template.prompt(job.messages, continue_final=job.continue_final)
            assert tuple(prompt) == request.token_ids
            assert job.params.temperature == request.params.temperature and job.stop == ("zz",)

    visit(chat, scene)


@given(st.text(st.sampled_from("`\nab"), max_size=30))
def test_no_file_can_end_its_fence(text: str) -> None:
    name, fence, *inside, last = _fenced("a", text).split("\n")
    assert name == "File: a" and fence == last and set(fence) == {"`"} and len(fence) >= 3
    assert "\n".join(inside) == text.rstrip() and fence not in inside and fence not in text


def test_settings_of_the_talk_stand_before_those_of_the_checkpoint(served: ServedModel) -> None:
    assert sampling(TalkSettings(), served)["temperature"] == 0.0  # the checkpoint's
    chosen = sampling(
        TalkSettings(temperature=0.5, top_p=0.0, seed=4, stop=["a"]), served, number=2, other=True
    )
    assert (chosen["temperature"], chosen["seed"], chosen["stop"]) == (0.7, 6, ["a"])
    params = params_of(chosen)
    assert 0 < params.top_p < 1e-3 and params.seed == 6 and params.max_tokens is None
    assert read_settings({}) == TalkSettings()
