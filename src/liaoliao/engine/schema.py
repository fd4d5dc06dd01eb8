"""Which JSON schemas can be followed: a check before the grammar is compiled, so that a refusal names its reason.

    check_schema({"type": "array", "uniqueItems": True})
        ->  RequestError: schema.uniqueItems is not supported

Keywords outside of the tables below are refused, as a reply would not keep to them; those that only describe pass.
So are schemas too large or too deep to compile in good time, references that lead nowhere, schemas that no finite
text satisfies (`{"$ref": "#"}`), and `oneOf` whose options may hold together. What is left to the compiler: the values
of keywords, patterns, formats.
"""

import difflib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from liaoliao.engine.exclude import Excluder, Schema
from liaoliao.errors import RequestError

MAX_SIZE_BYTES: Final = 64 * 1024
MAX_DEPTH: Final = 100  # levels of JSON
MAX_VALUES: Final = 10_000  # of JSON, keys left out
MAX_SCHEMAS: Final = 2_000  # a schema and all those in it
MAX_COUNT: Final = 100_000  # of items, characters or properties: no reply is longer
MAX_REACH: Final = 256  # levels of schemas on a way through all references: the compiler recurses over them
MAX_PATTERNS: Final = 256  # patterns, formats and multiples
MAX_NAME_PATTERNS: Final = 32  # of patternProperties, all of which are compared with each other
MAX_MEETING_PATTERNS: Final = (
    8  # where schemas are intersected: time is exponential in how many meet in one string
)
_MAX_ROUNDS: Final = 64  # of the search for schemas without an end

_Path: TypeAlias = tuple[str, ...]  # of keys and indices from the root
_Schemas: TypeAlias = dict[_Path, Any]

_SCHEMA_OF: Final = frozenset(["items", "additionalProperties"])
_SCHEMAS_BY_NAME: Final = frozenset(["properties", "patternProperties", "$defs", "definitions"])
_SCHEMAS_IN_ORDER: Final = frozenset(["anyOf", "allOf", "oneOf", "prefixItems"])
_COUNTS: Final = frozenset("minItems maxItems minLength maxLength minProperties maxProperties".split())
_VALUES: Final = frozenset(
    "type enum const $ref required pattern format"
    " minimum maximum exclusiveMinimum exclusiveMaximum multipleOf".split()
)
_DESCRIBING: Final = frozenset(
    "title description default examples example deprecated readOnly writeOnly $schema $comment"
    " contentMediaType contentEncoding discriminator".split()
)
_KEYWORDS: Final = _SCHEMA_OF | _SCHEMAS_BY_NAME | _SCHEMAS_IN_ORDER | _COUNTS | _VALUES | _DESCRIBING


def check_schema(schema: Mapping[str, Any], where: str = "schema") -> None:
    """Raises RequestError for a schema that cannot be followed, naming the place in it; it is called `where`."""
    _check_size(schema, where)
    schemas = dict(_schemas(schema, where))
    for path, part in schemas.items():
        if isinstance(part, Mapping):
            _check_keywords(part, path, where)
            _check_reference(part, path, schemas, where)
    _check_reach(schemas, where)
    _check_patterns(schemas, where)
    _check_ends(schemas, where)
    _check_choices(schemas, where)


def without_discriminators(schema: Any) -> Any:
    """A schema that was checked, without the `discriminator` that pydantic writes beside its unions: it only describes, but
    the compiler takes it for a condition.
    """
    if not isinstance(schema, Mapping):
        return schema
    kept: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _SCHEMA_OF:
            kept[key] = without_discriminators(value)
        elif key in _SCHEMAS_BY_NAME:
            kept[key] = {name: without_discriminators(part) for name, part in value.items()}
        elif key in _SCHEMAS_IN_ORDER:
            kept[key] = [without_discriminators(part) for part in value]
        elif key != "discriminator":
            kept[key] = value
    return kept


# ------------------------------------------------------------ size


def _check_size(schema: object, where: str) -> None:
    """Bounds first: what follows takes time with size, and here and there it recurses."""
    layer, num_values, depth = [schema], 0, 0
    while layer:
        num_values, depth = num_values + len(layer), depth + 1
        if depth > MAX_DEPTH:
            raise RequestError(f"{where} is nested deeper than {MAX_DEPTH} levels")
        if num_values > MAX_VALUES:
            raise RequestError(f"{where} is too large: it holds more than {MAX_VALUES} values")
        layer = [child for value in layer for child in _children(value, where)]
    try:
        size_bytes = len(json.dumps(schema, ensure_ascii=False).encode("utf-8"))
    except UnicodeEncodeError as error:
        raise RequestError(f"{where} is not Unicode: it holds half a surrogate pair") from error
    except ValueError as error:  # Python does not write it
        raise RequestError(f"{where} is too large: it holds a number of thousands of digits") from error
    if size_bytes > MAX_SIZE_BYTES:
        raise RequestError(f"{where} is too large: more than {MAX_SIZE_BYTES} bytes of JSON")


def _children(value: object, where: str) -> list[object]:
    """What a JSON value holds; anything but JSON is refused."""
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise RequestError(f"{where} is not JSON: a key of an object is not a string")
        return list(value.values())
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise RequestError(f"{where} is not JSON: {value} is not a number of JSON")
    if value is not None and not isinstance(value, str | int | float):
        raise RequestError(f"{where} is not JSON: it holds a {type(value).__name__}")
    return []


# ------------------------------------------------------------ the schemas in a schema


def _schemas(root: Mapping[str, Any], where: str) -> Iterator[tuple[_Path, Any]]:
    """The schema itself and every schema in it, each with its path."""
    pending: list[tuple[_Path, Any]] = [((), root)]
    for _ in range(MAX_SCHEMAS + 1):
        if not pending:
            return
        path, schema = pending.pop()
        if not isinstance(schema, Mapping | bool):
            raise RequestError(f"{_name(where, path)} must be a schema, not {json.dumps(schema)[:40]}")
        yield path, schema
        if isinstance(schema, Mapping):
            pending += _subschemas(schema, path, where)
    raise RequestError(f"{where} is too large: it holds more than {MAX_SCHEMAS} schemas")


def _subschemas(schema: Mapping[str, Any], path: _Path, where: str) -> Iterator[tuple[_Path, Any]]:
    for key, value in schema.items():
        if key in _SCHEMA_OF:
            yield (*path, key), value
        elif key in _SCHEMAS_BY_NAME:
            if not isinstance(value, Mapping):
                raise RequestError(f"{_name(where, (*path, key))} must be an object of schemas")
            yield from (((*path, key, name), part) for name, part in value.items())
        elif key in _SCHEMAS_IN_ORDER:
            if not isinstance(value, list | tuple):
                raise RequestError(f"{_name(where, (*path, key))} must be a list of schemas")
            yield from (((*path, key, str(i)), part) for i, part in enumerate(value))


def _name(where: str, path: _Path) -> str:
    return ".".join((where, *path))


# ------------------------------------------------------------ keywords


def _check_keywords(schema: Mapping[str, Any], path: _Path, where: str) -> None:
    for key, value in schema.items():
        if key in _COUNTS:
            _check_count(key, value, _name(where, path))
        elif key not in _KEYWORDS and not _is_remark(key, path):
            near = difflib.get_close_matches(key, _KEYWORDS, n=1, cutoff=0.85)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise RequestError(f"{_name(where, (*path, key))} is not supported{hint}")
    required = schema.get("required", ())
    if not isinstance(required, list | tuple) or not all(isinstance(name, str) for name in required):
        raise RequestError(f"{_name(where, path)}.required must be a list of names")
    if schema.get("minProperties", 0) > max(1, len(set(required))):
        # a grammar cannot tell whether two keys of its own choice are the same one
        raise RequestError(
            f"{_name(where, path)}.minProperties is supported up to the number of required properties"
        )


def _check_count(key: str, value: object, name: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_COUNT:
        raise RequestError(f"{name}.{key} must be a whole number from 0 to {MAX_COUNT}, not {value!r:.40}")


def _is_remark(key: str, path: _Path) -> bool:
    """Extensions are free to say what they like, but for the one that steers the compiler."""
    return (key.startswith("x-") and key != "x-guidance") or (key == "$id" and not path)


# ------------------------------------------------------------ references


def _check_reference(schema: Mapping[str, Any], path: _Path, schemas: _Schemas, where: str) -> None:
    reference = schema.get("$ref", "#")
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        raise RequestError(
            f"{_name(where, path)}.$ref must lead to a place in the schema, such as '#/$defs/name'"
        )
    if _target(reference) not in schemas:
        raise RequestError(f"{_name(where, path)}.$ref: there is no schema at {reference!r:.200}")


def _target(reference: str) -> _Path:
    """The path of a JSON pointer (RFC 6901) in a URI fragment."""
    parts = unquote(reference).split("/")[1:]
    return tuple(part.replace("~1", "/").replace("~0", "~") for part in parts)


def _check_reach(schemas: _Schemas, where: str) -> None:
    """Bound how deep a walk that follows references can get: from the root through every place referred to."""
    height = dict.fromkeys(schemas, 1)
    for path in reversed(schemas):  # those within come after those around them
        if path:
            parent = path[:-1] if path[:-1] in schemas else path[:-2]
            height[parent] = max(height[parent], height[path] + 1)
    targets = {
        _target(part["$ref"]) for part in schemas.values() if isinstance(part, Mapping) and "$ref" in part
    }
    if sum(height[path] for path in targets | {()}) > MAX_REACH:
        raise RequestError(f"{where} is too large: its references lead through more than {MAX_REACH} levels")


def _check_patterns(schemas: _Schemas, where: str) -> None:
    parts = [part for part in schemas.values() if isinstance(part, Mapping)]
    count = sum(len(part.keys() & {"pattern", "format", "multipleOf"}) for part in parts)
    count_of_names = sum(len(part.get("patternProperties", ())) for part in parts)
    if count > MAX_PATTERNS or count_of_names > MAX_NAME_PATTERNS:
        raise RequestError(
            f"{where} holds more than {MAX_PATTERNS} patterns, formats and multiples,"
            f" or more than {MAX_NAME_PATTERNS} patternProperties"
        )
    if count > MAX_MEETING_PATTERNS and any(map(_intersects, parts)):
        raise RequestError(
            f"{where} holds more than {MAX_MEETING_PATTERNS} patterns, formats and multiples; that is too many"
            " beside allOf, or beside $ref or anyOf with further keywords"
        )


def _intersects(schema: Mapping[str, Any]) -> bool:
    """Whether several schemas must hold for one value."""
    combined = len(schema.keys() & {"allOf", "anyOf", "oneOf", "$ref"})
    plain = schema.keys() & (
        _KEYWORDS - _DESCRIBING - {"allOf", "anyOf", "oneOf", "$ref", "$defs", "definitions"}
    )
    return combined > 1 or bool(combined and plain) or len(schema.get("allOf", ())) > 1


# ------------------------------------------------------------ schemas without an end


def _check_ends(schemas: _Schemas, where: str) -> None:
    """Refuse a schema that only an endless text would satisfy, as a model that enters it never comes out."""
    ending: set[_Path] = set()
    inner_first = list(reversed(schemas.items()))
    for _ in range(_MAX_ROUNDS):
        found = len(ending)
        for path, schema in inner_first:
            if path not in ending and _ends(schema, path, ending):
                ending.add(path)
        if len(ending) == len(schemas):
            return
        if len(ending) == found:
            endless = min((path for path in schemas if path not in ending), key=len)
            raise RequestError(f"{_name(where, endless)} has no end: every value of it would hold itself")
    raise RequestError(f"{where} has references that lead on to references more than {_MAX_ROUNDS} times")


def _ends(schema: Mapping[str, Any] | bool, path: _Path, ending: set[_Path]) -> bool:
    """Whether a value can be complete, given which schemas are known to end."""
    if isinstance(schema, bool):
        return True
    if "$ref" in schema and _target(schema["$ref"]) not in ending:
        return False
    if not all((*path, "allOf", str(i)) in ending for i in range(len(schema.get("allOf", ())))):
        return False
    for key in ("anyOf", "oneOf"):
        if schema.get(key) and not any((*path, key, str(i)) in ending for i in range(len(schema[key]))):
            return False
    return "enum" in schema or "const" in schema or _some_type_ends(schema, path, ending)


def _some_type_ends(schema: Mapping[str, Any], path: _Path, ending: set[_Path]) -> bool:
    types = schema.get("type", "any")
    types = types if isinstance(types, list | tuple) else (types,)
    if not types or any(kind not in ("object", "array") for kind in types):
        return True
    return ("object" in types and _object_ends(schema, path, ending)) or (
        "array" in types and _array_ends(schema, path, ending)
    )


def _object_ends(schema: Mapping[str, Any], path: _Path, ending: set[_Path]) -> bool:
    known = schema.get("properties", {})
    needed = {
        (*path, "properties", name) if name in known else (*path, "additionalProperties")
        for name in schema.get("required", ())
    }
    if "additionalProperties" not in schema:
        needed.discard((*path, "additionalProperties"))
    return needed <= ending


def _array_ends(schema: Mapping[str, Any], path: _Path, ending: set[_Path]) -> bool:
    least, first = schema.get("minItems", 0), schema.get("prefixItems", ())
    needed: Sequence[_Path] = [(*path, "prefixItems", str(i)) for i in range(min(least, len(first)))]
    if least > len(first) and "items" in schema:
        needed = [*needed, (*path, "items")]
    return all(place in ending for place in needed)


# ------------------------------------------------------------ one of several


def _check_choices(schemas: _Schemas, where: str) -> None:
    """Refuse `oneOf` where two options may hold for one value, as a grammar only knows `anyOf`."""
    excluder = Excluder(lambda reference: schemas[_target(reference)])
    for path, schema in schemas.items():
        if isinstance(schema, Mapping) and "oneOf" in schema:
            _check_choice(schema, _name(where, path), excluder)


def _check_choice(schema: Mapping[str, Any], name: str, excluder: Excluder) -> None:
    beside = {key: value for key, value in schema.items() if key != "oneOf"}
    options: list[Schema] = [{"allOf": [beside, option]} for option in schema["oneOf"]]
    pairs = combinations(enumerate(options), 2)
    try:
        overlap = next(((i, j) for (i, one), (j, other) in pairs if not excluder.excludes(one, other)), None)
    except RequestError as error:
        raise RequestError(f"{name}.oneOf: {error}") from error
    if overlap:
        raise RequestError(
            f"{name}.oneOf: one value may satisfy options {overlap[0]} and {overlap[1]}; give them different types, or"
            " a required property with a constant that differs, or use anyOf"
        )
