"""The X-ray of stored answers: the figures are the model's, the prompt is the one it read, and only its own are shown."""

import asyncio
import base64
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fastapi import FastAPI

from liaoliao.engine.engine import Engine
from liaoliao.messages import Message
from liaoliao.model.checkpoint import load_model
from liaoliao.model.inspect import Inspector
from liaoliao.server.page.prompts import Desk, answer_plan
from liaoliao.server.page.sampling import read_settings
from liaoliao.server.reply import ReplyDone, reply
from liaoliao.server.served import ServedModel
from liaoliao.store import Store
from liaoliao.store.records import Node
from tests.server.conftest import failure
from tests.server.page.people import OWN, page
from tests.server.plain import ask

SETTINGS = {"temperature": 1.0, "max_tokens": 40, "seed": 3, "system": "the cat sat"}


@pytest.fixture(scope="module")
def app(tiny: ServedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FastAPI]:
    with page(tiny, tmp_path_factory.mktemp("page")) as app:
        yield app


@pytest.fixture(scope="module")
def answer(app: FastAPI, tiny: ServedModel) -> Node:
    """What the tiny model made of a question, as it is stored."""
    store: Store = app.state.store
    account = store.single_account()
    talk = store.create_conversation(account.id, settings=SETTINGS)
    asked = store.add_message(account.id, talk.id, Message.user("two and three?"), None)
    desk = Desk(store, account, talk, read_settings(talk.settings), tiny)
    plan = answer_plan(desk, [asked])
    node = store.begin_generation(
        account.id, talk.id, asked.id, model=tiny.id, model_version=tiny.version, params=plan.params
    )
    done = asyncio.run(last(tiny, plan.job))
    assert len(done.token_ids) > 8
    return store.finish_generation(
        node.id, done.message, "length", token_ids=done.token_ids, finish_reason=done.finish_reason
    )


async def last(served: ServedModel, job: Any) -> ReplyDone:
    [*_, done] = [event async for event in reply(served, job)]
    assert isinstance(done, ReplyDone)
    return done


def see(app: FastAPI, path: str) -> Any:
    response = ask(app, f"/api/messages/{path}")
    assert response.status_code == 200, response.text
    return response.json()


def refused(app: FastAPI, path: str) -> tuple[int, str | None]:
    response = ask(app, f"/api/messages/{path}")
    return response.status_code, failure(response)["code"]


def test_the_prompt_and_the_probabilities_are_the_engines(
    app: FastAPI, tiny: ServedModel, answer: Node, model_folder: Path
) -> None:
    shown = see(app, f"{answer.id}/xray")
    prompt, tokens = [token["id"] for token in shown["prompt"]], shown["tokens"]
    assert answer.generation is not None
    assert [token["id"] for token in tokens][: len(answer.generation.token_ids)] == list(
        answer.generation.token_ids
    )
    system = Message.system(str(SETTINGS["system"]))
    assert prompt == tiny.template.prompt([system, Message.user("two and three?")])
    assert "".join(token["text"] for token in shown["prompt"]) == tiny.tokenizer.decode(prompt)
    assert [t["text"] for t in shown["prompt"] if t["special"]][:2] == ["<|im_start|>", "<|im_end|>"]
    [logprobs] = Engine(load_model(model_folder)).score([[*prompt, *(token["id"] for token in tokens)]])
    told = [math.log(token["prob"]) for token in tokens]
    assert told == pytest.approx(logprobs[len(prompt) :], abs=1e-3)
    assert (shown["model"], shown["version"], shown["dtype"]) == (tiny.id, tiny.version, "float32")
    assert shown["generated"] and shown["end"] == (answer.generation.finish_reason == "stop")
    placed = [token["start"] for token in tokens if token["start"] is not None]
    assert placed == sorted(placed) and placed[0] == 0 and placed[-1] <= len(answer.message.text)


@pytest.mark.parametrize("at", ["answer", "prompt"])
def test_a_look_is_the_inspectors(app: FastAPI, answer: Node, model_folder: Path, at: str) -> None:
    shown, index = see(app, f"{answer.id}/xray"), 5
    prompt, made = ([token["id"] for token in shown[part]] for part in ("prompt", "tokens"))
    position = index if at == "prompt" else len(prompt) + index
    expected = Inspector(load_model(model_folder)).look([*prompt, *made], position)
    look = see(app, f"{answer.id}/xray/{index}?at={at}")
    assert look["id"] == [*prompt, *made][position] and look["rank"] == expected.token.rank
    assert look["prob"] == pytest.approx(expected.token.prob, rel=1e-3)
    if at == "answer":
        names = ("id", "prob", "rank", "entropy_bits")
        told = [shown["tokens"][index][name] for name in names]
        assert [look[name] for name in names] == pytest.approx(told, rel=1e-4)
    assert [choice["prob"] for choice in look["alternatives"]] == pytest.approx(
        [choice.prob for choice in expected.alternatives], rel=1e-3
    )
    assert len(look["alternatives"]) == 20 and [layer["layer"] for layer in look["lens"]] == [0, 1]
    last = look["lens"][-1]["top"]
    assert [choice["prob"] for choice in last] == pytest.approx(
        [choice["prob"] for choice in look["alternatives"][:5]], rel=1e-3
    )
    seen = look["attention"]
    assert seen["tokens"] == position == len(seen["context"])
    assert seen["context"] == [token["text"] for token in shown["prompt"] + shown["tokens"]][:position]
    steps = np.frombuffer(base64.b64decode(seen["values"]), dtype=np.uint8)
    rows = steps.reshape(-1, position) / 255 * np.array(seen["max"])[:, None]
    truth = expected.attention.flatten(0, 1).numpy()
    assert rows.shape == truth.shape and np.abs(rows - truth).max() <= truth.max() / 255


def test_words_that_nobody_made_are_scored(app: FastAPI, tiny: ServedModel, answer: Node) -> None:
    store: Store = app.state.store
    account = store.single_account()
    better = store.add_message(
        account.id,
        answer.conversation_id,
        Message.assistant("the cat sat"),
        answer.parent_id,
        edited_from=answer.id,
    )
    shown = see(app, f"{better.id}/xray")
    *words, end = shown["tokens"]
    assert not shown["generated"] and shown["end"] and end["text"] == "<|im_end|>"
    assert "".join(token["text"] for token in words) == "the cat sat" and words[0]["start"] == 0
    assert shown["prompt"] == see(app, f"{answer.id}/xray")["prompt"]
    assert see(app, f"{better.id}/xray/{len(words)}")["prob"] == pytest.approx(end["prob"], rel=1e-3)


def test_what_cannot_be_looked_into(app: FastAPI, tiny: ServedModel, answer: Node) -> None:
    store: Store = app.state.store
    account = store.single_account()
    talk = store.create_conversation(account.id)
    greeting = store.add_message(account.id, talk.id, Message.assistant("Hello!"), None)
    asked = store.add_message(account.id, talk.id, Message.user("2+3?"), greeting.id)
    running = store.begin_generation(
        account.id, talk.id, asked.id, model=tiny.id, model_version=tiny.version, params={}
    )
    assert refused(app, f"{answer.parent_id}/xray") == (400, "no_answer")
    assert refused(app, f"{greeting.id}/xray") == (400, "not_generated")
    assert refused(app, f"{running.id}/xray") == (409, "busy")
    assert refused(app, f"{answer.id}/xray/1000") == (404, "no_such_token")
    assert refused(app, f"{answer.id}/xray/1000?at=prompt") == (404, "no_such_token")
    assert refused(app, f"{answer.id}/xray/0?at=prompt") == (400, "first_token")
    assert refused(app, f"{answer.id}/xray/-1")[0] == 400
    assert refused(app, f"{answer.id}/xray/1?at=moon")[0] == 400
    assert refused(app, f"{talk.id}/xray")[0] == 404
    stranger = store.create_account("stranger", "a long enough password", "member")
    theirs = store.create_conversation(stranger.id)
    node = store.add_message(stranger.id, theirs.id, Message.assistant("Hello!"), None)
    assert refused(app, f"{node.id}/xray")[0] == 404


@pytest.mark.parametrize("models", [{}, {"version": "0123456789ab"}, {"folder": None}])
def test_the_model_that_made_it_must_answer_now(
    app: FastAPI, tiny: ServedModel, answer: Node, monkeypatch: pytest.MonkeyPatch, models: dict[str, Any]
) -> None:
    if models:
        monkeypatch.setitem(app.state.models, tiny.id, replace(tiny, **models))
    else:
        monkeypatch.delitem(app.state.models, tiny.id)
    code = "cannot_look" if "folder" in models else "model_changed"
    assert refused(app, f"{answer.id}/xray") == (409, code)
    assert refused(app, f"{answer.id}/xray/1") == (409, code)


def test_a_branch_goes_another_way_from_a_token_on(app: FastAPI) -> None:
    """As the page does it: say, look, choose another token, and look at what came of it."""

    async def talk() -> None:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", headers=OWN) as client:

            async def ask_for(path: str, **body: Any) -> Any:
                response = await (
                    client.post(f"/api/{path}", json=body) if body else client.get(f"/api/{path}")
                )
                assert response.status_code in (200, 201), response.text
                return response.json()

            async def xray_of(answer: Any) -> Any:
                await client.get(f"/api/messages/{answer['id']}/events")  # to its end
                return await ask_for(f"messages/{answer['id']}/xray")

            conversation = await ask_for("conversations", settings=SETTINGS)
            said = await ask_for(
                f"conversations/{conversation['id']}/messages", text="the cat?", parent_id=None
            )
            [answer] = said["answers"]
            before = await xray_of(answer)
            assert before["generated"] and len(before["tokens"]) > 8
            look = await ask_for(f"messages/{answer['id']}/xray/6")
            other = look["alternatives"][3]
            branched = await ask_for(f"messages/{answer['id']}/branch", token_index=6, token_id=other["id"])
            after = await xray_of(branched["answers"][0])
            assert after["prompt"] == before["prompt"]
            for one, same in zip(after["tokens"][:6], before["tokens"][:6], strict=True):
                assert one["id"] == same["id"] and one["prob"] == pytest.approx(same["prob"], rel=1e-3)
            assert after["tokens"][6]["id"] == other["id"]
            assert after["tokens"][6]["prob"] == pytest.approx(other["prob"], rel=1e-3)
            message = await ask_for(f"messages/{branched['answers'][0]['id']}")
            assert message["parent_id"] == answer["parent_id"] and message["status"] in ("done", "length")

    asyncio.run(talk())
