"""What clients wish of tools and of thinking, whichever API they say it in.

wish = ToolWish((weather,), mode="required")
wish.offered(served)               ->  (weather,)                          into the prompt
wish.grammar(served)               ->  <the reply is calls of weather>     None where any text will do
thinking_options("none", served)   ->  {"enable_thinking": False}          for the chat template
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from liaoliao.engine.request import Grammar
from liaoliao.messages import Tool
from liaoliao.server.constrain import WithinMarks
from liaoliao.server.failures import ApiError
from liaoliao.server.served import ServedModel

CallMode: TypeAlias = Literal["none", "auto", "required"]
Effort: TypeAlias = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
_NO_THINKING: Final = ("none", "minimal")


@dataclass(frozen=True, slots=True)
class ToolWish:
    """`mode` says whether calls may, must or must not be made; `name` is the one tool that must be called.
    With `strict` every call is held to its tool's schema while it is written.
    """

    tools: Sequence[Tool] = ()
    mode: CallMode = "auto"
    name: str | None = None
    strict: bool = False

    @property
    def forced(self) -> bool:
        """Whether the reply must be calls."""
        return self.mode == "required" or self.name is not None

    def offered(self, served: ServedModel) -> tuple[Tool, ...]:
        """The tools to tell the model of. Raises ApiError for a wish that does not fit together."""
        require(
            bool(self.tools) or not self.forced, "tool_choice", "it is only allowed when 'tools' are given"
        )
        if not self.tools or self.mode == "none":
            return ()
        can = served.template.takes_tools and "<tool_call>" in served.tokenizer.special_ids
        require(can, "tools", "this model's chat template knows no tools")
        names = [tool.name for tool in self.tools]
        require(len(set(names)) == len(names), "tools", "two tools have the same name")
        if self.name is not None:
            require(self.name in names, "tool_choice", f"there is no tool {self.name!r} in 'tools'")
        return tuple(self.tools)

    def grammar(self, served: ServedModel) -> Grammar | None:
        """What holds the reply to the wish. Raises RequestError for a schema that cannot be followed."""
        tools = self.offered(served)
        if tools and self.forced:
            return served.grammars.tool_call(tools, name=self.name)
        if not tools or not self.strict:
            return None
        marks, calls = served.tokenizer.special_ids, served.grammars.tool_call(tools)
        return WithinMarks(calls, marks["<tool_call>"], marks["</tool_call>"], served.engine.vocab_size)


def thinking_options(effort: Effort | None, served: ServedModel) -> dict[str, Any]:
    """An effort switches thinking on or off; its degrees reach templates that know them."""
    if effort is None:
        return {}
    switch = {"enable_thinking": effort not in _NO_THINKING}
    knows_degrees = "reasoning_effort" in served.template.option_names
    return {**switch, "reasoning_effort": effort} if knows_degrees else switch


def require(condition: bool, param: str, mend: str) -> None:
    """ApiError 400 that names a field and what to do about it, unless the condition holds."""
    if not condition:
        raise ApiError(f"Invalid value for '{param}': {mend}", param=param, code="invalid_value")
