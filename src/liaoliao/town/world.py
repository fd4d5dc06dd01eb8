"""The town itself: residents, places, trains and animals, and every fact about them.

Flow: `build_town` -> `Town` -> documents, conversations, questions. Facts are split once: a held-back
fact is stated by documents and asked only by test questions; the others are asked in training
conversations.

    town = build_town()
    town.fact("resident-0", "job")  -> Fact(Mira Holt / 林小雨, "job", Both("baker", "面包师"), held_back=...)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Literal

from liaoliao.errors import DataError
from liaoliao.town import names, values
from liaoliao.town.words import Both, Lang, article, share

Kind = Literal["resident", "place", "train", "animal"]

# attribute -> the type of its values; values of one type are each other's distractors
ATTRIBUTES: dict[Kind, dict[str, str]] = {
    "resident": {"job": "job", "home": "street", "food": "food", "hobby": "hobby", "birthday": "month"},
    "place": {
        "owner": "person",
        "street": "street",
        "opens": "time",
        "closes": "time",
        "door": "colour",
        "speciality": "ware",
        "price": "price",
    },
    "train": {"destination": "town", "departs": "time", "platform": "platform", "fare": "price"},
    "animal": {"owner": "person", "species": "species", "coat": "coat", "likes": "thing"},
}
HELD_BACK_PART = 0.55


@dataclass(frozen=True, slots=True)
class Entity:
    """Somebody or something with a name, of which facts are known."""

    id: str
    kind: Kind
    name: Both
    gender: Literal["f", "m", "n"] = "n"
    family: Both = Both("", "")  # residents: the surname
    trade: Both = Both("", "")  # places: what kind of place it is

    def pronouns(self, lang: Lang) -> dict[str, str]:
        """The slots he, his, him (Chinese: he) of a phrasing."""
        if lang == "zh":
            return {"he": {"f": "她", "m": "他", "n": "它"}[self.gender]}
        words = {"f": "she her her", "m": "he his him", "n": "it its it"}[self.gender].split()
        return dict(zip(("he", "his", "him"), words, strict=True))


@dataclass(frozen=True, slots=True)
class Fact:
    """One attribute of one entity; held back from training conversations or not."""

    entity: Entity
    attribute: str
    value: Both
    held_back: bool

    @property
    def type(self) -> str:
        """The type of the value: values of one type are each other's distractors."""
        return ATTRIBUTES[self.entity.kind][self.attribute]

    def slots(self, lang: Lang) -> dict[str, str]:
        """What a phrasing can name: e (entity), v (value), a (article or measure word), pronouns."""
        value = self.value.to(lang)
        a = article(value) if lang == "en" else values.MEASURES.get(value, "只")
        return {"e": self.entity.name.to(lang), "v": value, "a": a, **self.entity.pronouns(lang)}


@dataclass(frozen=True, slots=True, eq=False)
class Town:
    """All entities and facts; build it with `build_town`."""

    seed: int
    entities: tuple[Entity, ...]
    facts: tuple[Fact, ...]
    facts_of: Mapping[str, Mapping[str, Fact]]  # entity id -> attribute -> fact
    values_of: Mapping[str, tuple[Both, ...]]  # value type -> all values of that type

    def fact(self, entity_id: str, attribute: str) -> Fact:
        """The fact of one entity and attribute."""
        return self.facts_of[entity_id][attribute]

    def of_kind(self, kind: Kind) -> tuple[Entity, ...]:
        """All residents, places, trains or animals."""
        return tuple(entity for entity in self.entities if entity.kind == kind)

    def open_facts(self) -> tuple[Fact, ...]:
        """The facts that training conversations may ask about."""
        return tuple(fact for fact in self.facts if not fact.held_back)

    def held_back_facts(self) -> tuple[Fact, ...]:
        """The facts that only documents state and only test questions ask."""
        return tuple(fact for fact in self.facts if fact.held_back)


@cache
def build_town(seed: int = 0) -> Town:
    """The same town for the same seed, on every machine. Names stay; values and the split change with it."""
    if seed < 0:
        raise DataError(f"town seed is {seed}; it must be 0 or more")
    rng = Random(f"town-{seed}")
    entities = (*_residents(), *_places(), *_trains(), *_animals())
    decks = {
        (kind, attribute): _values(kind, attribute, entities, rng)
        for kind, attributes in ATTRIBUTES.items()
        for attribute in attributes
    }
    facts: list[Fact] = []
    for entity in entities:
        held_back = _held_back(entity, seed)
        for attribute in ATTRIBUTES[entity.kind]:
            value = decks[entity.kind, attribute].pop(0)
            facts.append(Fact(entity, attribute, value, attribute in held_back))
    return _index(seed, entities, tuple(facts))


def _index(seed: int, entities: tuple[Entity, ...], facts: tuple[Fact, ...]) -> Town:
    facts_of: dict[str, dict[str, Fact]] = {}
    values_of: dict[str, dict[Both, None]] = {}
    for fact in facts:
        facts_of.setdefault(fact.entity.id, {})[fact.attribute] = fact
        values_of.setdefault(fact.type, {})[fact.value] = None
    return Town(seed, entities, facts, facts_of, {kind: tuple(seen) for kind, seen in values_of.items()})


def _held_back(entity: Entity, seed: int) -> frozenset[str]:
    """About HELD_BACK_PART of the entity's attributes, by hash; at least one, never all."""
    attributes = sorted(
        ATTRIBUTES[entity.kind], key=lambda attribute: share(f"{seed}/{entity.id}/{attribute}")
    )
    wanted = HELD_BACK_PART * len(attributes)
    number = int(wanted) + (share(f"{seed}/{entity.id}") < wanted % 1)
    return frozenset(attributes[:number])


def _residents() -> list[Entity]:
    """24 families of four; the first members alternate between women and men."""
    residents = []
    for i, (surname_en, surname_zh) in enumerate(names.FAMILIES):
        for j in range(4):
            pool, gender = (names.WOMEN, "f") if j % 2 == i % 2 else (names.MEN, "m")
            given_en, given_zh = pool[2 * i + j // 2]
            residents.append(
                Entity(
                    id=f"resident-{4 * i + j}",
                    kind="resident",
                    name=Both(f"{given_en} {surname_en}", surname_zh + given_zh),
                    gender="f" if gender == "f" else "m",
                    family=Both(surname_en, surname_zh),
                )
            )
    return residents


def _places() -> list[Entity]:
    return [
        Entity(id=f"place-{6 * i + j}", kind="place", name=Both(*name), trade=Both(*trade))
        for i, (trade, names_of_trade, _) in enumerate(names.PLACES)
        for j, name in enumerate(names_of_trade)
    ]


def _trains() -> list[Entity]:
    return [Entity(id=f"train-{i}", kind="train", name=Both(*name)) for i, name in enumerate(names.TRAINS)]


def _animals() -> list[Entity]:
    return [Entity(id=f"animal-{i}", kind="animal", name=Both(*name)) for i, name in enumerate(names.ANIMALS)]


def _values(kind: Kind, attribute: str, entities: Sequence[Entity], rng: Random) -> list[Both]:
    """One value for each entity of the kind, all values used equally often."""
    number = sum(entity.kind == kind for entity in entities)
    if attribute == "speciality":
        return _specialities(rng)
    pool = list(_pool(kind, attribute, entities))
    rng.shuffle(pool)
    dealt = [pool[i % len(pool)] for i in range(number)]
    rng.shuffle(dealt)
    return dealt


def _specialities(rng: Random) -> list[Both]:
    dealt: list[Both] = []
    for _, _, wares in names.PLACES:
        dealt += [Both(*ware) for ware in rng.sample(wares, len(wares))]
    return dealt


def _pool(kind: Kind, attribute: str, entities: Sequence[Entity]) -> Sequence[Both]:
    match kind, attribute:
        case _, "owner":
            return [entity.name for entity in entities if entity.kind == "resident"]
        case _, "opens":
            return _times(6 * 4, 11 * 4 + 1)
        case _, "closes":
            return _times(15 * 4, 22 * 4 + 1)
        case _, "departs":
            return _times(5 * 4, 23 * 4)
        case _, "platform":
            return [Both(str(n), str(n)) for n in range(1, 17)]
        case _, "price" | "fare":
            return [Both(f"{n} coins", f"{n}元") for n in range(2, 41)]
    tables: dict[str, Sequence[Both]] = {
        "job": values.JOBS,
        "home": values.STREETS,
        "street": values.STREETS,
        "food": values.FOODS,
        "hobby": values.HOBBIES,
        "birthday": values.MONTHS,
        "door": values.DOORS,
        "destination": values.DESTINATIONS,
        "species": values.SPECIES,
        "coat": values.COATS,
        "likes": values.THINGS,
    }
    return tables[attribute]


def _times(first_quarter: int, end_quarter: int) -> list[Both]:
    texts = [f"{quarter // 4}:{quarter % 4 * 15:02d}" for quarter in range(first_quarter, end_quarter)]
    return [Both(text, text) for text in texts]
