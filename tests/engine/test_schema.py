"""Hostile schemas are refused, or harmless, in good time; refusals say what is wrong and where."""

import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liaoliao.engine.grammar import GrammarCompiler
from liaoliao.engine.schema import MAX_COUNT, MAX_DEPTH
from liaoliao.errors import RequestError
from liaoliao.text.tokenizer import Tokenizer

TOKENIZER = Tokenizer.train(['{"name": "Ada", "tags": ["a", "b"], "age": 36}'] * 4, 300)
COMPILER = GrammarCompiler(TOKENIZER, [TOKENIZER.eos_id])


def chain(length: int, link: Any) -> dict[str, Any]:
    links = {f"d{i}": link({"$ref": f"#/$defs/d{i + 1}"}) for i in range(length)}
    return {"$defs": links | {f"d{length}": {"type": "null"}}, "$ref": "#/$defs/d0"}


def nested(depth: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "null"}
    for _ in range(depth):
        schema = {"type": "array", "items": schema}
    return schema


def meeting(count: int) -> list[dict[str, Any]]:
    return [{"type": "string", "pattern": f"a.{{{i}}}b"} for i in range(count)]


FULL_OF_ITSELF: Final = {"type": "array", "items": {"$ref": "#/$defs/x"}, "minItems": 1}
BOMBS: Final[Mapping[str, Any]] = {
    "deep": (nested(60_000), f"nested deeper than {MAX_DEPTH}"),
    "rather deep": (nested(MAX_DEPTH), "nested deeper"),
    "many values": ({"enum": list(range(10**6))}, "too large"),
    "long enum": ({"enum": ["x" * 1000 + str(i) for i in range(500)]}, "too large"),
    "many properties": ({"properties": {f"p{i}": {} for i in range(5_000)}}, "too large"),
    "endless": ({"$ref": "#"}, "has no end"),
    "endless in a circle": (
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        "has no end",
    ),
    "endless within": ({"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]}, "has no end"),
    "a trap": ({"properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": FULL_OF_ITSELF}}, "has no end"),
    "long chain": (chain(300, lambda ref: ref), "lead through more than"),
    "long chain of choices": (chain(200, lambda ref: {"anyOf": [ref, {"type": "string"}]}), "lead through more than"),
    "everything at once": (
        {"allOf": [{"anyOf": [{"properties": {f"{i}{j}": {}}} for j in range(5)]} for i in range(9)]},
        "cannot be followed",
    ),
    "meeting patterns": ({"allOf": meeting(30)}, "patterns"),
    "few meeting patterns": ({"allOf": meeting(8)}, "cannot be followed"),
    "many patterns": ({"properties": {str(i): {"pattern": "a"} for i in range(400)}}, "patterns"),
    "names by pattern": ({"patternProperties": {f"^a{i}$": {} for i in range(100)}}, "patternProperties"),
    "deep pattern": ({"type": "string", "pattern": "(" * 500 + ")" * 500}, "cannot be followed"),
    "many items": ({"type": "array", "minItems": 10**9}, f"minItems must be a whole number from 0 to {MAX_COUNT}"),
    "long string": ({"type": "string", "maxLength": 10**9}, "maxLength"),
    "big multiple": ({"type": "integer", "multipleOf": 999_999_937}, "cannot be followed"),
    "huge number": ({"const": 10**400}, "cannot be followed"),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_in_time(name: str) -> None:
    schema, reason = BOMBS[name]
    began = time.process_time()
    with pytest.raises(RequestError, match=reason):
        COMPILER.json_schema(schema)
    assert time.process_time() - began < 1


HARMLESS: Final[Mapping[str, Any]] = {
    "repeated repetition": {"type": "string", "pattern": "^((a{1,100}){1,100}){1,100}$"},
    "exponential automaton": {"type": "string", "pattern": "^(a|b)*a(a|b){40}$"},
    "doubling": chain(60, lambda ref: {"properties": {"l": ref, "r": ref}}),
    "many words": {"type": "string", "pattern": "|".join(f"word{i}" for i in range(3000))},
    "wide": {"properties": {f"p{i}": {"type": "string"} for i in range(800)}, "type": "object"},
    "objects to choose": {"enum": [{"a": {"b": [i, {"c": i}]}} for i in range(1000)]},
    "ambiguous": {"anyOf": [{"type": "array", "items": {"anyOf": [{"type": "number"}] * 30}}] * 30},
    "bounds": {"type": "array", "minItems": 50_000, "items": {"type": "string", "minLength": 50_000}},
}


@pytest.mark.parametrize("name", HARMLESS)
def test_heavy_schemas_are_followed_in_time(name: str) -> None:
    began = time.process_time()
    state = COMPILER.json_schema(HARMLESS[name]).start()
    random = np.random.default_rng(0)
    for _ in range(100):
        if not state.done:
            state.accept(int(random.choice(np.flatnonzero(state.mask()))))
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "array", "uniqueItems": True}, r"^schema\.uniqueItems is not supported$"),
        ({"properties": {"a": {"not": {}}}}, r"schema\.properties\.a\.not is not supported"),
        ({"requird": ["a"]}, r"schema\.requird is not supported; did you mean required\?"),
        ({"x-guidance": {"lenient": True}}, "x-guidance"),
        ({"type": "string", "format": "colour"}, "Unknown format: colour"),
        ({"pattern": "(?=a)b"}, "look-around"),
        ({"pattern": "["}, "regex"),
        ({"oneOf": [{"type": "object"}, {"type": "object"}]}, "oneOf"),
        ({"enum": []}, "cannot be followed"),
        ({"type": "number", "minimum": 3, "maximum": 2}, "cannot be followed"),
        ({"$ref": "#/$defs/none"}, "there is no schema at '#/\\$defs/none'"),
        ({"$ref": "http://example.org/schema"}, r"\$ref must lead to a place in the schema"),
        ({"minLength": -1}, "minLength must be a whole number"),
        ({"minProperties": 2}, "minProperties"),
        ({"properties": ["a"]}, r"schema\.properties must be an object"),
        ({"items": [{}]}, r"schema\.items must be a schema"),
        ({"anyOf": {}}, r"schema\.anyOf must be a list"),
        ({"required": "a"}, "required must be a list of names"),
        ({"const": float("nan")}, "not JSON"),
        ({"enum": {1, 2}}, "it holds a set"),
        ({"const": {1: 2}}, "a key of an object is not a string"),
        ({"const": "\ud800"}, "half a surrogate pair"),
        ({"const": 10**5000}, "a number of thousands of digits"),
        ({"oneOf": [{"type": "strng"}, {"type": "integer"}]}, "Invalid type: strng"),
        ({"items": {"oneOf": [{"type": 5}, {"type": None}]}}, r"schema\.items\.oneOf: one value may satisfy"),
        ({"oneOf": [{"enum": "ab"}, {"type": "integer", "enum": {"1": 1}}]}, "oneOf: one value may satisfy"),
        ({"oneOf": [{"type": "integer"}, {"required": [1]}]}, r"schema\.oneOf\.1\.required must be a list of names"),
        ({"oneOf": [{"const": 10**400}, {"const": -(10**400)}]}, "cannot be followed"),
    ],
)  # fmt: skip
def test_refusals_say_what_and_where(schema: Any, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        COMPILER.json_schema(schema)


KEYWORDS: Final = (
    "type enum const items properties required anyOf allOf oneOf $ref $defs minItems pattern format".split()
)
oddities = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([*KEYWORDS, "object", "#", "#/$defs/a", "a"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KEYWORDS, "a"]), inner, max_size=4)
    ),
    max_leaves=12,
)


odd_schemas = st.dictionaries(st.sampled_from(KEYWORDS), oddities, max_size=4)


@settings(max_examples=400)
@given(odd_schemas | st.lists(odd_schemas, min_size=2, max_size=3).map(lambda options: {"oneOf": options}))
def test_odd_schemas_are_followed_or_refused(schema: dict[str, Any]) -> None:
    began = time.process_time()
    with suppress(RequestError):
        COMPILER.json_schema(schema).start().mask()
    assert time.process_time() - began < 1
