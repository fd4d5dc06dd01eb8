"""Tools answer, and what goes wrong in them is an answer too."""

import pytest

from liaoliao.chat.tools import BoundTool, ToolBox, town_tools
from liaoliao.errors import UsageError
from liaoliao.messages import Tool, ToolCall, ToolResult


def broken(arguments: str) -> str:
    raise ZeroDivisionError(f"cannot divide {arguments}")


def test_the_towns_calculator() -> None:
    box = town_tools(("calculator",))
    assert [tool.name for tool in box.definitions] == ["calculator"] and len(box) == 1
    assert box.run(ToolCall("call_3", "calculator", '{"expression": "47+38"}')) == ToolResult("call_3", "85")
    assert len(town_tools(())) == 0 and len(town_tools()) == 2


def test_failures_are_told_to_the_model() -> None:
    box = ToolBox([BoundTool(Tool("divide", "", {}), broken)])
    assert box.run(ToolCall("a", "divide", "{}")).output == "error: cannot divide {}"
    assert (
        box.run(ToolCall("b", "multiply", "{}")).output
        == "error: there is no tool 'multiply'; the tools are: divide"
    )
    assert town_tools().run(ToolCall("c", "calculator", "{}")).output.startswith("error: calculator takes")


def test_a_tool_the_town_lacks() -> None:
    with pytest.raises(UsageError, match="no tool 'hammer'; the town has calculator, lookup"):
        town_tools(("hammer",))
