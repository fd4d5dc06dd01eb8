"""Finding facts of the town in texts; shared by the tests of this folder."""

import re
from collections.abc import Iterator
from functools import cache

from liaoliao.town import Fact, Lang, build_town
from liaoliao.town.grading import holds


@cache
def names_pattern(lang: Lang) -> re.Pattern[str]:
    """Matches any name of the town."""
    names = sorted((entity.name.to(lang) for entity in build_town().entities), key=len, reverse=True)
    return re.compile("|".join(map(re.escape, names)), re.IGNORECASE)


@cache
def facts_by_name(lang: Lang) -> dict[str, list[Fact]]:
    """Small-letter name -> the facts of who is called that."""
    found: dict[str, list[Fact]] = {}
    for fact in build_town().facts:
        found.setdefault(fact.entity.name.to(lang).lower(), []).append(fact)
    return found


def facts_stated(text: str, lang: Lang) -> Iterator[Fact]:
    """The facts whose entity and value both stand in the text."""
    for name in {name.lower() for name in names_pattern(lang).findall(text)}:
        for fact in facts_by_name(lang)[name]:
            if fact.type == "platform" and not re.search("platform|站台", text.lower()):
                continue  # a bare number says nothing of platforms
            if holds(text, fact.value.to(lang), lang):
                yield fact
