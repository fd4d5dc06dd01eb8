"""A conversation in the terminal: reads lines, streams replies, keeps the history within the model's context.

TerminalChat(load("current"), system=None, sampling={"temperature": 0.3}).run("current")
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol, runtime_checkable

from rich.console import Console

from liaoliao.chat.turn import ChatEvent, MessageDone
from liaoliao.errors import LiaoError
from liaoliao.messages import Message, Tool
from liaoliao.text.parse import ReasoningDelta, TextDelta, ToolCallDelta
from liaoliao.text.rendered import Rendered

HELP = """\
/help   this
/reset  forget the conversation
/exit   leave (so does Ctrl-D)
Ctrl-C stops an answer. Speak English or Chinese; 中文英文都可以。"""
REPLY_TOKENS = 128  # room that is kept for a reply
_ENDS = {
    "length": "(cut off: the reply has reached its limit)",
    "tool_limit": "(stopped: too many tool calls one after the other)",
}


@runtime_checkable
class Context(Protocol):
    """The part of an engine that is needed here."""

    @property
    def max_length(self) -> int:
        """Tokens of a conversation at most, reply included."""


@runtime_checkable
class Renders(Protocol):
    """The part of a chat template that is needed here."""

    def render(
        self, messages: Sequence[Message], tools: Sequence[Tool] = (), *, add_generation_prompt: bool = False
    ) -> Rendered:
        """Messages as token ids."""


@runtime_checkable
class Talker(Protocol):
    """The part of an `Assistant` that is needed here."""

    @property
    def engine(self) -> Context:
        """Knows how much it can read."""

    @property
    def template(self) -> Renders:
        """Knows how long a conversation is."""

    def stream(self, messages: Sequence[Message], **sampling: Any) -> Iterator[ChatEvent]:
        """The answer as it is said."""


class TerminalChat:
    """Holds the history. `out` is where the conversation goes, `err` what is said about it in a one-off reply."""

    def __init__(
        self,
        assistant: Talker,
        *,
        system: str | None,
        sampling: Mapping[str, Any],
        out: Console | None = None,
        err: Console | None = None,
    ) -> None:
        self.assistant, self.sampling = assistant, dict(sampling)
        self.opening = [Message.system(system)] if system else []
        self.history: list[Message] = []
        self.out = out or Console(highlight=False)
        self.err = err or Console(stderr=True, highlight=False)

    def answer_once(self, prompt: str) -> None:
        """The reply to one prompt on stdout; tool calls and remarks on stderr."""
        self.history = [Message.user(prompt)]
        self._stream(_Printer(self.out, self.err))

    def run(self, name: str) -> None:
        """Talk until /exit or Ctrl-D."""
        with suppress(ImportError):  # line editing and history, where the system has it
            import readline  # noqa: F401
        self._remark(f"{name}: say something, or /help. 聊聊吧，输入 /help 看帮助。")
        while (line := self._read()) is not None:
            if line.startswith("/"):
                if not self._command(line):
                    return
            elif line:
                self._exchange(line)

    def _read(self) -> str | None:
        """The next line; None at the end of the input."""
        try:
            return input("> ").strip()
        except EOFError:
            self.out.print()
            return None
        except KeyboardInterrupt:
            self.out.print()
            return ""

    def _command(self, line: str) -> bool:
        """Obey; False to leave."""
        if line == "/exit":
            return False
        if line == "/reset":
            self.history = []
            self._remark("(forgotten)")
        else:
            self._remark(
                HELP if line == "/help" else f"there is no {line.split()[0]}; /help lists what there is"
            )
        return True

    def _exchange(self, line: str) -> None:
        """A question and its answer. What cannot be answered is told and leaves no trace in the history."""
        before = list(self.history)
        self.history.append(Message.user(line))
        try:
            if dropped := self._fit():
                before = before[len(before) + 1 - len(self.history) :]
                self._remark(f"(the context is full: the oldest {dropped} of our exchanges are forgotten)")
            said = self._stream(_Printer(self.out, self.out))
        except LiaoError as error:
            self._remark(f"error: {error}")
            said = []
        self.history = [*self.history, *said] if said else before

    def _stream(self, printer: "_Printer") -> list[Message]:
        """Show an answer as it comes and return what was said; Ctrl-C keeps the part that was."""
        said: list[Message] = []
        events = self.assistant.stream([*self.opening, *self.history], **self.sampling)
        try:
            for event in events:
                printer.show(event)
                if isinstance(event, MessageDone):
                    said.append(event.message)
        except KeyboardInterrupt:
            printer.remark("(stopped)")
            return [Message.assistant(printer.text)] if printer.text.strip() else []
        finally:
            if hasattr(events, "close"):
                events.close()
            printer.end()
        return said

    def _fit(self) -> int:
        """Drop the oldest exchanges until there is room for a reply; how many are gone."""
        room = self.assistant.engine.max_length
        room -= min(REPLY_TOKENS, room // 4)
        starts = [i for i, message in enumerate(self.history) if message.role == "user"]
        for dropped, start in enumerate(starts):
            if self._num_tokens(self.history[start:]) <= room or start == starts[-1]:
                self.history = self.history[start:]
                return dropped
        return 0

    def _num_tokens(self, messages: Sequence[Message]) -> int:
        rendered = self.assistant.template.render([*self.opening, *messages], add_generation_prompt=True)
        return len(rendered.token_ids)

    def _remark(self, text: str) -> None:
        self.out.print(text, style="dim", markup=False)


class _Printer:
    """Writes the events of one answer: words to `out`; thoughts, tools and remarks dimly to `aside`."""

    def __init__(self, out: Console, aside: Console) -> None:
        self.out, self.aside = out, aside
        self.text = ""
        self._open: Console | None = None  # where a line has begun and not ended

    def show(self, event: ChatEvent) -> None:
        if isinstance(event, TextDelta):
            self.text += event.text
            self._write(self.out, event.text)
        elif isinstance(event, ReasoningDelta):
            self._write(self.aside, event.text, dim=True)
        elif isinstance(event, ToolCallDelta):
            self.remark(f"{event.name} {event.arguments}")
        elif event.message.role == "tool":
            self.remark(f"= {event.message.text}")
        elif event.finish_reason in _ENDS:
            self.remark(_ENDS[event.finish_reason])

    def remark(self, text: str) -> None:
        """A line of its own."""
        self.end()
        self.aside.print(text, style="dim", markup=False, soft_wrap=True)

    def end(self) -> None:
        """Close a line that is open."""
        if self._open is not None:
            self._open.print()
            self._open = None

    def _write(self, console: Console, text: str, *, dim: bool = False) -> None:
        if self._open not in (None, console):
            self.end()
        console.print(text, end="", markup=False, soft_wrap=True, style="dim" if dim else None)
        self._open = console
