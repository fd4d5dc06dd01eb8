"""Tools that a model may call: their descriptions for the prompt, and the functions behind them.

    box = ToolBox([BoundTool(CALCULATOR, calculate)])
    box.run(ToolCall("call_0", "calculator", '{"expression": "2+3"}'))  ->  ToolResult("call_0", "5")

What goes wrong in a tool is told to the model as its result ("error: ..."), so that it can try again or say
so.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from liaoliao.errors import UsageError
from liaoliao.messages import Tool, ToolCall, ToolResult
from liaoliao.town import TOOLS, build_town, run_tool

ToolFunction = Callable[[str], str]  # arguments as JSON text -> output; may raise


@dataclass(frozen=True, slots=True)
class BoundTool:
    """A description and the function that does it."""

    tool: Tool
    function: ToolFunction


class ToolBox:
    """Tools by name."""

    def __init__(self, tools: Iterable[BoundTool] = ()) -> None:
        self._tools = {bound.tool.name: bound for bound in tools}

    @property
    def definitions(self) -> tuple[Tool, ...]:
        """The descriptions, for a prompt that should tell the model what there is."""
        return tuple(bound.tool for bound in self._tools.values())

    def run(self, call: ToolCall) -> ToolResult:
        """Run one call. Never raises: an unknown tool or a failure is a result that says so."""
        bound = self._tools.get(call.name)
        if bound is None:
            known = ", ".join(self._tools) or "none"
            return ToolResult(call.id, f"error: there is no tool {call.name!r}; the tools are: {known}")
        try:
            return ToolResult(call.id, bound.function(call.arguments))
        except (
            Exception
        ) as error:  # any function may be in the box; its failure is something for the model to read
            return ToolResult(call.id, f"error: {error}")

    def run_all(self, calls: Iterable[ToolCall]) -> list[ToolResult]:
        """Run calls one after the other."""
        return [self.run(call) for call in calls]

    def __len__(self) -> int:
        return len(self._tools)


def town_tools(names: Sequence[str] = ("calculator", "lookup")) -> ToolBox:
    """The town's tools of these names. Raises UsageError for a name the town does not have."""
    known = {tool.name: tool for tool in TOOLS}
    for name in names:
        if name not in known:
            raise UsageError(f"there is no tool {name!r}; the town has {', '.join(known)}")
    town = build_town() if names else None
    return ToolBox(BoundTool(known[name], partial(run_tool, name, town=town)) for name in names)
