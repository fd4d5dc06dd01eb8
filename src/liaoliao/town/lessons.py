"""Short lessons for the reading child: counting, days, spelling, comparing, seasons, sums.

They teach what drills and talks use. Read by `documents`.

    "Let us count from 3 to 8: 3, 4, 5, 6, 7, 8. ..."
"""

from collections.abc import Iterator, Mapping
from random import Random

from liaoliao.town.frames import DAYS
from liaoliao.town.values import MONTHS
from liaoliao.town.words import Lang, deal, join, pick

SPELL_WORDS = (
    "apple bread chair dance earth flower garden house island jacket kettle letter money north ocean paper "
    "queen river stone table under voice water young zebra bridge candle dinner engine forest goose honey "
    "ladder mirror needle onion pencil quiet rabbit silver teacup window"
).split()
SEASONS: Mapping[Lang, tuple[tuple[str, str], ...]] = {
    "en": (
        ("spring", "the snow melts and flowers open"),
        ("summer", "days are long and the river is warm"),
        ("autumn", "leaves turn red and apples are ripe"),
        ("winter", "snow falls and stoves are hot"),
    ),
    "zh": (
        ("春天", "雪化了，花开了"),
        ("夏天", "白天很长，河水很暖"),
        ("秋天", "树叶红了，苹果熟了"),
        ("冬天", "下雪了，炉子烧得很旺"),
    ),
}
OPPOSITES: Mapping[Lang, tuple[tuple[str, str], ...]] = {
    "en": (
        ("big", "small"),
        ("hot", "cold"),
        ("long", "short"),
        ("old", "young"),
        ("fast", "slow"),
        ("light", "heavy"),
        ("full", "empty"),
        ("open", "closed"),
        ("high", "low"),
        ("dry", "wet"),
        ("loud", "quiet"),
        ("early", "late"),
    ),
    "zh": (
        ("大", "小"),
        ("热", "冷"),
        ("长", "短"),
        ("老", "年轻"),
        ("快", "慢"),
        ("轻", "重"),
        ("满", "空"),
        ("开", "关"),
        ("高", "低"),
        ("干", "湿"),
        ("吵", "静"),
        ("早", "晚"),
    ),
}


def lessons(lang: Lang, rng: Random) -> Iterator[str]:
    """Endless lessons of four to six parts each."""
    parts = deal((_counting, _days, _spelling, _comparing, _seasons, _opposites, _sums), rng)
    while True:
        yield join([next(parts)(lang, rng) for _ in range(4 + int(rng.random() * 3))], lang)


def _counting(lang: Lang, rng: Random) -> str:
    start, step = rng.randrange(0, 60), pick(rng, (1, 1, 1, 2, 5, 10))
    numbers = [str(start + step * i) for i in range(rng.randrange(4, 9))]
    if lang == "en":
        lead = pick(
            rng, ("Let us count: ", "Count with me: ", f"In steps of {step}: ", f"Start at {start}: ")
        )
        return lead + ", ".join(numbers) + f". After {numbers[-2]} comes {numbers[-1]}."
    lead = pick(rng, ("我们来数数：", "跟我数：", f"每次加{step}：", f"从{start}数起："))
    return lead + "，".join(numbers) + f"。{numbers[-2]}后面是{numbers[-1]}。"


def _days(lang: Lang, rng: Random) -> str:
    table = DAYS[lang] if rng.random() < 0.5 else tuple(month.to(lang) for month in MONTHS)
    i = rng.randrange(len(table))
    day, after = table[i], table[(i + 1) % len(table)]
    if lang == "en":
        return pick(
            rng,
            (
                f"After {day} comes {after}.",
                f"{after} follows {day}.",
                f"Before {after} it is {day}.",
                f"First {day}, then {after}.",
            ),
        )
    return pick(
        rng,
        (
            f"{day}过后是{after}。",
            f"{after}在{day}后面。",
            f"{after}前面是{day}。",
            f"先是{day}，再是{after}。",
        ),
    )


def _spelling(lang: Lang, rng: Random) -> str:
    if lang == "en":
        word = pick(rng, SPELL_WORDS)
        letters = "-".join(word)
        return pick(
            rng,
            (
                f"The word {word} is spelled {letters}.",
                f"Spell {word}: {letters}.",
                f"{word.capitalize()} begins with {word[0]} and ends with {word[-1]}.",
            ),
        )
    from_table = pick(rng, SEASONS[lang] + OPPOSITES[lang])
    word = "".join(from_table)[:2].replace("，", "")
    return pick(
        rng,
        (
            f"“{word[0]}”字写在“{word}”的最前面。",
            f"“{word}”的第一个字是“{word[0]}”。",
            f"“{word}”最后一个字是“{word[-1]}”。",
        ),
    )


def _comparing(lang: Lang, rng: Random) -> str:
    small, large = sorted(rng.sample(range(1, 100), 2))
    if lang == "en":
        return pick(
            rng,
            (
                f"{large} is more than {small}.",
                f"{small} is less than {large}.",
                f"Of {small} and {large}, {large} is the larger number.",
                f"If you have {small} nuts and I have {large}, I have more.",
            ),
        )
    return pick(
        rng,
        (
            f"{large}比{small}大。",
            f"{small}比{large}小。",
            f"{small}和{large}相比，{large}更大。",
            f"你有{small}颗，我有{large}颗，我的多。",
        ),
    )


def _seasons(lang: Lang, rng: Random) -> str:
    name, signs = pick(rng, SEASONS[lang])
    if lang == "en":
        return pick(
            rng, (f"In {name} {signs}.", f"When {signs}, it is {name}.", f"You know {name} by this: {signs}.")
        )
    return pick(rng, (f"{name}到了，{signs}。", f"{signs}，{name}就来了。", f"{name}是这样的：{signs}。"))


def _opposites(lang: Lang, rng: Random) -> str:
    one, other = pick(rng, OPPOSITES[lang])
    if rng.random() < 0.5:
        one, other = other, one
    if lang == "en":
        return pick(
            rng,
            (
                f"The opposite of {one} is {other}.",
                f"What is not {one} may be {other}.",
                f"Not {one}? Then {other}.",
            ),
        )
    return pick(
        rng, (f"“{one}”的反义词是“{other}”。", f"不{one}，就是{other}。", f"“{one}”和“{other}”相反。")
    )


def _sums(lang: Lang, rng: Random) -> str:
    a, b = rng.randrange(1, 10), rng.randrange(1, 10)
    if lang == "en":
        return pick(
            rng,
            (
                f"{a} and {b} make {a + b}.",
                f"{a} plus {b} is {a + b}.",
                f"Take {a} from {a + b} and you have {b}.",
            ),
        )
    return pick(rng, (f"{a}加{b}得{a + b}。", f"{a}和{b}一共是{a + b}。", f"{a + b}减{a}剩{b}。"))
