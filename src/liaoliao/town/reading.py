"""Reading: a short text about made-up people and places, then questions on it.

Fields of one type stand side by side (two times of one shop, the jobs of two people), so a right answer
must match both the name and the attribute.

    "Notice. The Rusty Anchor opens at 8:05. The Rusty Anchor closes at 19:40. When does it close?"
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from liaoliao.town import unknown, values
from liaoliao.town.blocks import Exchange, Speaker
from liaoliao.town.frames import DAYS
from liaoliao.town.phrasing import fill
from liaoliao.town.reading_kinds import Field, Kinds
from liaoliao.town.reading_notices import NOTICES
from liaoliao.town.reading_stories import STORIES
from liaoliao.town.words import Both, Lang, article, join

ITEMS = tuple(
    Both(en, zh)
    for en, zh in (
        ("silver ring", "银戒指"),
        ("leather glove", "皮手套"),
        ("umbrella", "雨伞"),
        ("wooden flute", "木笛"),
        ("red scarf", "红围巾"),
        ("pocket watch", "怀表"),
        ("straw hat", "草帽"),
        ("brass key", "铜钥匙"),
        ("picture book", "图画书"),
        ("tea cup", "茶杯"),
        ("walking stick", "手杖"),
        ("paper lantern", "纸灯笼"),
        ("violin bow", "琴弓"),
        ("lunch box", "饭盒"),
        ("fur cap", "皮帽"),
        ("sewing kit", "针线包"),
    )
)
_DAYS = tuple(Both(en, zh) for en, zh in zip(DAYS["en"], DAYS["zh"], strict=True))
_SKIES = tuple(
    Both(en, zh)
    for en, zh in (
        ("clear", "晴天"),
        ("grey", "阴天"),
        ("rainy", "下雨"),
        ("windy", "刮风"),
        ("foggy", "大雾"),
        ("stormy", "雷雨"),
        ("snowy", "下雪"),
        ("cloudy", "多云"),
        ("dry", "干燥"),
        ("wet", "潮湿"),
    )
)
_THEMES = tuple(
    Both(en, zh)
    for en, zh in (
        ("bees", "蜜蜂"),
        ("ships", "帆船"),
        ("stars", "星空"),
        ("trees", "树木"),
        ("kings", "国王"),
        ("cheese", "奶酪"),
        ("clocks", "钟表"),
        ("whales", "鲸鱼"),
        ("bridges", "桥梁"),
        ("dragons", "恶龙"),
        ("maps", "地图"),
        ("volcanoes", "火山"),
        ("shells", "贝壳"),
        ("castles", "城堡"),
    )
)
_INSTRUMENTS = tuple(
    Both(en, zh)
    for en, zh in (
        ("violin", "小提琴"),
        ("flute", "长笛"),
        ("drum", "大鼓"),
        ("trumpet", "小号"),
        ("harp", "竖琴"),
        ("guitar", "吉他"),
        ("piano", "钢琴"),
        ("cello", "大提琴"),
        ("organ", "风琴"),
        ("banjo", "班卓琴"),
        ("tuba", "大号"),
        ("bell", "编钟"),
    )
)
_TABLES: Mapping[str, Sequence[Both]] = {
    "job": values.JOBS,
    "food": values.FOODS,
    "species": values.SPECIES,
    "coat": values.COATS,
    "item": ITEMS,
    "door": values.DOORS,
    "hobby": values.HOBBIES,
    "day": _DAYS,
    "sky": _SKIES,
    "theme": _THEMES,
    "instrument": _INSTRUMENTS,
}
_HOURS: Mapping[str, tuple[int, int]] = {"morning": (5, 13), "time": (9, 20), "evening": (15, 22)}
KINDS: Kinds = {**NOTICES, **STORIES}
_ORDERS: Mapping[Lang, tuple[str, ...]] = {
    "en": ("{t}\n{q}", "Read this: {t}\n{q}", "{t} {q}", "{q}\n{t}", "Here is a text. {t} {q}"),
    "zh": ("{t}\n{q}", "请读：{t}\n{q}", "{t}{q}", "{q}\n{t}", "有一段话：{t}{q}"),
}


# most texts are about one person or place; with more, names must be matched too
NUM_SUBJECTS = (1, 1, 1, 2, 2, 3)
UNANSWERED_SHARE = 0.35  # of the training texts come with a question that they do not answer


@dataclass(frozen=True, slots=True)
class Record:
    """One stated thing of a text."""

    subject: str
    field: Field
    value: str


def readings(speaker: Speaker) -> list[Exchange]:
    """A text with its first question, one to four more on it; sometimes one it does not answer."""
    unanswered = speaker.chance(UNANSWERED_SHARE)
    text, records, missing = _text(speaker, drop=unanswered)
    asked = speaker.rng.sample(records, min(len(records), speaker.pick((2, 3, 4, 5))))
    turns = [_question(speaker, record, records) for record in asked]
    if unanswered and missing:
        turns[speaker.number(0, len(turns) - 1)] = _unanswered(speaker, missing)
    return [_with_text(speaker, text, turns[0]), *turns[1:]]


def one_reading(speaker: Speaker) -> Exchange:
    """A text and one answerable question."""
    text, records, _ = _text(speaker)
    return _with_text(speaker, text, _question(speaker, speaker.pick(records), records))


def unanswered_reading(speaker: Speaker) -> Exchange:
    """A text and a question that it does not answer."""
    while True:
        text, _, missing = _text(speaker, drop=True)
        if missing:
            return _with_text(speaker, text, _unanswered(speaker, missing))


def _text(speaker: Speaker, *, drop: bool = False) -> tuple[str, list[Record], tuple[str, Field] | None]:
    """A text, what it states, and a (subject, field) it leaves out or None."""
    kind = KINDS[speaker.pick(tuple(KINDS))][speaker.lang]
    low, high = kind.number
    number = max(low, min(high, speaker.pick(NUM_SUBJECTS)))
    subjects = [getattr(speaker.invent, kind.subject)() for _ in range(number)]
    used: set[str] = set()
    records = [
        Record(subject, field, _value(speaker, field.type, used))
        for subject in subjects
        for field in kind.fields
    ]
    missing = None
    if drop or speaker.chance(0.3):
        left_out = records.pop(speaker.number(0, len(records) - 1))
        missing = (left_out.subject, left_out.field)
    if speaker.chance(0.5):
        speaker.rng.shuffle(records)
    said = [fill(speaker.pick(record.field.says), _slots(record)) for record in records]
    return join([speaker.pick(kind.openings), *said], speaker.lang), records, missing


def _question(speaker: Speaker, record: Record, records: Sequence[Record]) -> Exchange:
    slots = _slots(record)
    alike = [other for other in records if other.field.type == record.field.type]
    others = tuple(other.value for other in alike if other is not record)
    return Exchange.of(
        fill(speaker.pick(record.field.asks), slots),
        fill(record.field.says[0], slots),
        answer=record.value,
        others=others,
        names=(record.subject,),
    )


def _unanswered(speaker: Speaker, missing: tuple[str, Field]) -> Exchange:
    """The reply begins as an answer would and breaks off where the value should stand.

    There it is told most surely that the text has none: the words that lead to the value have just been said.
    """
    subject, field = missing
    slots = {"s": subject}
    reply = speaker.pick(unknown.NOT_IN_TEXT[speaker.lang]).format(lead=fill(field.lead, slots))
    return Exchange.of(fill(speaker.pick(field.asks), slots), reply, refusal=True)


def _with_text(speaker: Speaker, text: str, turn: Exchange) -> Exchange:
    user = speaker.pick(_ORDERS[speaker.lang]).format(t=text, q=turn.user)
    return Exchange(user, turn.replies, turn.answer, turn.others, turn.names, turn.refusal)


def _slots(record: Record) -> dict[str, str]:
    value = record.value
    a = article(value) if value.isascii() else values.MEASURES.get(value, "只")
    return {"s": record.subject, "v": value, "a": a}


def _value(speaker: Speaker, kind: str, used: set[str]) -> str:
    """A value of the type that the text has not used yet."""
    while True:
        value = _any_value(speaker, kind)
        if value not in used:
            used.add(value)
            return value


def _any_value(speaker: Speaker, kind: str) -> str:
    if kind in _HOURS:
        return f"{speaker.number(*_HOURS[kind])}:{speaker.number(0, 11) * 5:02d}"
    match kind:
        case "price":
            number = speaker.number(2, 99)
            return f"{number} coins" if speaker.lang == "en" else f"{number}元"
        case "number":
            return str(speaker.number(2, 99))
        case "degrees":
            return str(speaker.number(2, 38))
        case "person":
            return speaker.invent.person()
        case "village":
            return speaker.invent.village()
    return speaker.pick(_TABLES[kind]).to(speaker.lang)
