"""How facts are said and asked: the shape of the phrasing tables, and filling them.

The tables are in `phrases_*.py`. Slots: {e} the entity's full name, {v} the value, {a} article or
measure word, {he} {his} {him} pronouns (Chinese: {he} only).

    fill("{e} is {a} {v}.", {"e": "Mira Holt", "v": "baker", "a": "a"})  -> "Mira Holt is a baker."
"""

from collections.abc import Mapping
from dataclasses import dataclass

from liaoliao.town.words import Lang


@dataclass(frozen=True, slots=True)
class Phrasing:
    """All wordings of one attribute in one language."""

    field: str  # what a lookup calls it
    verbs: tuple[str, ...]  # predicates that follow the entity's name: "works as {a} {v}"
    says: tuple[str, ...]  # whole sentences, most with {e} before {v}
    asks: tuple[str, ...]  # questions that name {e}
    asks_again: tuple[str, ...]  # questions that lean on an earlier turn for the entity
    replies: tuple[str, ...]  # short answers with {e} and {v}
    pair: str  # one item of a list: "{e} {v}"


Table = Mapping[str, Mapping[Lang, Phrasing]]  # attribute -> language -> phrasing


def fill(template: str, slots: Mapping[str, str]) -> str:
    """The template with its slots filled and a capital first letter."""
    text = template.format_map(slots)
    return text[:1].upper() + text[1:]
