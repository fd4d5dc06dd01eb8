"""Texts to pretrain on: every sentence that can states a fact of the town.

Flow: `build_town` -> `documents` -> tokenizer and pretraining. Entities and facts are dealt from
shuffled decks, so each fact, held back or not, is stated equally often, in many wordings, beside ever
other facts.

    next(documents(town, "en", Random(0)))  -> "Meet Mira Holt. Mira Holt is a baker ..."
"""

from collections.abc import Iterator, Mapping, Sequence
from random import Random

from liaoliao.town import frames, lessons, remarks, stories
from liaoliao.town.phrases import phrasing_of
from liaoliao.town.phrasing import fill
from liaoliao.town.words import TOWN_NAME, Lang, article, deal, join, pick, sentence
from liaoliao.town.world import Entity, Fact, Kind, Town

# forms of document, in this proportion
FORMS = ("portrait",) * 9 + ("group",) * 5 + ("mixed",) * 6 + ("story",) * 4 + ("list",) * 3 + ("lesson",) * 2
GROUP_FRAMES: Mapping[Kind, str] = {
    "resident": "family",
    "place": "walk",
    "train": "station",
    "animal": "pets",
}
# kinds of group, weighed so that with the stories each fact of the town is stated equally often
GROUPS: tuple[Kind, ...] = ("resident",) * 12 + ("place",) * 13 + ("train",) * 3 + ("animal",) * 2
LIGHT_SHARE = 0.1
QUOTE_SHARE = 0.6
CAST: Mapping[str, Kind] = {"x": "resident", "y": "resident", "p": "place", "c": "animal"}
# after the title, between items, at the end
LIST_SEPARATORS: Mapping[Lang, tuple[tuple[str, str, str], ...]] = {
    "en": (
        (": ", ", ", "."),
        (": ", "; ", "."),
        (", in no order: ", ", ", "."),
        (" - ", ", ", "."),
        (" in Willowmere: ", ", ", "."),
    ),
    "zh": (
        ("：", "，", "。"),
        ("：", "；", "。"),
        ("是这样的：", "，", "。"),
        ("如下：", "，", "。"),
        ("一览：", "、", "。"),
    ),
}


def documents(town: Town, lang: Lang, rng: Random) -> Iterator[str]:
    """Endless short texts of about 40 to 160 words (or characters)."""
    scribe = _Scribe(town, lang, rng)
    for form in deal(FORMS, rng):
        yield scribe.write(form)


class _Scribe:
    """Writes documents; its state is how far each deck has been dealt."""

    def __init__(self, town: Town, lang: Lang, rng: Random) -> None:
        self.town, self.lang, self.rng = town, lang, rng
        self.slots = {id(fact): fact.slots(lang) for fact in town.facts}
        self.entities = deal(town.entities, rng)
        self.facts = deal(town.facts, rng)
        self.facts_of = {key: deal(tuple(facts.values()), rng) for key, facts in town.facts_of.items()}
        self.groups = {kind: deal(_groups(town, kind), rng) for kind in GROUP_FRAMES}
        self.kinds = deal(GROUPS, rng)
        self.cast = {kind: deal(town.of_kind(kind), rng) for kind in GROUP_FRAMES}
        self.plots = deal(stories.PLOTS[lang], rng)
        self.columns = deal([(fact.entity.kind, fact.attribute) for fact in town.facts], rng)
        self.column = {key: deal(facts, rng) for key, facts in _columns(town).items()}
        self.lessons = lessons.lessons(lang, rng)

    def write(self, form: str) -> str:
        match form:
            case "portrait":
                return self.portrait(next(self.entities))
            case "group":
                return self.group(next(self.kinds))
            case "mixed":
                return self.mixed()
            case "story":
                return self.story(next(self.plots))
            case "list":
                return self.list_of(next(self.columns))
        return next(self.lessons)

    def portrait(self, entity: Entity) -> str:
        """One entity, all its facts, in random order."""
        facts = list(self.town.facts_of[entity.id].values())
        self.rng.shuffle(facts)
        return self.framed(entity.kind, self.tell(facts), entity)

    def group(self, kind: Kind) -> str:
        """A few entities of one kind, two or three facts each: a family, a street, a station, a pet show."""
        group = next(self.groups[kind])
        body: list[str] = []
        for entity in group:
            body += self.tell(self.some(entity, 2 if self.rng.random() < 0.7 else 3))
        return self.framed(GROUP_FRAMES[kind], body, group[0])

    def mixed(self) -> str:
        """Facts about anyone: a letter, a diary page, the news, talk of neighbours."""
        name = pick(self.rng, frames.MIXED)
        body: list[str] = []
        for _ in range(5 + int(self.rng.random() * 5)):
            told = self.tell([next(self.facts)])
            if name == "talk" and self.rng.random() < QUOTE_SHARE:
                told[0] = self.quote(told[0])
            body += told
        return self.framed(name, body, None)

    def quote(self, said: str) -> str:
        """The sentence in somebody's mouth."""
        speaker = pick(self.rng, stories.SPEAKERS[self.lang])
        return fill(pick(self.rng, stories.QUOTES[self.lang]), {"s": said[:-1], "q": speaker})

    def story(self, plot: stories.Plot) -> str:
        """A plot about two residents, a place and an animal, with facts of theirs between its beats."""
        cast = {slot: next(self.cast[kind]) for slot, kind in CAST.items()}
        names = {slot: entity.name.to(self.lang) for slot, entity in cast.items()}
        asides = [self.tell(self.some(entity, 2)) for entity in cast.values()]
        self.rng.shuffle(asides)
        body: list[str] = []
        for i, beat in enumerate(plot):
            body += [self.dress(beat, None, **names), *(asides[i] if i < len(asides) else ())]
        return join(body, self.lang)

    def list_of(self, column: tuple[Kind, str]) -> str:
        """The same attribute of several entities, as a list."""
        facts = [next(self.column[column]) for _ in range(6 + int(self.rng.random() * 4))]
        key = f"{column[0]}/{column[1]}" if column[1] == "owner" else column[1]
        title = pick(self.rng, remarks.LISTS[key][self.lang])
        after, between, end = pick(self.rng, LIST_SEPARATORS[self.lang])
        items = [phrasing_of(fact, self.lang).pair.format_map(self.slots[id(fact)]) for fact in facts]
        return title + after + between.join(items) + end

    def some(self, entity: Entity, number: int) -> list[Fact]:
        """The entity's next facts, each once."""
        facts = [next(self.facts_of[entity.id]) for _ in range(number)]
        return [fact for i, fact in enumerate(facts) if fact not in facts[:i]]

    def tell(self, facts: Sequence[Fact]) -> list[str]:
        """The facts (of one entity) as sentences of one, two or three facts, with light remarks between."""
        told: list[str] = []
        rest = list(facts)
        while rest:
            number = min(len(rest), 1 + int(self.rng.random() * 3))
            told.append(self.say(rest[:number]))
            del rest[:number]
            if self.rng.random() < LIGHT_SHARE:
                told.append(self.dress(pick(self.rng, remarks.LIGHT[self.lang])))
        return told

    def say(self, facts: Sequence[Fact]) -> str:
        """One sentence with all these facts."""
        return self.say_one(facts[0]) if len(facts) == 1 else self.say_many(facts)

    def say_one(self, fact: Fact) -> str:
        rng, lang, slots = self.rng, self.lang, self.slots[id(fact)]
        if rng.random() < 0.7:
            return fill(pick(rng, phrasing_of(fact, lang).says), slots)
        gap, stop = (" ", ".") if lang == "en" else ("", "。")
        lead = pick(rng, remarks.LEADS[lang]) if rng.random() < 0.7 else ""
        return sentence(lead + slots["e"] + gap + self.verb(fact) + stop)

    def say_many(self, facts: Sequence[Fact]) -> str:
        rng, lang, slots = self.rng, self.lang, self.slots[id(facts[0])]
        patterns = (remarks.PAIRS if len(facts) == 2 else remarks.TRIPLES)[lang]
        pattern = pick(rng, patterns)
        verbs = [self.verb(fact) for fact in facts]
        if lang == "zh":  # a predicate like 的老板是… must follow the name, and loses its 的 elsewhere
            pattern = pattern if "{e}{1}" in pattern or verbs[0][0] != "的" else patterns[0]
            verbs[1:] = [verb.removeprefix("的") for verb in verbs[1:]]
        who = "who" if facts[0].entity.kind in ("resident", "animal") else "which"
        text = pattern.replace("{1}", verbs[0]).replace("{2}", verbs[1]).replace("{3}", verbs[-1])
        return fill(text, {**slots, "who": who})

    def verb(self, fact: Fact) -> str:
        return pick(self.rng, phrasing_of(fact, self.lang).verbs).format_map(self.slots[id(fact)])

    def framed(self, name: str, body: Sequence[str], entity: Entity | None) -> str:
        frame = frames.FRAMES[name][self.lang]
        opening = self.dress(pick(self.rng, frame.openings), entity)
        closing = self.dress(pick(self.rng, frame.closings), entity)
        return join([part for part in (opening, *body, closing) if part], self.lang)

    def dress(self, template: str, entity: Entity | None = None, **names: str) -> str:
        """Fill the slots of a frame."""
        if "{" not in template:
            return template
        rng, lang = self.rng, self.lang
        day, weather = pick(rng, frames.DAYS[lang]), pick(rng, frames.WEATHER[lang])
        slots = {"t": TOWN_NAME[lang], "d": day, "w": weather, **names}
        if entity:
            trade = entity.trade.to(lang)
            slots |= {
                "e": entity.name.to(lang),
                "f": entity.family.to(lang),
                "k": f"{article(trade)} {trade}" if lang == "en" else trade,
            }
        return fill(template, slots)


def _groups(town: Town, kind: Kind) -> list[tuple[Entity, ...]]:
    """Families; places of a street; else neighbours in the list."""
    if kind == "place":
        streets: dict[str, list[Entity]] = {}
        for entity in town.of_kind(kind):
            streets.setdefault(town.fact(entity.id, "street").value.en, []).append(entity)
        return [tuple(entities) for entities in streets.values()]
    size = 4 if kind in ("resident", "train", "animal") else 3
    members = town.of_kind(kind)
    return [members[i : i + size] for i in range(0, len(members), size)]


def _columns(town: Town) -> dict[tuple[Kind, str], list[Fact]]:
    columns: dict[tuple[Kind, str], list[Fact]] = {}
    for fact in town.facts:
        columns.setdefault((fact.entity.kind, fact.attribute), []).append(fact)
    return columns
