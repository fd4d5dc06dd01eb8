"""The conversation in the terminal, with an assistant that says what the test wants."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from rich.console import Console

from liaoliao.chat.turn import ChatEvent, MessageDone
from liaoliao.cli.terminal import TerminalChat
from liaoliao.errors import RequestError
from liaoliao.messages import Message, Tool, ToolCall
from liaoliao.text.parse import TextDelta, ToolCallDelta
from liaoliao.text.rendered import Rendered


@dataclass
class Echo:
    """Repeats the last thing said; a message costs a token a character. Records what it was shown."""

    max_length: int = 1000
    seen: list[list[str]] = field(default_factory=list)
    stop_after: int | None = None
    closed: bool = False

    @property
    def engine(self) -> "Echo":
        return self

    @property
    def template(self) -> "Echo":
        return self

    def render(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), *, add_generation_prompt: bool = False
    ) -> Rendered:
        size = sum(len(message.text) for message in messages)
        return Rendered([0] * size, [0.0] * size)

    def stream(self, messages: Sequence[Message], **sampling: Any) -> Iterator[ChatEvent]:
        self.seen.append([message.text for message in messages])
        said = messages[-1].text
        if said == "error":
            raise RequestError("the prompt is too long")
        try:
            if said == "tool":
                call = ToolCall("call_0", "calculator", '{"expression": "2+3"}')
                yield ToolCallDelta(0, call.id, call.name, call.arguments)
                yield MessageDone(Message.assistant(tool_calls=(call,)), "tool_calls")
                yield MessageDone(Message.tool("5", "call_0"))
            for i, letter in enumerate(said):
                if i == self.stop_after:
                    raise KeyboardInterrupt
                yield TextDelta(letter)
            yield MessageDone(Message.assistant(said), "length" if said == "long" else "stop")
        finally:
            self.closed = True


def chat(
    assistant: Echo, lines: list[str], monkeypatch: pytest.MonkeyPatch, system: str | None = None
) -> str:
    """The screen after a conversation."""
    screen, typed = io.StringIO(), iter(lines)

    def type_in(prompt: str = "") -> str:
        try:
            return next(typed)
        except StopIteration:
            raise EOFError from None

    monkeypatch.setattr("builtins.input", type_in)
    console = Console(file=screen, width=80)
    TerminalChat(assistant, system=system, sampling={}, out=console, err=console).run("echo")
    return screen.getvalue()


def test_the_history_goes_along_and_reset_forgets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    echo = Echo()
    chat(echo, ["one", "two", "/reset", "three"], monkeypatch, system="be brief")
    assert echo.seen == [["be brief", "one"], ["be brief", "one", "one", "two"], ["be brief", "three"]]


def test_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    echo = Echo()
    screen = chat(echo, ["", "/help", "/nosuch", "/exit", "never said"], monkeypatch)
    assert "/reset  forget" in screen
    assert "there is no /nosuch" in screen
    assert echo.seen == []


def test_tool_calls_and_limits_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = chat(Echo(), ["tool", "long"], monkeypatch)
    assert 'calculator {"expression": "2+3"}\n= 5\ntool\n' in screen
    assert "(cut off" in screen


def test_ctrl_c_stops_the_answer_and_keeps_what_was_said(monkeypatch: pytest.MonkeyPatch) -> None:
    echo = Echo(stop_after=3)
    screen = chat(echo, ["abcdef", "x"], monkeypatch)
    assert "abc\n(stopped)" in screen
    assert echo.closed
    assert echo.seen[1] == ["abcdef", "abc", "x"]


def test_what_cannot_be_answered_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    echo = Echo()
    screen = chat(echo, ["one", "error", "two"], monkeypatch)
    assert "error: the prompt is too long" in screen
    assert echo.seen[-1] == ["one", "one", "two"]


def test_a_full_context_forgets_the_oldest_exchanges_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    echo = Echo(max_length=40)  # 30 of them for the history
    screen = chat(echo, ["aaaaa", "bbbbb", "ccccc", "ddddd"], monkeypatch)
    assert echo.seen[2] == ["aaaaa", "aaaaa", "bbbbb", "bbbbb", "ccccc"]
    assert echo.seen[3] == ["bbbbb", "bbbbb", "ccccc", "ccccc", "ddddd"]
    assert "(the context is full: the oldest 1 of our exchanges are forgotten)" in screen


def test_an_error_after_forgetting_keeps_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    echo = Echo(max_length=40)
    chat(echo, ["aaaaa", "bbbbb", "ccccc", "error", "d"], monkeypatch)
    assert echo.seen[-1] == ["bbbbb", "bbbbb", "ccccc", "ccccc", "d"]


def test_markup_in_a_reply_is_only_text(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "[red]x[/red] [/]" in chat(Echo(), ["[red]x[/red] [/]"], monkeypatch)
