"""What an answer was made with is shown: the model's own tools, as they run and ever after."""

import asyncio
import json
import threading
from dataclasses import replace
from typing import Any

import pytest
from fastapi import FastAPI

from liaoliao.chat.tools import BoundTool, ToolBox
from liaoliao.messages import Message, Tool, ToolCall, ToolResult
from liaoliao.server.page.overheard import Overheard
from liaoliao.store.records import ToolUse
from tests.server.conftest import Says
from tests.server.page.talking import Page, visit, wait_until
from tests.server.plain import WAIT_S

CALL = ToolCall("call_0", "calculator", '{"expression": "2+3"}')
SECOND = ToolCall("call_1", "calculator", '{"expression": "20+30"}')
RESULT = CALL.arguments[::-1]  # what the scripted model's tool gives back
USED = {"id": CALL.id, "name": CALL.name, "arguments": CALL.arguments, "result": RESULT}


async def heard(page: Page, message_id: str) -> list[Any]:
    return [event async for _, event in page.live.follow(page.account_id, message_id)]


def folded(events: list[Any]) -> list[Any]:
    """The calls as the page makes them up of events."""
    calls: dict[int, Any] = {}
    for event in events:
        if event["type"] == "tool_call":
            call = calls.setdefault(event["index"], {"id": "", "name": "", "arguments": "", "result": None})
            call |= {"id": event["id"], "name": event["name"]}
            call["arguments"] += event["arguments"]
            call["result"] = call["result"] if event["result"] is None else event["result"]
    return [calls[index] for index in range(len(calls))]


def with_tool(page: Page, monkeypatch: pytest.MonkeyPatch, function: Any) -> None:
    """Give the scripted model another function behind its tool."""
    served = page.app.state.models["scripted"]
    [tool] = served.tools.definitions
    changed = replace(served, tools=ToolBox([BoundTool(tool, function)]))
    monkeypatch.setitem(page.app.state.models, "scripted", changed)


def test_a_tool_is_seen_as_it_runs_and_ever_after(chat: FastAPI, says: Says) -> None:
    says.chat(Message.assistant("", tool_calls=(CALL,)), Message.assistant("5"), Message.assistant("6"))

    async def scene(page: Page) -> None:
        talk = await page.begin()
        said = await page.say(talk["id"], "2+3?")
        events = await heard(page, said["answers"][0]["id"])
        assert [event["type"] for event in events] == ["tool_call", "tool_call", "text", "done"]
        began, ended = events[:2]
        assert began == {"type": "tool_call", "index": 0, **USED, "result": None}
        assert ended == {"type": "tool_call", "index": 0, **USED, "arguments": ""}
        assert folded(events) == events[-1]["message"]["tool_calls"] == [USED]
        answer = events[-1]["message"]
        assert answer["text"] == "5" and await page.get(f"/messages/{answer['id']}") == answer
        whole = await page.get(f"/conversations/{talk['id']}")
        assert [m["tool_calls"] for m in whole["messages"]] == [[], [USED]]
        await page.exchange(talk["id"], "and one more?", answer["id"])
        asked = [Message.user("2+3?"), Message.assistant("5"), Message.user("and one more?")]
        assert list(says.requests[2].token_ids) == says.template.prompt(asked), "the model reads words alone"

    visit(chat, scene)


def test_an_export_takes_it_along(chat: FastAPI, says: Says) -> None:
    says.chat(Message.assistant("", tool_calls=(CALL,)), Message.assistant("5"))

    async def scene(page: Page) -> None:
        talk = await page.begin(title="with a tool")
        await page.exchange(talk["id"], "2+3?")
        data = await page.get("/export")
        data["conversations"] = [c for c in data["conversations"] if c["id"] == talk["id"]]
        report = await page.ask("POST", "/import", json=data)
        assert (report["num_conversations"], report["skipped"]) == (1, [])
        found = (await page.get("/conversations", params={"query": "with a tool"}))["conversations"]
        [copy] = [one["id"] for one in found if one["id"] != talk["id"]]
        messages = (await page.get(f"/conversations/{copy}"))["messages"]
        assert [m["tool_calls"] for m in messages] == [[], [USED]]

    visit(chat, scene)


def test_tools_that_run_at_once_are_kept_in_the_order_of_the_calls(
    chat: FastAPI, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one does not begin until the second has given its result."""
    says.chat(Message.assistant("", tool_calls=(CALL, SECOND)), Message.assistant("5 and 50"))
    second_ran, run = threading.Event(), Overheard.run

    def turned_round(self: Overheard, call: ToolCall) -> ToolResult:
        assert call == SECOND or second_ran.wait(WAIT_S)
        result = run(self, call)
        second_ran.set()
        return result

    monkeypatch.setattr(Overheard, "run", turned_round)

    async def scene(page: Page) -> None:
        talk = await page.begin()
        said = await page.say(talk["id"], "2+3? 20+30?")
        events = await heard(page, said["answers"][0]["id"])
        kept = events[-1]["message"]["tool_calls"]
        assert [call["id"] for call in kept] == ["call_0", "call_1"]
        assert [call["result"] for call in kept] == [RESULT, SECOND.arguments[::-1]]
        assert folded(events) == kept[::-1]

    visit(chat, scene)


def test_a_tool_that_still_runs_is_seen_and_waits_for_nobody(
    chat: FastAPI, says: Says, monkeypatch: pytest.MonkeyPatch
) -> None:
    says.chat(Message.assistant("Let me see.", tool_calls=(CALL,)), Message.assistant("5"))
    go_on = threading.Event()
    waiting = {**USED, "result": None}

    async def scene(page: Page) -> None:
        monkeypatch.setattr(page.live, "save_every_s", 0.01)
        with_tool(page, monkeypatch, lambda arguments: str(go_on.wait(WAIT_S)))
        talk = await page.begin()
        answer = (await page.say(talk["id"], "2+3?"))["answers"][0]["id"]
        async for _, event in page.live.follow(page.account_id, answer):
            if event["type"] == "tool_call":
                break
        shown = (await page.get(f"/conversations/{talk['id']}"))["messages"][-1]
        assert (shown["status"], shown["tool_calls"]) == ("running", [waiting]) and shown["seq"] >= 2
        await wait_until(lambda: uses(page, answer))
        assert [use.result for use in uses(page, answer)] == [None], "a crash now would show it, too"
        stopped = await page.post(f"/messages/{answer}/stop", status=200)
        assert (stopped["status"], stopped["tool_calls"]) == ("stopped", [waiting])
        go_on.set()
        assert await page.get(f"/messages/{answer}") == stopped

    def uses(page: Page, message_id: str) -> tuple[ToolUse, ...]:
        made = page.store.node(page.account_id, message_id).generation
        assert made is not None
        return made.tool_uses

    visit(chat, scene)


def test_a_branch_behind_a_tool_shows_it_as_well(chat: FastAPI, says: Says) -> None:
    says.chat(Message.assistant("", tool_calls=(CALL,)), Message.assistant("5 cats"))

    async def scene(page: Page) -> None:
        talk = await page.begin()
        first = await page.exchange(talk["id"], "2+3?")
        ids = page.store.node(page.account_id, first["id"]).generation.token_ids  # type: ignore[union-attr]
        place = {"token_index": len(ids) - 1, "token_id": ids[-1]}
        says.text(" mats")
        [branch] = (await page.post(f"/messages/{first['id']}/branch", place))["answers"]
        events = await heard(page, branch["id"])
        assert events[-1]["message"]["text"] == "5 cats mats"
        assert folded(events) == events[-1]["message"]["tool_calls"] == [USED]

    visit(chat, scene)


def test_what_a_tool_gives_back_can_always_be_told_and_kept() -> None:
    tool = Tool("echo", "Says it back.")

    async def play() -> list[ToolUse]:
        told: list[ToolUse] = []
        box = Overheard(ToolBox([BoundTool(tool, lambda arguments: str(json.loads(arguments)))]), told.append)
        assert box.definitions == (tool,) and len(box) == 1
        result = await asyncio.to_thread(box.run, ToolCall("call_0", "echo", '"\\ud800"'))
        assert result.output == "\ud800", "the model's own reading of it is not ours to change"
        return told

    began, ended = asyncio.run(play())
    assert began == ToolUse("call_0", "echo", '"\\ud800"', None) and ended == replace(began, result="?")
