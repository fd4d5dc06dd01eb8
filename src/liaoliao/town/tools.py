"""The two tools of the town: a calculator, and a look-up of what the town knows.

run_tool("calculator", '{"expression": "47+38"}')                             -> "85"
run_tool("lookup", '{"name": "the Old Mill", "field": "opening time"}')       -> "7:30"
"""

import ast
import json
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import cast

from liaoliao.errors import ToolError
from liaoliao.messages import Tool
from liaoliao.town.phrases import PHRASES
from liaoliao.town.words import LANGS, Lang
from liaoliao.town.world import Entity, Town, build_town

MAX_EXPRESSION = 200
MAX_NUMBER = 10**12
NOT_FOUND: Mapping[Lang, str] = {"en": "not found", "zh": "没有找到"}
_OPERATORS: Mapping[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def _tool(name: str, description: str, *fields: str) -> Tool:
    schema = {
        "type": "object",
        "properties": {key: {"type": "string"} for key in fields},
        "required": list(fields),
    }
    return Tool(name=name, description=description, parameters=schema)


CALCULATOR = _tool("calculator", "Work out a sum.", "expression")
LOOKUP = _tool("lookup", "Look up a fact of the town.", "name", "field")
TOOLS: tuple[Tool, ...] = (CALCULATOR, LOOKUP)


def run_tool(name: str, arguments_json: str, town: Town | None = None) -> str:
    """Run a tool of the town; an unknown tool or wrong arguments raise ToolError."""
    match name:
        case "calculator":
            return calculate(_arguments(name, arguments_json, ("expression",))["expression"])
        case "lookup":
            arguments = _arguments(name, arguments_json, ("name", "field"))
            return look_up(arguments["name"], arguments["field"], town or build_town())
    raise ToolError(f"there is no tool {name!r}; the tools are {', '.join(tool.name for tool in TOOLS)}")


def _arguments(tool: str, text: str, wanted: tuple[str, ...]) -> dict[str, str]:
    try:
        arguments = json.loads(text)
    except ValueError as error:
        raise ToolError(f"{tool}: the arguments are not JSON ({error})") from error
    strings = isinstance(arguments, dict) and all(isinstance(value, str) for value in arguments.values())
    if not strings or set(arguments) != set(wanted):
        raise ToolError(f"{tool} takes an object with the texts {', '.join(wanted)}; got {text[:80]}")
    return cast(dict[str, str], arguments)


def calculate(expression: str) -> str:
    """The value of a sum of + - * / and brackets: whole where it is whole, else to 6 decimals at most."""
    if len(expression) > MAX_EXPRESSION:
        raise ToolError(f"calculator: {len(expression)} characters are too many; at most {MAX_EXPRESSION}")
    try:
        tree = ast.parse(expression.strip(), mode="eval")
        value = _value(tree.body)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ToolError(f"calculator: cannot read {expression!r}; use numbers + - * / ( )") from error
    except ZeroDivisionError as error:
        raise ToolError(f"calculator: {expression} divides by zero") from error
    if value.denominator == 1:
        return str(value.numerator)
    return f"{float(value):.6f}".rstrip("0").rstrip(".")


def _value(node: ast.expr) -> Fraction:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return _bounded(Fraction(str(number)))
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
            return _bounded(_OPERATORS[type(op)](_value(left), _value(right)))
    raise ValueError(ast.dump(node))


def _bounded(value: Fraction) -> Fraction:
    if abs(value) > MAX_NUMBER or value.denominator > MAX_NUMBER:
        raise ValueError("number too large")
    return value


def look_up(name: str, field: str, town: Town) -> str:
    """The value of `field` of the one called `name`, in the language of the name; or "not found"."""
    for lang in LANGS:
        for entity in town.entities:
            if _same(entity.name.to(lang), name):
                return _field(entity, field, lang, town)
    return NOT_FOUND["en" if name.isascii() else "zh"]


def _field(entity: Entity, field: str, lang: Lang, town: Town) -> str:
    for attribute, fact in town.facts_of[entity.id].items():
        if _same(PHRASES[entity.kind, attribute][lang].field, field):
            return fact.value.to(lang)
    return NOT_FOUND[lang]


def _same(ours: str, theirs: str) -> bool:
    return ours.casefold().removeprefix("the ") == theirs.strip().casefold().removeprefix("the ")
