"""The calculator and the look-up."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.errors import ToolError
from liaoliao.town import LANGS, TOOLS, build_town, run_tool
from liaoliao.town.phrases import phrasing_of
from liaoliao.town.tools import calculate
from liaoliao.town.words import Lang

INTEGERS = st.integers(-999, 999)


@given(INTEGERS, INTEGERS, st.integers(0, 999), st.sampled_from("+-*"), st.sampled_from("+-*"))
def test_whole_sums_agree_with_python(a: int, b: int, c: int, one: str, two: str) -> None:
    expression = f"({a}{one}({b})){two}{c}"
    assert calculate(expression) == str(eval(expression))  # noqa: S307 - our own digits


@pytest.mark.parametrize(
    ("expression", "result"),
    [("7/2", "3.5"), ("1/3", "0.333333"), (" 8/4 ", "2"), ("0.1+0.2", "0.3"), ("-(3)", "-3")],
)
def test_fractions(expression: str, result: str) -> None:
    assert calculate(expression) == result


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "1+",
        "2**9",
        "__import__('os')",
        "a+1",
        "1/0",
        "True+1",
        "1,2",
        "9" * 300,
        "9" * 100,
        "(" * 150 + "1",
        "1e99",
        "1" + "*999999" * 9,
        "1j",
        "1e999",
    ],
)
def test_what_is_no_sum_is_refused(expression: str) -> None:
    with pytest.raises(ToolError):
        calculate(expression)


@pytest.mark.parametrize("lang", LANGS)
def test_facts_can_be_looked_up(lang: Lang) -> None:
    for fact in build_town().facts[::4]:
        wish = {"name": fact.entity.name.to(lang), "field": phrasing_of(fact, lang).field}
        assert run_tool("lookup", json.dumps(wish)) == fact.value.to(lang)


def test_names_are_found_without_article_and_case() -> None:
    fact = build_town().fact("place-5", "opens")
    assert run_tool("lookup", '{"name": "old mill", "field": "Opening time"}') == fact.value.en
    assert run_tool("lookup", '{"name": "old mill", "field": "taste"}') == "not found"
    assert run_tool("lookup", '{"name": "nobody", "field": "job"}') == "not found"
    assert run_tool("lookup", '{"name": "无名氏", "field": "职业"}') == "没有找到"


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("oven", "{}"),
        ("calculator", "{}"),
        ("calculator", "[1]"),
        ("calculator", "{"),
        ("calculator", '{"expression": 3}'),
        ("calculator", '{"expression": "1", "more": "2"}'),
        ("lookup", '{"name": "x"}'),
    ],
)
def test_wrong_calls_are_told(name: str, arguments: str) -> None:
    with pytest.raises(ToolError):
        run_tool(name, arguments)


def test_definitions() -> None:
    assert [tool.name for tool in TOOLS] == ["calculator", "lookup"]
    for tool in TOOLS:
        assert set(tool.parameters["required"]) == set(tool.parameters["properties"])
