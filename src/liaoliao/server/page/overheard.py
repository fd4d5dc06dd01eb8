"""The model's own tools, with somebody who is told of each run: so that people see what an answer was made with.

    tools = Overheard(served.tools, lambda use: ...)      # ToolUse("call_0", "calculator", '{"expression": "2+3"}', None)
    reply(replace(served, tools=tools), job)              # and, when it has run, the same with the result "5"

The tools are run in threads, several at once where a model calls several; it is told of in the event loop in which this
was made.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from liaoliao.chat.tools import ToolBox
from liaoliao.messages import Tool, ToolCall, ToolResult
from liaoliao.store.records import ToolUse

OnUse: TypeAlias = Callable[[ToolUse], None]


class Overheard(ToolBox):
    """Tools that `tell` of each run twice: as it begins, with no result, and as it ends."""

    def __init__(self, tools: ToolBox, tell: OnUse) -> None:
        super().__init__()
        self._inner, self._tell, self._loop = tools, tell, asyncio.get_running_loop()

    @property
    def definitions(self) -> tuple[Tool, ...]:
        """The descriptions."""
        return self._inner.definitions

    def run(self, call: ToolCall) -> ToolResult:
        """Run one call, in any thread."""
        use = ToolUse(call.id, _whole(call.name), _whole(call.arguments), None)
        self._loop.call_soon_threadsafe(self._tell, use)
        result = self._inner.run(call)
        self._loop.call_soon_threadsafe(self._tell, replace(use, result=_whole(result.output)))
        return result

    def __len__(self) -> int:
        return len(self._inner)


def _whole(text: str) -> str:
    """Text that can be sent and kept, whatever a tool has made of its arguments: no half of a surrogate pair."""
    return text.encode("utf-8", errors="replace").decode("utf-8")
