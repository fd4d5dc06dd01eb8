"""Unions in request bodies of which only the member that is meant gets tried, and its faults told.

    Content = Annotated[
        Annotated[TextPart, Tag("<text>")] | Annotated[ImagePart, Tag("<image>")], by_type("text, image")
    ]
    {"type": "video"}  ->  400 "Invalid value for 'content[0]': its type is not known here; known are text, image"
    WordsOr[list[Content]]  ->  a string, or a list: never "should be a string" for a list with a fault in it

Tags stand in angle brackets, as no field's name does: they are no part of the path to what is wrong.
"""

from collections.abc import Mapping
from typing import Annotated, TypeAlias, TypeVar

from pydantic import Discriminator, Tag

T = TypeVar("T")


def by_type(known: str, *, default: str = "") -> Discriminator:
    """Tells by the value's `type`, or by its Python type where it is no object; `default` is for objects without."""

    def tag(value: object) -> str:
        return _tag(value, default)

    message = f"its type is not known here; known are {known}"
    return Discriminator(tag, custom_error_type="unknown_type", custom_error_message=message)


def _tag(value: object, default: str = "") -> str:
    if isinstance(value, str | list):
        return f"<{type(value).__name__}>"
    if isinstance(value, Mapping):
        return f"<{value.get('type') or default}>"
    return f"<{getattr(value, 'type', None)}>"


WordsOr: TypeAlias = Annotated[
    Annotated[str, Tag("<str>")] | Annotated[T, Tag("<list>")],
    Discriminator(_tag, custom_error_type="neither", custom_error_message="it should be a string or a list"),
]
