"""Column types that hold both databases to the same rules: what SQLite would take, PostgreSQL must take as well.

    Words    text without NUL and without halves of surrogate pairs
    Json     JSON values as text; NaN and what nests too deeply are refused
    Parts    the parts of a message
    ToolUses tools that were run
    TokenIds token ids, 4 bytes each

Whatever does not fit is a DataError before the database sees it.
"""

import json
import struct
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Dialect, LargeBinary, Text
from sqlalchemy.types import TypeDecorator

from liaoliao.errors import DataError
from liaoliao.messages import Part
from liaoliao.store.parts import parts_from_json, parts_to_json
from liaoliao.store.records import ToolUse

_MAX_DEPTH = 64


def checked_words(text: str) -> str:
    """The text itself. Raises DataError for what is no text: NUL, or half of a surrogate pair."""
    if "\0" in text:
        raise DataError("text cannot hold the character NUL (U+0000)", code="not_writable")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        told = f"not valid Unicode: half of a surrogate pair at character {error.start}"
        raise DataError(told, code="not_writable") from error
    return text


def dump_json(value: object) -> str:
    """JSON text. Raises DataError for values that are not JSON: NaN, other types, too deep a nesting."""
    _refuse_depth(value)
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise DataError(f"cannot be written as JSON: {error}", code="not_writable") from error
    return checked_words(text)  # json.dumps escapes NUL, so that one passes


def _refuse_depth(value: object) -> None:
    """Refuse what nests so deeply that those who read it later would run out of stack."""
    level: list[object] = [value]
    for _ in range(_MAX_DEPTH):
        inner = [each for each in level if isinstance(each, dict | list | tuple)]
        level = [item for each in inner for item in (each.values() if isinstance(each, dict) else each)]
        if not level:
            return
    raise DataError(f"JSON that nests more than {_MAX_DEPTH} levels deep", code="not_writable")


class Words(TypeDecorator[str]):
    """Text that both databases can hold."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Check."""
        return None if value is None else checked_words(value)


class Json(TypeDecorator[Any]):
    """A JSON value, kept as text: neither database has to understand it."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str:
        """Write."""
        return dump_json(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        """Read."""
        return None if value is None else json.loads(value)


class Parts(TypeDecorator[tuple[Part, ...]]):
    """The parts of a message, in order."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Sequence[Part] | None, dialect: Dialect) -> str:
        """Write."""
        return dump_json(parts_to_json(value or ()))

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[Part, ...]:
        """Read."""
        return parts_from_json(json.loads(value)) if value else ()


class ToolUses(TypeDecorator[tuple[ToolUse, ...]]):
    """Tools that were run, in order."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: Sequence[ToolUse] | None, dialect: Dialect) -> str:
        """Write."""
        return dump_json([asdict(use) for use in value or ()])

    def process_result_value(self, value: str | None, dialect: Dialect) -> tuple[ToolUse, ...]:
        """Read."""
        return tuple(ToolUse(**use) for use in json.loads(value)) if value else ()


class TokenIds(TypeDecorator[tuple[int, ...]]):
    """Token ids: little-endian, 4 bytes each."""

    impl = LargeBinary
    cache_ok = True

    def process_bind_param(self, value: Sequence[int] | None, dialect: Dialect) -> bytes:
        """Write."""
        ids = value or ()
        try:
            return struct.pack(f"<{len(ids)}I", *ids)
        except struct.error as error:
            raise DataError(f"not token ids: {error}") from error

    def process_result_value(self, value: bytes | None, dialect: Dialect) -> tuple[int, ...]:
        """Read."""
        return struct.unpack(f"<{len(value) // 4}I", value) if value else ()
