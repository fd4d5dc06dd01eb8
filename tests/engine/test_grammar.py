"""Property: whatever a model would rather say, under the mask it says JSON that satisfies the schema (oracle:
`jsonschema`), and calls that our own parser reads. Hostile schemas are in test_schema.
"""

import json
import threading
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from numpy.typing import NDArray

from liaoliao.engine.grammar import GrammarCompiler
from liaoliao.engine.request import Grammar, GrammarState, for_reply
from liaoliao.errors import RequestError
from liaoliao.messages import Message, Tool, ToolCall
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.parse import Parser
from liaoliao.text.tokenizer import Tokenizer

Schema = Mapping[str, Any]

WORDS: Final = [
    '{"name": "Ada", "tags": ["a", "b"], "age": 36}',
    "the mill 磨坊 on the hill 山上",
    '"}]} 12.5 true null',
]
TOKENIZER = Tokenizer.train(WORDS * 4, 420)
TEMPLATE = ChatTemplate(TOKENIZER)
COMPILER = GrammarCompiler(TOKENIZER, TEMPLATE.stop_ids)
SPECIAL = np.array(sorted(TOKENIZER.special_ids.values()))
STOPS = np.array(TEMPLATE.stop_ids)
TAGS = np.array([TOKENIZER.special_id("<tool_call>"), TOKENIZER.special_id("</tool_call>")])


def wish_to_end() -> NDArray[np.float64]:
    """How much each token hurries to the end of a JSON text."""
    urge = {b'"': 2.0, b"]": 1.0, b"}": 1.0}
    wish = np.array([urge.get(TOKENIZER.token_bytes(i), 0.0) for i in range(TOKENIZER.vocab_size)])
    wish[STOPS] = 3.0
    return wish


END: Final = wish_to_end()


def walk(grammar: Grammar, seed: int, patience: int = 40) -> list[int]:
    """What a model with random logits says under a grammar; after `patience` tokens it comes to an end."""
    state, random = grammar.start(), np.random.default_rng(seed)
    token_ids: list[int] = []
    while not state.done:
        assert len(token_ids) < 3000
        scores = random.normal(size=TOKENIZER.vocab_size) + 100 * END * (len(token_ids) >= patience)
        token_ids.append(int(np.where(checked_mask(state), scores, -np.inf).argmax()))
        state.accept(token_ids[-1])
    assert np.array_equal(np.flatnonzero(state.mask()), np.sort(STOPS))
    return token_ids


def checked_mask(state: GrammarState) -> NDArray[np.bool_]:
    mask = state.mask()
    assert mask.shape == (TOKENIZER.vocab_size,) and mask.any()
    assert not mask[np.setdiff1d(SPECIAL, [*STOPS, *TAGS])].any()
    return mask


def said(token_ids: list[int]) -> str:
    return TOKENIZER.decode_bytes(i for i in token_ids if i not in STOPS).decode("utf-8")


def allows(grammar: Grammar, text: bytes) -> bool:
    """Whether a text can be said one byte at a time, to its end."""
    token_of = {TOKENIZER.token_bytes(i): i for i in range(TOKENIZER.vocab_size) if i not in SPECIAL}
    state = grammar.start()
    for byte in text:
        token_id = token_of[bytes([byte])]
        if not checked_mask(state)[token_id]:
            return False
        state.accept(token_id)
    return bool(state.mask()[STOPS].all())


# ---------------------------------------------------------------- schemas

names = st.sampled_from(["a", "b", "name", "年龄", 'q"uote', ""])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-999, 10**6) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)


def _described(schema: dict[str, Any], **optional: Any) -> dict[str, Any]:
    return schema | {key: value for key, value in optional.items() if value is not None}


@st.composite
def bounds(draw: st.DrawFn, low: str, high: str, least: int = 0) -> dict[str, Any]:
    first = draw(st.integers(least, 6))
    return draw(
        st.sampled_from(
            [{}, {low: first}, {high: first + 2}, {low: first, high: first + draw(st.integers(0, 3))}]
        )
    )


leaves = st.one_of(
    st.sampled_from(
        [{}, {"type": "null"}, {"type": "boolean"}, {"type": ["integer", "null"]}, {"type": "number"}]
    ),
    st.builds(lambda b: {"type": "integer"} | b, bounds("minimum", "maximum", -6)),
    st.builds(lambda b: {"type": "number"} | b, bounds("exclusiveMinimum", "exclusiveMaximum", -6)).filter(
        lambda s: "exclusiveMinimum" not in s or s.get("exclusiveMaximum", 99) > s["exclusiveMinimum"]
    ),
    st.builds(lambda k: {"type": "integer", "multipleOf": k}, st.integers(1, 12)),
    st.builds(lambda b: {"type": "string"} | b, bounds("minLength", "maxLength")),
    st.sampled_from(["^[a-z]{2,5}$", "^[0-9]-[0-9]", "^(是|否)$", r"^\w+@\w+\.org$"]).map(
        lambda pattern: {"type": "string", "pattern": pattern}
    ),
    st.sampled_from(["date", "time", "uuid", "ipv4"]).map(lambda name: {"type": "string", "format": name}),
    st.lists(values, min_size=1, max_size=4).map(lambda choices: {"enum": choices}),
    values.map(lambda value: {"const": value}),
)


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def build(properties: dict[str, Any], extra: Any, required: set[str]) -> dict[str, Any]:
        known = {"type": "object", "properties": properties, "required": sorted(required & properties.keys())}
        return _described(known, additionalProperties=extra)

    extra = st.none() | st.booleans() | inner
    return st.builds(build, st.dictionaries(names, inner, max_size=3), extra, st.sets(names))


def _arrays(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    def build(items: Any, first: list[Any], bound: dict[str, Any]) -> dict[str, Any]:
        return _described({"type": "array", "items": items} | bound, prefixItems=first or None)

    return st.builds(build, inner, st.lists(inner, max_size=2), bounds("minItems", "maxItems"))


schemas = st.recursive(
    leaves,
    lambda inner: (
        _objects(inner) | _arrays(inner) | st.lists(inner, min_size=1, max_size=3).map(lambda s: {"anyOf": s})
    ),
    max_leaves=6,
)


@settings(max_examples=150)
@given(schemas, st.integers(0, 2**32))
def test_what_is_said_satisfies_the_schema(schema: Schema, seed: int) -> None:
    text = said(walk(COMPILER.json_schema(schema), seed))
    Draft202012Validator(schema).validate(json.loads(text))


@given(st.integers(0, 2**32))
def test_json_object_says_an_object(seed: int) -> None:
    assert isinstance(json.loads(said(walk(COMPILER.json_object(), seed))), dict)


@given(schemas, values)
def test_what_satisfies_the_schema_can_be_said(schema: Schema, value: Any) -> None:
    fits = Draft202012Validator(schema, format_checker=None).is_valid(value)
    can_say = allows(COMPILER.json_schema(schema), json.dumps(value, ensure_ascii=False).encode("utf-8"))
    if can_say:
        assert fits
    elif fits:  # only the order of names may stand against it
        assert "properties" in json.dumps(schema) or "format" in json.dumps(schema)


def test_references_may_lead_back() -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}, "value": {"type": "integer"}}}
    schema = {"$defs": {"tree": tree | {"required": ["value"]}}, "$ref": "#/$defs/tree"}
    for seed in range(10):
        Draft202012Validator(schema).validate(json.loads(said(walk(COMPILER.json_schema(schema), seed))))
    assert allows(COMPILER.json_schema(schema), b'{"left": {"left": {"value": 1}, "value": 2}, "value": 3}')


# ---------------------------------------------------------------- one of several


@st.composite
def unions(draw: st.DrawFn) -> dict[str, Any]:
    """Objects that a required constant tells apart, maybe beside other types."""
    by_value = partial(json.dumps, sort_keys=True)
    tags = draw(st.lists(values, min_size=1, max_size=3, unique_by=by_value))
    options: list[dict[str, Any]] = []
    for tag in tags:
        properties = draw(
            st.permutations([("kind", {"const": tag}), *draw(st.dictionaries(names, leaves)).items()])
        )
        extra = {"additionalProperties": False} if draw(st.booleans()) else {}
        options.append({"type": "object", "properties": dict(properties), "required": ["kind"]} | extra)
    array = {"type": "array", "items": {"const": tags}}
    others: list[dict[str, Any]] = [{"type": "integer"}, {"enum": ["是", None]}, array]
    options += draw(st.lists(st.sampled_from(others), unique_by=str))
    return {"oneOf": draw(st.permutations(options))}


@given(unions(), st.integers(0, 2**32))
def test_exactly_one_option_is_said(schema: Schema, seed: int) -> None:
    value = json.loads(said(walk(COMPILER.json_schema(schema), seed)))
    assert sum(Draft202012Validator(option).is_valid(value) for option in schema["oneOf"]) == 1


@settings(max_examples=30)
@given(unions(), values)
def test_every_option_can_be_said(schema: Schema, extra: Any) -> None:
    nested = {"type": "array", "items": {"$ref": "#/$defs/one"}, "$defs": {"one": schema}}
    tags = [option["properties"]["kind"]["const"] for option in schema["oneOf"] if "properties" in option]
    grammar = COMPILER.json_schema(nested)
    things = [*({"kind": tag} for tag in tags), {"kind": extra}, 7, [], "是", None, extra]
    for thing in things:
        fits = Draft202012Validator(nested).is_valid([thing])
        assert allows(grammar, json.dumps([thing], ensure_ascii=False).encode("utf-8")) == fits


def test_options_that_may_hold_together_are_refused() -> None:
    cat = {"type": "object", "properties": {"kind": {"const": "cat"}}}
    dog = {"type": "object", "properties": {"kind": {"const": "dog"}}, "required": ["kind"]}
    COMPILER.json_schema({"oneOf": [cat | {"required": ["kind"]}, dog]})
    options = {"oneOf": [{"type": "null"}, cat | {"additionalProperties": dog}, {"type": "string"}, cat]}
    with pytest.raises(
        RequestError, match=r"^schema\.items\.oneOf: one value may satisfy options 1 and 3; .* anyOf$"
    ):
        COMPILER.json_schema({"type": "array", "items": options})
    with pytest.raises(
        RequestError, match=r"^tools\.t\.parameters\.oneOf: one value may satisfy options 0 and 1; "
    ):
        COMPILER.tool_call([Tool("t", parameters={"oneOf": [cat, {"required": ["kind"]}]})])


# ---------------------------------------------------------------- words in strings


@given(st.text())
def test_every_character_can_stand_in_a_string(text: str) -> None:
    written = json.dumps(text, ensure_ascii=False)
    assert allows(COMPILER.json_schema({"type": "string"}), written.encode("utf-8"))
    state = COMPILER.json_schema({"const": text}).start()
    for token_id in TOKENIZER.encode(written):  # and as the model itself would cut it
        assert state.mask()[token_id]
        state.accept(token_id)
    assert state.done


def test_names_of_special_tokens_are_words_in_a_string() -> None:
    assert allows(COMPILER.json_schema({"type": "string"}), b'"<|im_end|></tool_call>"')


def test_what_is_no_json_cannot_be_said() -> None:
    grammar = COMPILER.json_object()
    for text in (
        b" {}",
        b"{} ",
        b"{'a': 1}",
        b'{"a": 01}',
        b'{"a": NaN}',
        b'{"a": "\x00"}',
        b'{"a": "\xff"}',
        b'{"a": 1',
    ):
        assert not allows(grammar, text)
    assert allows(grammar, '{"a":\n  [1, -2.5e+3, "\\u0001磨", true, null, {}]}'.encode())


def test_a_number_may_end_or_go_on() -> None:
    state = COMPILER.json_schema({"type": "integer"}).start()
    state.accept(TOKENIZER.encode("7")[0])
    assert state.mask()[STOPS].all() and state.mask()[TOKENIZER.encode("7")[0]]
    ended = [state.done]
    for stop_id in STOPS.tolist():  # a stop token after the end changes nothing
        state.accept(stop_id)
        ended.append(state.done)
    assert ended == [False, True, True]


# ---------------------------------------------------------------- tool calls

WEATHER = Tool(
    "weather",
    parameters={
        "type": "object",
        "properties": {
            "place": {"$ref": "#/$defs/place"},
            "days": {"type": "integer", "minimum": 1, "maximum": 9},
        },
        "required": ["place"],
        "additionalProperties": False,
        "$defs": {"place": {"type": "string", "maxLength": 8}},
    },
)
SUMS = Tool('加法 "+"', parameters={"properties": {"terms": {"type": "array", "items": {"type": "number"}}}})
NOTHING = Tool("nothing")
TOOLS = (WEATHER, SUMS, NOTHING)


def parsed(token_ids: list[int]) -> Message:
    parser = Parser(TOKENIZER, stop_ids=TEMPLATE.stop_ids)
    for token_id in token_ids:
        parser.feed(token_id)
    assert parser.finish() == []
    return parser.message()


@given(st.integers(0, 2**32), st.sampled_from([None, *TOOLS]), st.booleans())
def test_calls_are_read_back(seed: int, named: Tool | None, parallel: bool) -> None:
    grammar = COMPILER.tool_call(TOOLS, name=named.name if named else None, parallel=parallel)
    token_ids = walk(grammar, seed)
    message = parsed(token_ids)
    assert message.text == "" and message.tool_calls
    assert message == Message.assistant(tool_calls=message.tool_calls)
    for call in message.tool_calls:
        tool = next(tool for tool in TOOLS if tool.name == call.name)
        assert named in (None, tool)
        arguments = json.loads(call.arguments)
        assert isinstance(arguments, dict)
        Draft202012Validator(tool.parameters).validate(arguments)
    if named or not parallel:
        assert len(message.tool_calls) == 1
    rendered = TEMPLATE.render([Message.user("?"), message]).token_ids
    assert said(token_ids) in TOKENIZER.decode(rendered)  # letter for letter the template's layout


def test_several_calls_may_follow_each_other() -> None:
    calls = [ToolCall(f"call_{i}", "weather", '{"place": "磨坊", "days": 2}') for i in range(3)]
    prompt, whole = [Message.user("?")], [Message.user("?"), Message.assistant(tool_calls=calls)]
    start = len(TEMPLATE.render(prompt, add_generation_prompt=True).token_ids)
    reply = TEMPLATE.render(whole).token_ids[start:]
    for kwargs, count in (({}, 3), ({"parallel": False}, 1), ({"name": "weather"}, 1)):
        state = COMPILER.tool_call(TOOLS, **kwargs).start()
        taken: list[int] = []
        while not state.done and state.mask()[reply[len(taken)]]:
            taken.append(reply[len(taken)])
            state.accept(taken[-1])
        assert parsed(taken) == Message.assistant(tool_calls=calls[:count])


def test_calls_that_cannot_be_forced_are_refused() -> None:
    with pytest.raises(RequestError, match="there is no tool 'wether'; the tools are: weather"):
        COMPILER.tool_call([WEATHER], name="wether")
    with pytest.raises(RequestError, match="there are no tools"):
        COMPILER.tool_call([])
    with pytest.raises(RequestError, match=r"tools.t.parameters.properties.a.uniqueItems is not supported"):
        COMPILER.tool_call([Tool("t", parameters={"properties": {"a": {"uniqueItems": True}}})])
    kinds: list[Any] = ["string", ["array", "null"], {"object": {}}, 5, None]
    for kind in kinds:
        with pytest.raises(RequestError, match="must have the type 'object'"):
            COMPILER.tool_call([Tool("t", parameters={"type": kind})])


# ---------------------------------------------------------------- sharing and failing


def test_one_that_becomes_too_costly_says_so() -> None:
    state = COMPILER.json_schema({"type": "string", "pattern": "^" + "[a-z]?" * 2000 + "$"}).start()
    state.accept(TOKENIZER.encode('"')[0])
    with pytest.raises(RequestError, match="too costly"):
        state.mask()


def test_replies_of_one_grammar_do_not_meet() -> None:
    grammar = COMPILER.json_schema({"type": "array", "items": {"enum": ["磨", "b"]}, "maxItems": 3})
    expected = [walk(grammar, seed) for seed in range(40)]
    got: dict[int, list[int]] = {}

    def talk(seeds: range) -> None:
        for seed in seeds:
            got[seed] = walk(grammar, seed)
            COMPILER.json_schema({"enum": [seed]})

    threads = [threading.Thread(target=talk, args=(range(first, 40, 4),)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [got[seed] for seed in range(40)] == expected


def test_a_reply_begins_its_grammar_again_without_compiling_it() -> None:
    grammar: Any = COMPILER.json_schema({"type": "array", "items": {"enum": ["磨", "b"]}, "maxItems": 3})
    expected = [walk(grammar, seed) for seed in range(5)]
    compiled, compile_one = list[int](), grammar._compile

    def counted() -> Any:
        compiled.append(1)
        return compile_one()

    grammar._compile = counted
    for num_replies in (1, 2):
        mine = for_reply(grammar)
        assert [walk(mine, seed) for seed in range(5)] == expected
        assert len(compiled) == num_replies


def test_a_grammar_needs_an_end() -> None:
    with pytest.raises(RequestError, match="stop token"):
        GrammarCompiler(TOKENIZER, [])
