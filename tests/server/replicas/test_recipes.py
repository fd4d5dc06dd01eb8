"""A grammar that travels is the same at the other end; a bad one does not get away."""

import copy
from typing import Any

import numpy as np
import pytest

from liaoliao.engine.grammar import GrammarCompiler
from liaoliao.engine.request import Grammar
from liaoliao.errors import RequestError
from liaoliao.messages import Tool
from liaoliao.server.constrain import AfterMark, ThinkingBudget, WithinMarks
from liaoliao.server.replicas.recipes import RecipeGrammars, prepared
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.tokenizer import Tokenizer

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
TOOL = Tool("add", "Sums.", SCHEMA)


@pytest.fixture(scope="module")
def compiler(tokenizer: Tokenizer, template: ChatTemplate) -> GrammarCompiler:
    return GrammarCompiler(tokenizer, template.stop_ids)


def spoken(grammar: Grammar, text_ids: list[int]) -> list[Any]:
    """The masks along a text."""
    state, masks = grammar.start(), []
    for token_id in text_ids:
        masks.append(state.mask())
        assert masks[-1][token_id]
        state.accept(token_id)
    return [*masks, state.mask(), state.done]


def same(left: list[Any], right: list[Any]) -> bool:
    return len(left) == len(right) and all(np.array_equal(a, b) for a, b in zip(left, right, strict=True))


@pytest.mark.parametrize(
    ("method", "args", "options", "text"),
    [
        ("json_object", (), {}, '{"x": [1]}'),
        ("json_schema", (SCHEMA,), {}, '{"a": 12}'),
        ("tool_call", ((TOOL,),), {}, '<tool_call>\n{"name": "add", "arguments": {"a": 5}}\n</tool_call>'),
        (
            "tool_call",
            ([TOOL, Tool("b")],),
            {"name": "b"},
            '<tool_call>\n{"name": "b", "arguments": {}}\n</tool_call>',
        ),
    ],
)
def test_what_was_sent_is_made_again(
    compiler: GrammarCompiler,
    tokenizer: Tokenizer,
    method: str,
    args: tuple[Any, ...],
    options: dict[str, Any],
    text: str,
) -> None:
    here = getattr(RecipeGrammars(compiler), method)(*args, **options)
    there = prepared(copy.deepcopy(here), compiler)
    text_ids = tokenizer.encode_marked(text)
    wanted = spoken(getattr(compiler, method)(*args, **options), text_ids)
    assert there is not None and same(spoken(there, text_ids), wanted)
    assert same(spoken(here, text_ids), wanted)  # and it runs where it was made


def test_a_sent_grammar_that_is_not_made_says_so(compiler: GrammarCompiler) -> None:
    sent = copy.deepcopy(RecipeGrammars(compiler).json_object())
    with pytest.raises(RequestError, match="not made yet"):
        sent.start()


@pytest.mark.parametrize(
    "rule",
    [
        lambda inner, vocab: AfterMark(inner, 7, vocab, (1, 2)),
        lambda inner, vocab: WithinMarks(inner, 7, 8, vocab),
        lambda inner, vocab: ThinkingBudget(
            0, 6, 7, vocab, opened=True, rest=AfterMark(inner, 7, vocab, (1,))
        ),
    ],
    ids=["after", "within", "budget"],
)
def test_rules_around_a_grammar_go_along(compiler: GrammarCompiler, tokenizer: Tokenizer, rule: Any) -> None:
    vocab = tokenizer.vocab_size
    here = rule(RecipeGrammars(compiler).json_schema(SCHEMA), vocab)
    there = prepared(copy.deepcopy(here), compiler)
    text_ids = [7, *([] if isinstance(here, WithinMarks) else tokenizer.encode('{"a": 1}'))]
    direct = rule(compiler.json_schema(SCHEMA), vocab)
    if isinstance(here, WithinMarks):  # the marks are part of what it spells, and not of this schema's JSON
        assert there is not None and there.start().mask().all()
        assert type(there.grammar) is type(direct.grammar)  # type: ignore[attr-defined]
    else:
        assert there is not None and same(spoken(there, text_ids), spoken(direct, text_ids))


def test_what_cannot_be_followed_is_refused_where_it_came_in(compiler: GrammarCompiler) -> None:
    grammars = RecipeGrammars(compiler)
    with pytest.raises(RequestError):
        grammars.json_schema({"type": "object", "not": {}})
    with pytest.raises(RequestError, match="there is no tool"):
        grammars.tool_call([TOOL], name="sub")


def test_no_grammar_and_one_of_another_kind_are_left_alone(compiler: GrammarCompiler) -> None:
    assert prepared(None, compiler) is None
    direct = compiler.json_object()
    assert prepared(direct, compiler) is direct
