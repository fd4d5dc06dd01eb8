"""Settings as values: a frozen dataclass to JSON and back, and typed changes from the command line.

A recipe is a dataclass of dataclasses; its JSON is written into the run folder and read back to resume.
Reading is strict: a key that is no field is an error that names the nearest one, and a value of the wrong
kind says where and what was expected.

    apply_overrides(run, ["optim.lr=3e-4"])  ->  the same run with another learning rate
    apply_overrides(run, ["optim.lrr=1"])  ->  ConfigError: optim.lrr is not a field; did you mean optim.lr?

Field types: bool, int, float, str, None, Path, Literal, Enum of strings, dataclasses, tuples, lists, mappings
with string keys, Any, and unions of these. An int is read where a float is expected; nothing else is
converted. Also here, for every floor above: where the files of this user lie (`home`).
"""

import dataclasses
import difflib
import enum
import json
import os
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin

from liaoliao.errors import ConfigError

T = TypeVar("T")
_NO_CHANGES: Mapping[str, Any] = types.MappingProxyType({})


def home() -> Path:
    """Where this user's liaoliao keeps its things: `$LIAOLIAO_HOME`, else `~/.liaoliao`."""
    return Path(os.environ.get("LIAOLIAO_HOME") or Path.home() / ".liaoliao").expanduser().absolute()


def to_json(value: Any) -> Any:
    """A dataclass, or any value a field may hold, as plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ConfigError(f"a {type(value).__name__} cannot be written as JSON")


def from_json(cls: type[T], data: Mapping[str, Any] | str) -> T:
    """Build the dataclass `cls` from a mapping or JSON text; a field left out takes its default."""
    if isinstance(data, str):
        try:
            data = json.loads(data)
        except ValueError as error:
            raise ConfigError(f"{cls.__name__}: not JSON: {error}") from error
    return cast(T, _read(cls, data, where=""))


def save_json(value: Any, path: Path | str) -> None:
    """Write `to_json(value)` to a file, indented, in one move: a reader never sees half of it."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(to_json(value), ensure_ascii=False, indent=2) + "\n"
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def load_json(cls: type[T], path: Path | str) -> T:
    """Read the dataclass `cls` from a JSON file."""
    path = Path(path)
    try:
        return from_json(cls, path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such file") from error
    except (ConfigError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {error}") from error


def apply_overrides(value: T, overrides: Iterable[str], changes: Mapping[str, Any] = _NO_CHANGES) -> T:
    """Change fields of a dataclass: first those of `changes`, then by texts such as "optim.lr=3e-4" or
    "data.files=a.jsonl,b.jsonl". Only the outcome is checked: fields that go together may change one after the other.

    The text after "=" is read as the field's type says; "none" is None where None may stand. A tuple or list
    of strings or numbers is written with commas, anything deeper as JSON.
    """
    draft = _Draft(value, dict(changes))
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise ConfigError(f"{override!r}: write key=value, such as optim.lr=3e-4")
        draft.change(key.strip().split("."), text.strip(), where="")
    return cast(T, draft.made())


# Reading JSON by type


def _read(kind: Any, value: Any, where: str) -> Any:
    """`value` as `kind`, or a ConfigError that says where the two do not agree."""
    origin = get_origin(kind)
    if kind is Any:
        return value
    if origin in (Union, types.UnionType):
        return _read_union(get_args(kind), value, where)
    if origin is Literal:
        return _expect(
            value in get_args(kind) and not _is_bool_for_int(value, get_args(kind)), kind, value, where
        )
    if dataclasses.is_dataclass(kind):
        return _read_dataclass(cast(type, kind), value, where)
    if origin in (tuple, list, Sequence) or kind in (tuple, list):
        return _read_sequence(kind, value, where)
    if origin in (dict, Mapping):
        return _read_mapping(kind, value, where)
    return _read_scalar(kind, value, where)


def _read_scalar(kind: Any, value: Any, where: str) -> Any:
    if kind in (None, type(None)):
        return _expect(value is None, None, value, where)
    if kind is float:
        return float(
            _expect(isinstance(value, int | float) and not isinstance(value, bool), kind, value, where)
        )
    if kind is int:
        return _expect(isinstance(value, int) and not isinstance(value, bool), kind, value, where)
    if kind is Path:
        return Path(_expect(isinstance(value, str | Path), kind, value, where))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(_expect(value in [member.value for member in kind], kind, value, where))
    return _expect(isinstance(value, kind), kind, value, where)


def _read_dataclass(cls: type, value: Any, where: str) -> Any:
    if isinstance(value, cls):
        return value
    _expect(isinstance(value, Mapping), cls, value, where)
    hints = _field_types(cls)
    for key in value:
        if key not in hints:
            raise ConfigError(_no_such_field(key, hints, where))
    try:
        return cls(**{key: _read(hints[key], item, _dotted(where, key)) for key, item in value.items()})
    except TypeError as error:
        missing = [name for name in _required(cls) if name not in value]
        what = f"{', '.join(_dotted(where, name) for name in missing)} is missing" if missing else str(error)
        raise ConfigError(f"{where or cls.__name__}: {what}") from error


def _read_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """The first kind that fits; if one is a dataclass, its own complaint about an object is the useful."""
    if value is None and type(None) in kinds:
        return None
    classes = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
    if isinstance(value, Mapping) and len(classes) == 1:
        return _read(classes[0], value, where)
    # An int fits float as well: prefer a kind the value already is.
    for kind in sorted(kinds, key=lambda kind: type(value) is not kind):
        try:
            return _read(kind, value, where)
        except ConfigError:
            continue
    return _expect(False, Union[kinds], value, where)  # noqa: UP007


def _read_sequence(kind: Any, value: Any, where: str) -> Any:
    _expect(isinstance(value, list | tuple), kind, value, where)
    make = list if (get_origin(kind) or kind) is list else tuple
    kinds = get_args(kind) or (Any, ...)
    if make is list or get_origin(kind) is Sequence:
        kinds = (kinds[0], ...)
    if kinds[-1] is ...:
        kinds = (kinds[0],) * len(value)
    _expect(len(kinds) == len(value), kind, value, where)
    return make(
        _read(item_kind, item, f"{where}[{i}]")
        for i, (item_kind, item) in enumerate(zip(kinds, value, strict=True))
    )


def _read_mapping(kind: Any, value: Any, where: str) -> Any:
    _expect(isinstance(value, Mapping), kind, value, where)
    _, item_kind = get_args(kind)
    return {key: _read(item_kind, item, _dotted(where, key)) for key, item in value.items()}


def _expect(fits: bool, kind: Any, value: Any, where: str) -> Any:
    if not fits:
        raise ConfigError(f"{where + ': ' if where else ''}expected {_kind_name(kind)}, got {value!r}")
    return value


def _is_bool_for_int(value: Any, choices: tuple[Any, ...]) -> bool:
    """True == 1 in Python; a Literal[1] does not mean true."""
    return isinstance(value, bool) and not any(choice is value for choice in choices)


# Overrides


@dataclasses.dataclass(slots=True)
class _Draft:
    """A dataclass, and what its fields are about to become: values, or drafts of dataclasses inside it."""

    value: Any
    changes: dict[str, Any] = dataclasses.field(default_factory=dict)

    def change(self, keys: Sequence[str], text: str, where: str) -> None:
        """Change one field, of this dataclass or of one inside it."""
        if not dataclasses.is_dataclass(self.value) or isinstance(self.value, type):
            raise ConfigError(
                f"{where} has no fields (it is {self.value!r}), so {_dotted(where, keys[0])} cannot be set"
            )
        hints = _field_types(type(self.value))
        key, *deeper = keys
        if key not in hints:
            raise ConfigError(_no_such_field(key, hints, where))
        here = _dotted(where, key)
        if not deeper:
            self.changes[key] = _read_text(hints[key], text, here)
            return
        inner = self.changes.get(key, getattr(self.value, key))
        inner = inner if isinstance(inner, _Draft) else _Draft(inner)
        inner.change(deeper, text, here)
        self.changes[key] = inner

    def made(self) -> Any:
        """The dataclass with its changes."""
        if not self.changes:
            return self.value
        changes = {key: new.made() if isinstance(new, _Draft) else new for key, new in self.changes.items()}
        return dataclasses.replace(self.value, **changes)


def _read_text(kind: Any, text: str, where: str) -> Any:
    """The value that a person means by `text`, by the type of the field it is for."""
    kinds = get_args(kind) if get_origin(kind) in (Union, types.UnionType) else (kind,)
    if type(None) in kinds and text.lower() in ("none", "null"):
        return None
    for reading in _readings(kinds, text):
        try:
            return _read(kind, reading, where)
        except ConfigError:
            continue
    return _read(kind, text, where)  # none fits: complain about the text as it was written


def _readings(kinds: Iterable[Any], text: str) -> Iterable[Any]:
    """What the text may stand for, the likeliest first: JSON, a word, words with commas."""
    words = any(kind in (str, Path) for kind in kinds)
    if words:
        yield text
    yield _number_or_word(text)
    yield text
    if any(get_origin(kind) in (tuple, list, Sequence) for kind in kinds):
        items = [item.strip() for item in text.split(",")] if text else []
        yield items
        yield [_number_or_word(item) for item in items]


def _number_or_word(text: str) -> Any:
    """JSON, or a number as people write them (.5, 1_000, 1e6 for a count); else the text."""
    for read in (_whole_number, float, json.loads):
        try:
            return read(text)
        except ValueError:
            continue
    return text.lower() == "true" if text.lower() in ("true", "false") else text


def _whole_number(text: str) -> int:
    number = float(text)
    if not number.is_integer() or "." in text:
        raise ValueError
    return int(text.replace("_", "")) if "e" not in text.lower() else int(number)


# Names


def _field_types(cls: type) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def _required(cls: type) -> list[str]:
    nothing = dataclasses.MISSING
    fields = dataclasses.fields(cls)
    return [f.name for f in fields if f.init and f.default is nothing and f.default_factory is nothing]


def _no_such_field(key: str, fields: Iterable[str], where: str) -> str:
    near = difflib.get_close_matches(key, list(fields), n=1, cutoff=0.5)
    hint = f"did you mean {_dotted(where, near[0])}?" if near else f"the fields are {', '.join(fields)}"
    return f"{_dotted(where, key)} is not a field; {hint}"


def _dotted(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _kind_name(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(repr, get_args(kind)))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(map(_kind_name, get_args(kind)))
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return "one of " + ", ".join(repr(member.value) for member in kind)
    if kind in (None, type(None)):
        return "none"
    return kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind)
