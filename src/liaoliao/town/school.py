"""School exercises in talk: counting, comparing, spelling, days, opposites, translation.

"Count from 3 to 7." -> "3, 4, 5, 6, 7."
"""

from liaoliao.town import values
from liaoliao.town.blocks import Exchange, Speaker
from liaoliao.town.frames import DAYS
from liaoliao.town.lessons import OPPOSITES, SPELL_WORDS
from liaoliao.town.words import Both, article


def school(speaker: Speaker) -> Exchange:
    """Any one exercise."""
    return speaker.pick(
        (count, count, compare, compare, spell, spell, days, opposite, translate, translate, translate)
    )(speaker)


def count(speaker: Speaker) -> Exchange:
    """From one number to another."""
    low, length = speaker.number(0, 90), speaker.number(3, 7)
    numbers = [str(low + i) for i in range(length)]
    high = numbers[-1]
    if speaker.lang == "en":
        ask = speaker.pick(
            (
                f"Count from {low} to {high}.",
                f"Please count from {low} to {high}.",
                f"Say the numbers from {low} to {high}.",
            )
        )
        return Exchange.of(ask, ", ".join(numbers) + ".")
    ask = speaker.pick((f"从{low}数到{high}。", f"请从{low}数到{high}。", f"说出{low}到{high}的数。"))
    return Exchange.of(ask, "，".join(numbers) + "。")


def compare(speaker: Speaker) -> Exchange:
    """Two numbers."""
    one, other = speaker.rng.sample(range(1, 100), 2)
    large, small = max(one, other), min(one, other)
    if speaker.lang == "en":
        return Exchange.of(
            *speaker.pick(
                (
                    (f"Which is larger, {one} or {other}?", f"{large} is larger."),
                    (f"Which is smaller, {one} or {other}?", f"{small} is smaller."),
                    (
                        f"Is {one} more than {other}?",
                        f"Yes, {one} is more than {other}."
                        if one > other
                        else f"No, {one} is less than {other}.",
                    ),
                )
            )
        )
    return Exchange.of(
        *speaker.pick(
            (
                (f"{one}和{other}哪个大？", f"{large}更大。"),
                (f"{one}和{other}哪个小？", f"{small}更小。"),
                (
                    f"{one}比{other}大吗？",
                    f"是的，{one}比{other}大。" if one > other else f"不，{one}比{other}小。",
                ),
            )
        )
    )


def spell(speaker: Speaker) -> Exchange:
    """Letter by letter, or character by character."""
    if speaker.lang == "en":
        word = speaker.pick(SPELL_WORDS)
        ask = speaker.pick((f"Spell {word}.", f"How do you spell {word}?", f"Please spell the word {word}."))
        return Exchange.of(ask, "-".join(word) + ".")
    word = speaker.invent.word()
    ask, reply = speaker.pick(
        (
            (f"“{word}”的第一个字是什么？", f"第一个字是“{word[0]}”。"),
            (f"“{word}”最后一个字是什么？", f"最后一个字是“{word[-1]}”。"),
            (f"请把“{word}”一个字一个字地念出来。", "，".join(word) + "。"),
        )
    )
    return Exchange.of(ask, reply)


def days(speaker: Speaker) -> Exchange:
    """The day or month before or after."""
    months = speaker.chance(0.5)
    table = tuple(month.to(speaker.lang) for month in values.MONTHS) if months else DAYS[speaker.lang]
    i = speaker.number(0, len(table) - 1)
    day, after = table[i], table[(i + 1) % len(table)]
    if speaker.lang == "en":
        what = "month" if months else "day"
        return Exchange.of(
            *speaker.pick(
                (
                    (f"Which {what} comes after {day}?", f"After {day} comes {after}."),
                    (f"Which {what} is before {after}?", f"Before {after} is {day}."),
                )
            )
        )
    return Exchange.of(
        *speaker.pick(
            (
                (f"{day}的下一个是什么？", f"{day}过后是{after}。"),
                (f"{after}的前面是什么？", f"{after}前面是{day}。"),
            )
        )
    )


def opposite(speaker: Speaker) -> Exchange:
    """A word and its opposite."""
    one, other = speaker.pick(OPPOSITES[speaker.lang])
    if speaker.chance(0.5):
        one, other = other, one
    if speaker.lang == "en":
        return Exchange.of(
            speaker.pick((f"What is the opposite of {one}?", f"Tell me the opposite of {one}.")),
            f"The opposite of {one} is {other}.",
        )
    return Exchange.of(
        speaker.pick((f"“{one}”的反义词是什么？", f"请说出“{one}”的反义词。")),
        f"“{one}”的反义词是“{other}”。",
    )


# simple sentences with a slot {v}, for translation
_SENTENCES: tuple[tuple[Both, tuple[Both, ...]], ...] = (
    (Both("I like {v}.", "我喜欢{v}。"), values.FOODS),
    (Both("I want to eat {v}.", "我想吃{v}。"), values.FOODS),
    (Both("The {v} is in the garden.", "{v}在花园里。"), values.SPECIES),
    (Both("The {v} is sleeping.", "{v}在睡觉。"), values.SPECIES),
    (Both("The door is {v}.", "门是{v}的。"), values.DOORS),
    (Both("My hat is {v}.", "我的帽子是{v}的。"), values.DOORS),
    (Both("He is {a} {v}.", "他是一名{v}。"), values.JOBS),
    (Both("My mother is {a} {v}.", "我妈妈是一名{v}。"), values.JOBS),
    (Both("Is the {v} hungry?", "{v}饿了吗？"), values.SPECIES),
    (Both("I see a white {v}.", "我看见一{m}白色的{v}。"), values.SPECIES),
    (Both("Do you like {v}?", "你喜欢{v}吗？"), values.FOODS),
    (Both("Please bring {v}.", "请带{v}来。"), values.FOODS),
    (Both("My friend was born in {v}.", "我的朋友是{v}出生的。"), values.MONTHS),
    (Both("I live on {v}.", "我住在{v}。"), values.STREETS),
    (Both("Go to {v}.", "去{v}吧。"), values.STREETS),
    (Both("The {v} is my friend.", "那位{v}是我的朋友。"), values.JOBS),
    (Both("We meet in {v}.", "我们{v}见面。"), values.MONTHS),
    (Both("She enjoys {v}.", "她喜欢{v}。"), values.HOBBIES),
)


def translate(speaker: Speaker) -> Exchange:
    """A simple sentence into the other language; the talk itself stays in the speaker's."""
    pattern, table = speaker.pick(_SENTENCES)
    value = speaker.pick(table)
    english = pattern.en.format(v=value.en, a=article(value.en))
    chinese = pattern.zh.format(v=value.zh, m=values.MEASURES.get(value.zh, "只"))
    if speaker.lang == "en":
        return Exchange.of(
            speaker.pick((f"Translate into Chinese: {english}", f"Say in Chinese: {english}")), chinese
        )
    return Exchange.of(speaker.pick((f"翻译成英文：{chinese}", f"用英文怎么说：{chinese}")), english)
