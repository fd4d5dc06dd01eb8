"""Property: schemas that are said to exclude each other share no value (oracle: `jsonschema`). Where the answer is no
although they do, or takes long, is told by examples.
"""

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from itertools import product
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from liaoliao.engine.exclude import Excluder, Schema

Definitions = Mapping[str, Schema]


def excludes(one: Schema, other: Schema, definitions: Definitions | None = None) -> bool:
    excluder = Excluder(lambda reference: (definitions or {})[reference.removeprefix("#/$defs/")])
    answer = excluder.excludes(one, other)
    assert excluder.excludes(other, one) == answer
    return answer


def held(schema: Schema, values: Iterable[Any], definitions: Definitions | None = None) -> list[Any]:
    """The values that satisfy a schema."""
    validator = Draft202012Validator({"$defs": definitions or {}, "allOf": [schema]})
    return [value for value in values if validator.is_valid(value)]


# ---------------------------------------------------------------- what random schemas say

NAMES: Final = ["kind", "a"]
TYPES: Final = "null boolean integer number string array object".split()
MISSING: Final = object()


def _objects(*parts: list[Any]) -> list[dict[str, Any]]:
    return [
        {name: part for name, part in zip(NAMES, each, strict=True) if part is not MISSING}
        for each in product(*parts)
    ]


FLAT: Final = _objects([MISSING, "cat", "dog", 1, True], [MISSING, None, 1.0])
NESTED: Final = _objects([MISSING, "cat", [1]], [*FLAT[:5], [], [True], {"a": {"a": 1}}])
SCALARS: Final = [None, False, True, 0, -0.0, 1, 1.0, 1.5, 2**53, 2.0**53 + 2, 1e300, "", "1", "cat", "dog"]
VALUES: Final = [
    *SCALARS,
    [],
    [1],
    [1.0],
    [True],
    ["a", {}],
    [{"kind": 1}],
    {"a": 1, "kind": "cat"},
    *FLAT,
    *NESTED,
]

some_values = st.sampled_from(VALUES)
types = st.sampled_from(TYPES)
leaves = st.one_of(
    st.booleans(),
    types.map(lambda name: {"type": name}),
    st.lists(types, max_size=3).map(lambda chosen: {"type": chosen}),
    st.lists(some_values, max_size=3).map(lambda chosen: {"enum": chosen}),
    some_values.map(lambda value: {"const": value}),
)


def objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    keywords = {
        "type": st.just("object"),
        "properties": st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
        "required": st.lists(st.sampled_from(NAMES), max_size=2),
    }
    optional = {"additionalProperties": inner, "patternProperties": st.fixed_dictionaries({"^k": inner})}
    some = st.fixed_dictionaries({}, optional=keywords | optional)
    return st.fixed_dictionaries(keywords, optional=optional) | some


def combined(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.builds(
        lambda beside, key, options: {**(beside if isinstance(beside, dict) else {}), key: options},
        inner,
        st.sampled_from(["allOf", "anyOf", "oneOf"]),
        st.lists(inner, min_size=1, max_size=3),
    )


def schemas(start: st.SearchStrategy[Any], max_leaves: int) -> st.SearchStrategy[Any]:
    return st.recursive(start, lambda inner: objects(inner) | combined(inner), max_leaves=max_leaves)


references = st.sampled_from(["plain", "tree"]).map(lambda name: {"$ref": f"#/$defs/{name}"})
any_definitions = st.fixed_dictionaries({"plain": schemas(leaves, 3), "tree": objects(leaves | references)})
any_schemas = schemas(leaves | references, 5)


@settings(max_examples=300)
@given(any_schemas, any_schemas, any_definitions)
def test_what_excludes_shares_no_value(one: Schema, other: Schema, definitions: Definitions) -> None:
    if excludes(one, other, definitions):
        assert not held(other, held(one, VALUES, definitions), definitions)


@st.composite
def around(draw: st.DrawFn, value: Any, definitions: dict[str, Schema], levels: int = 2) -> Schema:
    """A schema that a value satisfies."""

    def inner(part: Any = value) -> Schema:
        return draw(around(part, definitions, levels - 1))

    kinds = ["any", "type", "const", "enum"] + ["allOf", "anyOf", "$ref", "object", "object"] * (levels > 0)
    match draw(st.sampled_from(kinds)):
        case "type":
            fitting = [name for name in TYPES if held({"type": name}, [value])]
            return {"type": draw(st.permutations([draw(st.sampled_from(fitting)), draw(types)]))}
        case "const":
            return {"const": draw(st.sampled_from([value, *held({"const": value}, VALUES)]))}
        case "enum":
            return {"enum": draw(st.permutations([value, draw(some_values)]))}
        case "allOf":
            return {"allOf": [inner(), inner()]}
        case "anyOf":
            return {"anyOf": draw(st.permutations([inner(), draw(leaves)]))}
        case "$ref":
            schema = inner()
            definitions[name := f"d{len(definitions)}"] = schema
            return {"$ref": f"#/$defs/{name}"}
        case "object":
            value = value if isinstance(value, dict) else {}
            told = {name: inner(part) for name, part in value.items() if draw(st.booleans())}
            rest = [part for name, part in value.items() if name not in told]
            missing = {name: draw(leaves) for name in NAMES if name not in value and draw(st.booleans())}
            extra = {"additionalProperties": inner(rest[0]) if rest else False} if len(rest) < 2 else {}
            required = [name for name in value if draw(st.booleans())]
            return {"properties": told | missing, "required": required} | extra
    return True


@settings(max_examples=300)
@given(some_values, st.data())
def test_what_shares_a_value_excludes_nothing(value: Any, data: st.DataObject) -> None:
    definitions: dict[str, Schema] = {}
    one, other = (data.draw(around(value, definitions)) for _ in range(2))
    assert held(one, [value], definitions) and held(other, [value], definitions)
    assert not excludes(one, other, definitions)


def test_named_values_exclude_each_other_unless_they_are_the_same() -> None:
    for one in VALUES:
        same = [other for other in VALUES if not excludes({"const": one}, {"enum": [other]})]
        assert same == held({"const": one}, VALUES)


def test_schemas_that_are_gone_are_not_taken_for_others() -> None:
    excluder = Excluder(lambda reference: True)
    for i in range(50):
        assert excluder.excludes({"const": i}, {"const": i + 1})
        assert not excluder.excludes({"const": i}, {"const": i})


# ---------------------------------------------------------------- examples


def tagged(tag: Any, **more: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"kind": {"const": tag}}, "required": ["kind"], **more}


def under(names: int, inner: Schema) -> Schema:
    for _ in range(names):
        inner = {"type": "object", "properties": {"a": inner}, "required": ["a"]}
    return inner


def ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


PETS: Final[Definitions] = {
    "cat": tagged("cat"),
    "dog": {"allOf": [ref("pet"), {"properties": {"kind": {"const": "dog"}}}]},
    "pet": {
        "type": "object",
        "properties": {"kind": {"type": "string"}, "child": ref("dog")},
        "required": ["kind"],
    },
    "tree": {
        "type": "object",
        "properties": {"a": ref("tree"), "kind": {"type": "string"}},
        "required": ["kind"],
    },
    "list": {
        "anyOf": [{"type": "null"}, {"type": "object", "properties": {"a": ref("list")}, "required": ["a"]}]
    },
    "circle": {"anyOf": [ref("circle"), {"type": "null"}]},
}
STRING: Final = {"type": "string"}
EXCLUSIVE: Final[list[tuple[Schema, Schema]]] = [
    (STRING, {"type": "integer"}),
    (STRING, {"type": ["null", "number", "object"]}),
    (STRING, False),
    (False, False),
    (STRING, {"anyOf": []}),
    (STRING, {"type": "nothing known"}),
    ({"const": 1}, {"const": True}),
    ({"const": 0}, {"enum": [False, None, "0", [], {}]}),
    ({"const": [1, {"a": 1}]}, {"const": [1, {"a": True}]}),
    ({"type": "integer"}, {"enum": [1.5, "1", True]}),
    ({"const": 1.5}, {"type": ["integer", "boolean"]}),
    ({"type": "string", "enum": ["a", 1]}, {"type": "integer", "enum": ["a", 1]}),
    ({"type": "integer", "anyOf": [{"const": 1}, {"const": "a"}]}, {"enum": ["a", 2]}),
    ({"enum": ["a", "b"], "const": "a"}, {"const": "b"}),
    ({"oneOf": [{"const": 1}, {"const": 2}]}, {"oneOf": [{"const": 3}, {"type": "null"}]}),
    (tagged("cat"), tagged("dog")),
    (tagged("cat"), tagged("dog", required=[])),
    (tagged(1), tagged(True)),
    (tagged("cat", additionalProperties=False), tagged("cat", required=["kind", "a"])),
    (tagged("cat", additionalProperties=STRING), under(1, {"type": "null"})),
    (under(8, STRING), under(8, {"type": "null"})),
    (ref("cat"), ref("dog")),
    (ref("cat"), tagged("cow", properties={"kind": {"enum": ["cow", "dog"]}})),
    (ref("tree"), tagged(None, required=[])),
    ({"allOf": [ref("tree"), {"properties": {"a": tagged("cat")}, "required": ["a"]}]}, under(1, tagged(5))),
    (ref("list"), STRING),
    ({**ref("pet"), "additionalProperties": False}, {"type": "object", "required": ["a"]}),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), EXCLUSIVE, ids=str)
def test_these_exclude_each_other(one: Schema, other: Schema) -> None:
    assert excludes(one, other, PETS)


SHARED: Final[list[tuple[Schema, Schema, Any]]] = [
    ({"type": "integer"}, {"type": "number"}, 1),
    ({"type": "integer"}, {"const": 1.0}, 1),
    ({"const": 1}, {"const": 1.0}, 1),
    ({"const": 0}, {"const": -0.0}, 0),
    ({"const": [{"a": 1, "b": 2}]}, {"enum": [None, [{"b": 2.0, "a": 1.0}]]}, [{"a": 1, "b": 2}]),
    ({"const": 1e300}, {"type": "integer"}, 1e300),
    (True, {}, None),
    ({}, STRING, "a"),
    ({"type": ["string", "null"]}, {"type": ["null", "array"]}, None),
    (tagged("cat", required=[]), tagged("dog", required=[]), {}),
    (
        {"properties": {"a": STRING}, "required": ["a"]},
        {"properties": {"a": {"type": "null"}}, "required": ["a"]},
        5,
    ),
    ({"type": "object", "additionalProperties": False}, {"type": "object", "properties": {"a": STRING}}, {}),
    (
        {"type": "object", "additionalProperties": False, "patternProperties": {"^k": True}},
        tagged("cat"),
        {"kind": "cat"},
    ),
    (tagged("cat", additionalProperties=False), tagged("cat"), {"kind": "cat"}),
    ({"anyOf": [{"const": 1}, {"const": 2}]}, {"oneOf": [{"const": 2}, {"const": 3}]}, 2),
    (ref("pet"), ref("dog"), {"kind": "dog"}),
    (ref("tree"), ref("tree"), {"kind": "", "a": {"kind": ""}}),
    (
        ref("list"),
        under(9, {"type": "null"}),
        {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": {"a": None}}}}}}}}},
    ),
]


@pytest.mark.parametrize(("one", "other", "value"), SHARED, ids=str)
def test_these_share_a_value(one: Schema, other: Schema, value: Any) -> None:
    assert held(one, [value], PETS) and held(other, [value], PETS)
    assert not excludes(one, other, PETS)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (under(9, STRING), under(9, {"type": "null"})),
        (ref("circle"), STRING),
        ({"type": "string", "maxLength": 1}, {"type": "string", "minLength": 2}),
        ({"type": "array", "items": False}, {"type": "array", "minItems": 1}),
        ({"anyOf": [{"const": i} for i in range(300)]}, {"const": "a"}),
        ({"const": 2**53}, {"const": 2**53 + 1}),  # the same to a reader whose numbers are floats
        ({"const": 10**400}, {"const": 10**5000}),
        ({"const": float("nan")}, {"const": float("nan")}),
        ({"type": 5}, {"type": {"string": 1}}),
        ({"enum": "ab"}, {"enum": {"a": 1}}),
    ],
)  # fmt: skip
def test_what_is_not_looked_at_excludes_nothing(one: Schema, other: Schema) -> None:
    assert not excludes(one, other, PETS)


@given(st.sampled_from([10**400, -(10**400), float("inf"), float("-inf"), float("nan")]), some_values)
def test_numbers_beyond_floats_are_no_trouble(number: Any, value: Any) -> None:
    assert excludes({"const": number}, {"const": value})
    assert excludes({"const": [number]}, {"const": [value]})
    assert excludes({"const": number}, {"type": "string"})


# ---------------------------------------------------------------- work


def repeated(count: int, part: Schema) -> Schema:
    return {"anyOf": [part] * count}


BIG_ENUM: Final = {"enum": list(range(1000, 9000))}
EITHER: Final = {"anyOf": [{"title": "a"}, {"title": "b"}]}
MANY_NAMES: Final = [chr(0x4E00 + i) for i in range(3000)]
LONG_NAME: Final = "é" * 4000
ITSELF: Final = {"anyOf": [ref("tree"), {"type": "null"}, {"type": "object"}]}
BOMBS: Final[Mapping[str, tuple[list[Schema], Definitions]]] = {
    "many options": ([{"const": i} for i in range(1900)], {}),
    "a big enum again and again": ([repeated(500, ref("big")), STRING], {"big": BIG_ENUM}),
    "one of the same against the other": (
        [repeated(500, ref("x")), repeated(500, ref("y"))],
        {"x": {"enum": list(range(3000))}, "y": {"enum": list(range(3000, 6000))}},
    ),
    "multiplied": ([repeated(1800, ref("x")), {"type": "integer"}], {"x": {"allOf": [EITHER] * 8}}),
    "choices of choices": (
        [ref("x"), {"type": "null"}],
        {"x": repeated(250, ref("y")), "y": repeated(250, {"type": "object"})},
    ),
    "many names": (
        [
            {"type": "object", "allOf": [{"type": "object"}] * 1500, "required": MANY_NAMES},
            {"type": "object"},
        ],
        {},
    ),
    "names multiplied": (
        [{"type": "object", "allOf": [repeated(2, ref("x"))] * 8}] * 5,
        {"x": {"type": "object", "required": MANY_NAMES}},
    ),
    "a tree in itself": (
        [ref("tree"), ref("tree")],
        {"tree": {"type": "object", "required": [*"abc"], "properties": dict.fromkeys("abc", ITSELF)}},
    ),
    "a long reference": (
        [repeated(80, ref("x")), {"type": "null"}],
        {LONG_NAME: {"type": "object"}, "y": ref("%C3%A9" * 4000), "x": repeated(250, ref("y"))},
    ),
}
HEAVY: Final[Mapping[str, tuple[list[Schema], Definitions]]] = {
    "a hundred tags": ([tagged(f"kind {i}", title=f"number {i}") for i in range(100)], {}),
    "large enums": ([{"enum": [f"{i}{j}" for j in range(2500)]} for i in "ab"], {}),
    "large constants": ([tagged([{"a": list(range(i, i + 2500))}]) for i in range(2)], {}),
    "numbers of one hash": ([{"enum": [(2**61 - 1) * i for i in range(1, 2600)]}, {"type": "null"}], {}),
}
PROBE: Final = """
import json, sys, time
from liaoliao.engine.schema import check_schema
from liaoliao.errors import RequestError
for schema in json.load(sys.stdin):
    said, began = "followed", time.process_time()
    try:
        check_schema(schema)
    except RequestError as error:
        said = str(error)
    print(json.dumps([said, time.process_time() - began]))
"""


def test_work_ends_in_time() -> None:
    """Measured as it runs elsewhere: here every call is checked for its types, which takes ten times as long."""
    cases = {**BOMBS, **HEAVY}
    schemas = [{"$defs": definitions, "items": {"oneOf": options}} for options, definitions in cases.values()]
    ran = subprocess.run(
        [sys.executable, "-c", PROBE], input=json.dumps(schemas), capture_output=True, text=True, check=True
    )
    answers = dict(zip(cases, map(json.loads, ran.stdout.splitlines()), strict=True))
    assert all(seconds < 1 for _, seconds in answers.values()), answers
    too_many = "schema.items.oneOf: the options are too many, or too large, to be compared; use anyOf"
    expected = dict.fromkeys(BOMBS, too_many) | dict.fromkeys(HEAVY, "followed")
    assert {name: said for name, (said, _) in answers.items()} == expected
