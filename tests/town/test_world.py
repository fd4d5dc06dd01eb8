"""The town: sizes, the split, values that can be told apart."""

import itertools
from random import Random

import pytest

from liaoliao.errors import DataError
from liaoliao.town import LANGS, build_town
from liaoliao.town.phrases import PHRASES
from liaoliao.town.words import Lang, deal, listing, share
from liaoliao.town.world import ATTRIBUTES


def test_the_same_seed_builds_the_same_town() -> None:
    build_town.cache_clear()
    one = build_town(3)
    build_town.cache_clear()
    assert one.facts == build_town(3).facts
    assert one.facts != build_town(4).facts
    with pytest.raises(DataError, match="0 or more"):
        build_town(-1)


def test_sizes_and_split() -> None:
    town = build_town()
    assert len(town.entities) == 96 + 48 + 16 + 40
    assert 1000 <= len(town.facts) <= 1150
    assert len(town.held_back_facts()) >= 520
    for entity in town.entities:
        kinds = {fact.held_back for fact in town.facts_of[entity.id].values()}
        assert kinds == {True, False}, entity.name.en
    for kind, attributes in ATTRIBUTES.items():
        for attribute in attributes:
            facts = [town.fact(entity.id, attribute) for entity in town.of_kind(kind)]
            assert {fact.held_back for fact in facts} == {True, False}, (kind, attribute)


@pytest.mark.parametrize("lang", LANGS)
def test_names_are_unique_and_hold_no_value(lang: Lang) -> None:
    town = build_town()
    names = [entity.name.to(lang) for entity in town.entities]
    assert len(set(names)) == len(names)
    for one, other in itertools.permutations(names, 2):
        assert one not in other, (one, other)


def test_no_value_contains_another_of_its_type() -> None:
    town = build_town()
    for kind, found in town.values_of.items():
        assert len(found) >= 12, kind
        texts = [value.zh for value in found if not value.zh[0].isdigit()]
        for one, other in itertools.permutations(texts, 2):
            assert one not in other, (one, other)


def test_guessing_a_value_is_hard() -> None:
    town = build_town()
    for kind, attributes in ATTRIBUTES.items():
        for attribute in attributes:
            found = [town.fact(entity.id, attribute).value for entity in town.of_kind(kind)]
            assert max(found.count(value) for value in found) / len(found) <= 0.12, (kind, attribute)


@pytest.mark.parametrize("lang", LANGS)
def test_phrasings_are_many_and_fit_their_facts(lang: Lang) -> None:
    town = build_town()
    for fact in town.facts:
        phrasing, slots = PHRASES[fact.entity.kind, fact.attribute][lang], fact.slots(lang)
        assert len({*phrasing.says, *phrasing.verbs}) >= 12
        assert len(set(phrasing.asks)) >= 6
        assert len(set(phrasing.asks_again)) >= 3
        for template in (*phrasing.says, *phrasing.replies, phrasing.pair):
            text = template.format_map(slots)
            assert slots["e"] in text
            assert slots["v"] in text
        for template in phrasing.asks:
            assert slots["e"] in template.format_map(slots)
            assert "{v}" not in template
        for template in phrasing.asks_again:
            assert "{e}" not in template
            assert "{v}" not in template
            template.format_map(slots)
        assert all("{v}" in template and "{e}" not in template for template in phrasing.verbs)


def test_field_names_are_distinct() -> None:
    for kind, attributes in ATTRIBUTES.items():
        for lang in LANGS:
            fields = [PHRASES[kind, attribute][lang].field for attribute in attributes]
            assert len(set(fields)) == len(fields)


def test_share_is_even() -> None:
    shares = [share(f"key {i}") for i in range(4000)]
    assert 0.47 < sum(shares) / len(shares) < 0.53
    assert 0.13 < sum(value < 0.15 for value in shares) / len(shares) < 0.17


def test_a_deck_deals_each_card_equally_often() -> None:
    dealt = list(itertools.islice(deal("abc", Random(0)), 30))
    assert {card: dealt.count(card) for card in "abc"} == {"a": 10, "b": 10, "c": 10}
    assert list(deal((), Random(0))) == []


def test_listing() -> None:
    assert [listing(items, "en") for items in ((), ("a",), ("a", "b"), ("a", "b", "c"))] == [
        "",
        "a",
        "a and b",
        "a, b and c",
    ]
    assert listing(("甲", "乙", "丙"), "zh") == "甲、乙和丙"
