"""Whether two JSON schemas exclude each other: no value satisfies both. `oneOf` is `anyOf` where all of its options do.

    excluder.excludes({"type": "string"}, {"type": "integer"})                                           ->  True
    excluder.excludes(<an object with a required "kind": "cat">, <one with a required "kind": "dog">)    ->  True

False means that it cannot be seen: only types, named values and what stands under required names is looked at, through
references and combinations, a few levels deep. What is not looked at makes a schema seem wider than it is, never narrower.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, TypeAlias

from liaoliao.errors import RequestError

Schema: TypeAlias = Mapping[str, Any] | bool

_MAX_LEVELS: Final = 8  # of names within names, and again of references and combinations
_MAX_CASES: Final = 256  # of one schema
_MAX_STEPS: Final = 50_000  # of all comparisons
_PARTS_PER_STEP: Final = 16  # values, names and schemas that are gone through in about the time of one step
_TYPES: Final[Mapping[str, frozenset[str]]] = {
    "number": frozenset(["integer", "fraction"]),
    **{name: frozenset([name]) for name in ("null", "boolean", "integer", "string", "array", "object")},
}
_ANY_TYPE: Final = frozenset().union(*_TYPES.values())


@dataclass(frozen=True, slots=True)
class _Case:
    """What is known of all values of a schema, or of one of its cases: their types, the values themselves where they are
    named, the names that an object has, and the schemas that tell what stands under a name.
    """

    types: frozenset[str] = _ANY_TYPE
    values: frozenset[str] | None = None
    required: tuple[str, ...] = ()
    objects: tuple[Mapping[str, Any], ...] = ()

    @property
    def size(self) -> int:
        return len(self.values or ()) + len(self.required) + len(self.objects)

    def and_also(self, other: "_Case") -> "_Case":
        """The values of both."""
        values = self.values if other.values is None else other.values
        if self.values is not None and other.values is not None:
            values = self.values & other.values
        return _Case(
            self.types & other.types, values, self.required + other.required, self.objects + other.objects
        )

    def under(self, name: str) -> list[Schema]:
        """Schemas that all hold for what an object has under a name."""
        found: list[Schema] = []
        for schema in self.objects:
            if name in schema.get("properties", {}):
                found.append(schema["properties"][name])
            elif "additionalProperties" in schema and "patternProperties" not in schema:
                found.append(schema["additionalProperties"])
        return found or [True]


class Excluder:
    """Compares the schemas of one document, whose references `resolve` follows."""

    def __init__(self, resolve: Callable[[str], Schema]) -> None:
        self._resolve = cache(resolve)
        # by the schema's id, which they keep from being reused
        self._known: dict[int, tuple[Schema, list[_Case]]] = {}
        self._plain: dict[int, tuple[Schema, _Case]] = {}
        self._num_steps = 0

    def excludes(self, one: Schema, other: Schema) -> bool:
        """Whether no value satisfies both, as far as can be seen. RequestError for more work than is worth it."""
        return self._excludes(one, other, 0)

    def _excludes(self, one: Schema, other: Schema, level: int) -> bool:
        self._count()
        if level > _MAX_LEVELS:
            return False
        return all(self._apart(a, b, level) for a in self._cases(one) for b in self._cases(other))

    def _apart(self, a: _Case, b: _Case, level: int) -> bool:
        self._count(a.size + b.size)
        types = a.types & b.types
        if not types or (a.values is not None and b.values is not None and not a.values & b.values):
            return True
        return types == {"object"} and any(
            self._excludes(x, y, level + 1)
            for name in dict.fromkeys(a.required + b.required)
            for x in self._under(a, name)
            for y in self._under(b, name)
        )

    def _under(self, case: _Case, name: str) -> list[Schema]:
        self._count(len(case.objects))
        return case.under(name)

    def _count(self, num_parts: int = 0) -> None:
        self._num_steps += 1 + num_parts // _PARTS_PER_STEP
        if self._num_steps > _MAX_STEPS:
            raise RequestError("the options are too many, or too large, to be compared; use anyOf")

    def _cases(self, schema: Schema) -> list[_Case]:
        if id(schema) not in self._known:
            self._known[id(schema)] = (schema, self._find_cases(schema, 0))
        return self._known[id(schema)][1]

    def _find_cases(self, schema: Schema, level: int) -> list[_Case]:
        """Cases that together hold every value of the schema."""
        self._count()
        if isinstance(schema, bool):
            return [_Case()] if schema else []
        if level > _MAX_LEVELS:
            return [_Case()]
        if id(schema) not in self._plain:
            self._plain[id(schema)] = (schema, _plain(schema))
        cases = [self._plain[id(schema)][1]]
        for options in self._combined(schema):
            found = [case for option in options for case in self._find_cases(option, level + 1)]
            if len(cases) * len(found) <= _MAX_CASES:
                cases = [self._both(case, more) for case in cases for more in found]
        return cases

    def _both(self, a: _Case, b: _Case) -> _Case:
        self._count(a.size + b.size)
        return a.and_also(b)

    def _combined(self, schema: Mapping[str, Any]) -> Iterator[list[Schema]]:
        """The lists of schemas of each of which one must hold beside the schema's own keywords."""
        if "$ref" in schema:
            yield [self._resolve(schema["$ref"])]
        yield from ([part] for part in schema.get("allOf", ()))
        yield from (list(schema[key]) for key in ("anyOf", "oneOf") if key in schema)


def _plain(schema: Mapping[str, Any]) -> _Case:
    """What a schema's own keywords say, those that combine others left out."""
    case = _Case(required=tuple(schema.get("required", ())), objects=(schema,))
    names = schema.get("type")
    names = [names] if isinstance(names, str) else names
    if isinstance(names, list | tuple):
        case = case.and_also(_Case(frozenset().union(*(_TYPES.get(str(name), ()) for name in names))))
    if isinstance(schema.get("enum"), list | tuple):
        case = case.and_also(_among(schema["enum"]))
    return case.and_also(_among([schema["const"]])) if "const" in schema else case


def _among(values: list[Any] | tuple[Any, ...]) -> _Case:
    return _Case(frozenset(map(_type, values)), frozenset(map(_key, values)))


def _type(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "integer" if value.is_integer() else "fraction"
        case str():
            return "string"
    return "object" if isinstance(value, Mapping) else "array"


def _key(value: object) -> str:
    """A value as something to compare by what JSON takes for the same: 1 and 1.0, but not 1 and true.

    Numbers that a float does not tell apart count as the same, as they are to many that read JSON.
    """
    return json.dumps(_normal(value), sort_keys=True)


def _normal(value: object) -> object:
    if isinstance(value, Mapping):
        return {name: _normal(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_normal(part) for part in value]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    try:
        return float(value) + 0.0  # which is 0.0 also for -0.0
    except OverflowError:
        return math.inf if value > 0 else -math.inf
