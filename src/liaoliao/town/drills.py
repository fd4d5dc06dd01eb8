"""Drills: short exercises that teach copying from the context, before anything else is learned.

Words and names are made up, so nothing but copying helps. Some are plain texts (no roles), most are
conversations.

    "red: 7, blue: 12, green: 5. What is blue?" -> "12"
"""

from collections.abc import Callable, Iterator
from random import Random

from liaoliao.messages import Conversation
from liaoliao.town import values
from liaoliao.town.blocks import Exchange, Speaker
from liaoliao.town.sums import is_test_sum
from liaoliao.town.words import Lang, deal, join, listing
from liaoliao.town.world import build_town

Made = Exchange | str


def drills(lang: Lang, rng: Random) -> Iterator[Conversation | str]:
    """Endless drills of the training split."""
    speaker = Speaker(build_town(), lang, rng)
    makers: tuple[Callable[[Speaker], Made], ...] = (*CONVERSATIONS, *TEXTS)
    for maker in deal(makers, rng):
        speaker.invent.forget()
        made = maker(speaker)
        yield made if isinstance(made, str) else Conversation(made.messages)


def _say(speaker: Speaker, english: tuple[str, ...], chinese: tuple[str, ...], **slots: str) -> str:
    return speaker.pick(english if speaker.lang == "en" else chinese).format_map(slots)


def _comma(speaker: Speaker) -> str:
    return ", " if speaker.lang == "en" else "，"


def _words(speaker: Speaker, low: int, high: int) -> list[str]:
    make = speaker.pick((speaker.invent.word, speaker.invent.first_name, speaker.invent.animal))
    return [make() for _ in range(speaker.number(low, high))]


def repeat(speaker: Speaker) -> Exchange:
    """A word, a name, a number or a list, given back unchanged."""
    things: tuple[Callable[[], str], ...] = (
        lambda: _comma(speaker).join(_words(speaker, 2, 5)),
        lambda: str(speaker.number(0, 9999)),
        speaker.invent.person,
        speaker.invent.place,
    )
    thing = speaker.pick(things)()
    ask = _say(
        speaker,
        ("Repeat: {t}", "Say this again: {t}", "Please copy: {t}", "Write {t} once more."),
        ("重复：{t}", "请照抄：{t}", "再说一遍：{t}", "把{t}再写一次。"),
        t=thing,
    )
    return Exchange.of(ask, thing)


def key_value(speaker: Speaker) -> Exchange:
    """A few labels with values; one is asked."""
    keys = _keys(speaker)
    vals = _key_values(speaker, len(keys))
    i = speaker.number(0, len(keys) - 1)
    colon = ": " if speaker.lang == "en" else "："
    table = _comma(speaker).join(k + colon + v for k, v in zip(keys, vals, strict=True))
    if speaker.chance(0.25):
        ask = _say(
            speaker,
            ("{t}. Which one is {v}?", "{t}. What belongs to {v}?"),
            ("{t}。哪个是{v}？", "{t}。{v}对应哪个？"),
            t=table,
            v=vals[i],
        )
        return Exchange.of(ask, keys[i])
    ask = _say(
        speaker,
        ("{t}. What is {k}?", "{t}. Tell me {k}.", "{t}. And {k}?"),
        ("{t}。{k}是什么？", "{t}。请说出{k}。", "{t}。{k}呢？"),
        t=table,
        k=keys[i],
    )
    return Exchange.of(ask, vals[i])


def _key_values(speaker: Speaker, number: int) -> list[str]:
    """Different numbers, or different words."""
    if speaker.chance(0.6):
        return [str(n) for n in speaker.rng.sample(range(2, 100), number)]
    return [speaker.invent.word() for _ in range(number)]


def _keys(speaker: Speaker) -> list[str]:
    number = speaker.number(2, 5)
    if speaker.chance(0.3):
        return [value.to(speaker.lang) for value in speaker.rng.sample(values.DOORS, number)]
    return [speaker.invent.first_name() for _ in range(number)]


def place_in_list(speaker: Speaker) -> Exchange:
    """The first, the last, the one after or before another."""
    words = _words(speaker, 3, 6)
    i = speaker.number(0, len(words) - 2)
    t = _comma(speaker).join(words)
    kind = speaker.number(0, 3)
    if kind == 0:
        return Exchange.of(
            _say(
                speaker,
                ("{t}. Which comes first?", "What is the first one of {t}?"),
                ("{t}。第一个是什么？", "这些里面第一个是哪个：{t}？"),
                t=t,
            ),
            words[0],
        )
    if kind == 1:
        return Exchange.of(
            _say(
                speaker,
                ("{t}. Which comes last?", "What is the last one of {t}?"),
                ("{t}。最后一个是什么？", "这些里面最后一个是哪个：{t}？"),
                t=t,
            ),
            words[-1],
        )
    if kind == 2:
        return Exchange.of(
            _say(
                speaker,
                ("{t}. What comes after {w}?", "{t}. Who follows {w}?"),
                ("{t}。{w}后面是什么？", "{t}。{w}的下一个是什么？"),
                t=t,
                w=words[i],
            ),
            words[i + 1],
        )
    return Exchange.of(
        _say(speaker, ("{t}. What comes before {w}?",), ("{t}。{w}前面是什么？",), t=t, w=words[i + 1]),
        words[i],
    )


def copy_sum(speaker: Speaker) -> Exchange:
    """Digits copied into a sum as the calculator wants it."""
    while True:
        a, b, sign = speaker.number(2, 999), speaker.number(2, 999), speaker.pick("+-*")
        if not is_test_sum(a, sign, b):
            break
    word = {"en": {"+": "plus", "-": "minus", "*": "times"}, "zh": {"+": "加", "-": "减", "*": "乘以"}}[
        speaker.lang
    ][sign]
    gap = " " if speaker.lang == "en" else ""
    said = speaker.pick((f"{a}{gap}{word}{gap}{b}", f"{a} {sign} {b}"))
    return Exchange.of(
        _say(
            speaker,
            ("Write without spaces: {s}", "As a sum: {s}", "Write with signs: {s}"),
            ("写成算式：{s}", "去掉空格：{s}", "用符号写出：{s}"),
            s=said,
        ),
        f"{a}{sign}{b}",
    )


def spelling(speaker: Speaker) -> Exchange:
    """A made-up word letter by letter, or put together again."""
    word = speaker.invent.word() if speaker.lang == "en" else speaker.invent.word() + speaker.invent.word()
    letters = "-".join(word)
    if speaker.chance(0.5):
        return Exchange.of(
            _say(
                speaker,
                ("Spell {w}.", "Letter by letter: {w}"),
                ("一个字一个字写：{w}", "把{w}拆开。"),
                w=word,
            ),
            letters,
        )
    return Exchange.of(
        _say(
            speaker,
            ("Put together: {w}", "Which word is {w}?"),
            ("合在一起：{w}", "{w}连起来是什么？"),
            w=letters,
        ),
        word,
    )


def tiny_reading(speaker: Speaker) -> Exchange:
    """One or two sentences, one question, a short answer."""
    lang = speaker.lang
    people = [speaker.invent.first_name() for _ in range(speaker.number(1, 3))]
    patterns = TINY[lang]
    tell, ask, table = speaker.pick(patterns)
    vals = _tiny_values(speaker, table, len(people))
    told = [tell.format(n=n, v=v) for n, v in zip(people, vals, strict=True)]
    i = speaker.number(0, len(people) - 1)
    return Exchange.of(join([*told, ask.format(n=people[i])], lang), vals[i])


def _tiny_values(speaker: Speaker, table: str, number: int) -> list[str]:
    if table == "number":
        return [str(n) for n in speaker.rng.sample(range(2, 100), number)]
    if table == "word":
        return [speaker.invent.village() for _ in range(number)]
    tables = {"food": values.FOODS, "hobby": values.HOBBIES, "door": values.DOORS}
    return [value.to(speaker.lang) for value in speaker.rng.sample(tables[table], number)]


TINY: dict[Lang, tuple[tuple[str, str, str], ...]] = {
    "en": (
        ("{n} has {v} keys.", "How many keys does {n} have?", "number"),
        ("{n} lives in {v}.", "Where does {n} live?", "word"),
        ("{n} ate {v}.", "What did {n} eat?", "food"),
        ("{n} enjoys {v}.", "What does {n} enjoy?", "hobby"),
        ("The hat of {n} is {v}.", "What colour is the hat of {n}?", "door"),
        ("{n} walked to {v}.", "Where did {n} walk?", "word"),
        ("{n} is {v} years old.", "How old is {n}?", "number"),
        ("{n} paid {v} coins.", "How many coins did {n} pay?", "number"),
    ),
    "zh": (
        ("{n}有{v}把钥匙。", "{n}有几把钥匙？", "number"),
        ("{n}住在{v}。", "{n}住在哪里？", "word"),
        ("{n}吃了{v}。", "{n}吃了什么？", "food"),
        ("{n}喜欢{v}。", "{n}喜欢什么？", "hobby"),
        ("{n}的帽子是{v}。", "{n}的帽子是什么颜色？", "door"),
        ("{n}走到了{v}。", "{n}走到了哪里？", "word"),
        ("{n}今年{v}岁。", "{n}今年几岁？", "number"),
        ("{n}付了{v}元。", "{n}付了几元？", "number"),
    ),
}


def text_again(speaker: Speaker) -> str:
    """A list told twice, maybe three times."""
    words = _comma(speaker).join(_words(speaker, 3, 8))
    return (". " if speaker.lang == "en" else "。").join([words] * speaker.number(2, 3))


def text_table(speaker: Speaker) -> str:
    """Labels and values, then the same pairs in another order."""
    keys = [speaker.invent.first_name() for _ in range(speaker.number(3, 6))]
    pairs = [f"{key} {value}" for key, value in zip(keys, _key_values(speaker, len(keys)), strict=True)]
    again = speaker.rng.sample(pairs, len(pairs))
    stop = ". " if speaker.lang == "en" else "。"
    return stop.join(_comma(speaker).join(told) for told in (pairs, again))


def text_tale(speaker: Speaker) -> str:
    """Made-up people and what they did, told, then told again in another order."""
    lang = speaker.lang
    people = [speaker.invent.first_name() for _ in range(speaker.number(2, 4))]
    tell, _, table = speaker.pick(TINY[lang])
    vals = _tiny_values(speaker, table, len(people))
    told = [tell.format(n=n, v=v) for n, v in zip(people, vals, strict=True)]
    lead = listing(people, lang) + (":" if lang == "en" else "：")
    return join([lead, *told, *speaker.rng.sample(told, len(told))], lang)


CONVERSATIONS: tuple[Callable[[Speaker], Exchange], ...] = (
    repeat,
    repeat,
    key_value,
    key_value,
    key_value,
    place_in_list,
    place_in_list,
    copy_sum,
    copy_sum,
    spelling,
    tiny_reading,
    tiny_reading,
)
TEXTS: tuple[Callable[[Speaker], str], ...] = (text_again, text_table, text_tale)
