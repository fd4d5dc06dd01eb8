"""What the user tells about themselves, and asks back later.

"My name is Tavo." / "Nice to meet you, Tavo." ... "What is my name?" / "Your name is Tavo."
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from liaoliao.town import unknown, values
from liaoliao.town.blocks import Exchange, Speaker
from liaoliao.town.phrasing import fill
from liaoliao.town.words import RESERVED_SHARE, Both, Lang, article, join, reserved, share

Texts = Mapping[Lang, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Told:
    """A thing users tell: how its value is found, told, asked and told back. Slots {v}, {a}, {x}."""

    key: str
    type: str
    tells: Texts
    asks: Texts
    replies: Texts


TOLD: tuple[Told, ...] = (
    Told(
        "name",
        "name",
        {
            "en": ("My name is {v}.", "I am {v}.", "Call me {v}.", "People call me {v}."),
            "zh": ("我叫{v}。", "我的名字是{v}。", "我是{v}。", "叫我{v}就行。"),
        },
        {
            "en": ("What is my name?", "Who am I?", "Do you remember my name?", "What am I called?"),
            "zh": ("我叫什么？", "我的名字是什么？", "你记得我的名字吗？", "我是谁？"),
        },
        {"en": ("Your name is {v}.", "You are {v}."), "zh": ("你叫{v}。", "你的名字是{v}。")},
    ),
    Told(
        "count",
        "number",
        {
            "en": ("I have {v} {x}.", "There are {v} {x} in my yard.", "At home I keep {v} {x}."),
            "zh": ("我有{v}只{x}。", "我家院子里有{v}只{x}。", "我养了{v}只{x}。"),
        },
        {
            "en": ("How many {x} do I have?", "How many {x} are mine?", "What is the number of my {x}?"),
            "zh": ("我有几只{x}？", "我养了多少只{x}？", "我家有几只{x}？"),
        },
        {"en": ("You have {v} {x}.",), "zh": ("你有{v}只{x}。",)},
    ),
    Told(
        "food",
        "food",
        {
            "en": ("My favourite food is {v}.", "I love to eat {v}.", "I like {v} best of all foods."),
            "zh": ("我最爱吃{v}。", "我最喜欢的食物是{v}。", "我特别爱吃{v}。"),
        },
        {
            "en": ("What is my favourite food?", "What do I love to eat?", "Which food do I like best?"),
            "zh": ("我最爱吃什么？", "我最喜欢的食物是什么？", "我爱吃什么？"),
        },
        {
            "en": ("Your favourite food is {v}.", "You love {v}."),
            "zh": ("你最爱吃{v}。", "你最喜欢的食物是{v}。"),
        },
    ),
    Told(
        "job",
        "job",
        {
            "en": ("I work as {a} {v}.", "I am {a} {v}.", "My job is {v}."),
            "zh": ("我是一名{v}。", "我的职业是{v}。", "我当{v}。"),
        },
        {
            "en": ("What is my job?", "What do I work as?", "Which job do I have?"),
            "zh": ("我是做什么工作的？", "我的职业是什么？", "我干哪一行？"),
        },
        {"en": ("You work as {a} {v}.", "Your job is {v}."), "zh": ("你是一名{v}。", "你的职业是{v}。")},
    ),
    Told(
        "dog",
        "animal",
        {
            "en": ("My dog is called {v}.", "I have a dog named {v}.", "The name of my dog is {v}."),
            "zh": ("我的狗叫{v}。", "我有一条狗，名叫{v}。", "我家的狗名字叫{v}。"),
        },
        {
            "en": ("What is my dog called?", "What is the name of my dog?", "Do you remember my dog's name?"),
            "zh": ("我的狗叫什么？", "我的狗叫什么名字？", "你记得我的狗叫什么吗？"),
        },
        {
            "en": ("Your dog is called {v}.", "The name of your dog is {v}."),
            "zh": ("你的狗叫{v}。", "你的狗名叫{v}。"),
        },
    ),
    Told(
        "village",
        "village",
        {
            "en": ("I come from {v}.", "I live in {v}.", "My home is {v}."),
            "zh": ("我是{v}人。", "我从{v}来。", "我的老家是{v}。"),
        },
        {
            "en": ("Where do I come from?", "What place am I from?", "Where is my home?"),
            "zh": ("我是哪里人？", "我从哪里来？", "我的老家是哪里？"),
        },
        {"en": ("You come from {v}.", "Your home is {v}."), "zh": ("你是{v}人。", "你从{v}来。")},
    ),
    Told(
        "hobby",
        "hobby",
        {
            "en": ("My hobby is {v}.", "I enjoy {v}.", "In my free time I like {v}."),
            "zh": ("我的爱好是{v}。", "我有空就{v}。", "我喜欢{v}。"),
        },
        {
            "en": ("What is my hobby?", "What do I enjoy?", "What do I like in my free time?"),
            "zh": ("我的爱好是什么？", "我有空喜欢做什么？", "我有什么爱好？"),
        },
        {"en": ("Your hobby is {v}.", "You enjoy {v}."), "zh": ("你的爱好是{v}。", "你喜欢{v}。")},
    ),
    Told(
        "sister",
        "name",
        {
            "en": ("My sister is called {v}.", "I have a sister named {v}.", "My sister's name is {v}."),
            "zh": ("我妹妹叫{v}。", "我有个妹妹叫{v}。", "我妹妹的名字是{v}。"),
        },
        {
            "en": (
                "What is my sister called?",
                "What is my sister's name?",
                "Do you remember my sister's name?",
            ),
            "zh": ("我妹妹叫什么？", "我妹妹的名字是什么？", "你记得我妹妹叫什么吗？"),
        },
        {
            "en": ("Your sister is called {v}.", "Your sister's name is {v}."),
            "zh": ("你妹妹叫{v}。", "你妹妹的名字是{v}。"),
        },
    ),
    Told(
        "train",
        "time",
        {
            "en": ("My train leaves at {v}.", "I must catch a train at {v}.", "I take the train at {v}."),
            "zh": ("我的火车{v}开。", "我要赶{v}的火车。", "我坐{v}的火车。"),
        },
        {
            "en": (
                "When does my train leave?",
                "What time is my train?",
                "At what time must I catch my train?",
            ),
            "zh": ("我的火车几点开？", "我要赶几点的火车？", "我坐几点的火车？"),
        },
        {
            "en": ("Your train leaves at {v}.", "Your train is at {v}."),
            "zh": ("你的火车{v}开。", "你坐{v}的火车。"),
        },
    ),
    Told(
        "brother",
        "number",
        {
            "en": (
                "My brother is {v} years old.",
                "I have a brother of {v} years.",
                "My brother turned {v} today.",
            ),
            "zh": ("我弟弟{v}岁。", "我有个弟弟，今年{v}岁。", "我弟弟今天满{v}岁。"),
        },
        {
            "en": (
                "How old is my brother?",
                "What is my brother's age?",
                "Do you remember how old my brother is?",
            ),
            "zh": ("我弟弟几岁？", "我弟弟多大了？", "你记得我弟弟几岁吗？"),
        },
        {"en": ("Your brother is {v} years old.",), "zh": ("你弟弟{v}岁。", "你弟弟今年{v}岁。")},
    ),
    Told(
        "cat",
        "animal",
        {
            "en": ("My cat is called {v}.", "I have a cat named {v}.", "My cat's name is {v}."),
            "zh": ("我的猫叫{v}。", "我有一只猫，名叫{v}。", "我家的猫名字叫{v}。"),
        },
        {
            "en": ("What is my cat called?", "What is my cat's name?", "Do you remember my cat's name?"),
            "zh": ("我的猫叫什么？", "我的猫叫什么名字？", "你记得我的猫叫什么吗？"),
        },
        {
            "en": ("Your cat is called {v}.", "Your cat's name is {v}."),
            "zh": ("你的猫叫{v}。", "你的猫名叫{v}。"),
        },
    ),
    Told(
        "colour",
        "door",
        {
            "en": ("My favourite colour is {v}.", "The colour I love is {v}.", "I like the colour {v} best."),
            "zh": ("我最喜欢的颜色是{v}。", "颜色里我最爱{v}。", "{v}是我最喜欢的颜色。"),
        },
        {
            "en": (
                "What is my favourite colour?",
                "Which colour do I like best?",
                "Do you remember my colour?",
            ),
            "zh": ("我最喜欢什么颜色？", "我喜欢的颜色是什么？", "你记得我喜欢什么颜色吗？"),
        },
        {
            "en": ("Your favourite colour is {v}.", "You like {v} best."),
            "zh": ("你最喜欢的颜色是{v}。", "你最喜欢{v}。"),
        },
    ),
    Told(
        "teacher",
        "person",
        {
            "en": ("My teacher is {v}.", "I am in the class of {v}.", "{v} teaches me."),
            "zh": ("我的老师是{v}。", "我在{v}老师的班上。", "教我的老师叫{v}。"),
        },
        {
            "en": ("Who is my teacher?", "What is the name of my teacher?", "Who teaches me?"),
            "zh": ("我的老师是谁？", "我的老师叫什么？", "谁教我？"),
        },
        {"en": ("Your teacher is {v}.",), "zh": ("你的老师是{v}。",)},
    ),
    Told(
        "money",
        "price",
        {
            "en": ("I have saved {v}.", "There are {v} in my purse.", "My money comes to {v}."),
            "zh": ("我存了{v}。", "我的钱包里有{v}。", "我一共有{v}。"),
        },
        {
            "en": ("How much have I saved?", "How much money do I have?", "What is in my purse?"),
            "zh": ("我存了多少钱？", "我的钱包里有多少钱？", "我一共有多少钱？"),
        },
        {"en": ("You have saved {v}.", "You have {v}."), "zh": ("你存了{v}。", "你有{v}。")},
    ),
    Told(
        "room",
        "number",
        {
            "en": ("I am in room {v}.", "My room number is {v}.", "They gave me room {v}."),
            "zh": ("我住{v}号房。", "我的房间是{v}号。", "他们给了我{v}号房。"),
        },
        {
            "en": ("Which room am I in?", "What is my room number?", "Which room did they give me?"),
            "zh": ("我住几号房？", "我的房间是几号？", "他们给了我几号房？"),
        },
        {
            "en": ("You are in room {v}.", "Your room number is {v}."),
            "zh": ("你住{v}号房。", "你的房间是{v}号。"),
        },
    ),
)
_TABLES: Mapping[str, Sequence[Both]] = {
    "food": values.FOODS,
    "job": values.JOBS,
    "hobby": values.HOBBIES,
    "door": values.DOORS,
}
COUNTED: Mapping[Lang, tuple[str, ...]] = {
    "en": ("hens", "cats", "ducks", "sheep", "rabbits", "goats", "parrots", "geese"),
    "zh": ("母鸡", "猫", "鸭子", "绵羊", "兔子", "山羊", "鹦鹉", "鹅"),
}
ACKS: Texts = {
    "en": (
        "Good to know.",
        "Nice, thank you for telling me.",
        "I will remember that.",
        "How nice.",
        "All right.",
        "I see.",
    ),
    "zh": ("好的，我记住了。", "知道了，谢谢你告诉我。", "真好。", "好的。", "明白了。", "我会记得的。"),
}
BETWEEN: Mapping[Lang, tuple[tuple[str, str], ...]] = {
    "en": (
        ("It is a fine day.", "Yes, a very fine day."),
        ("I am a little tired.", "Then take a short rest."),
        ("Can you wait a moment?", "Of course, take your time."),
        ("I am back.", "Welcome back."),
        ("Thank you.", "You are welcome."),
        ("Let us talk a bit.", "Gladly."),
    ),
    "zh": (
        ("今天天气不错。", "是啊，天气真好。"),
        ("我有点累了。", "那就休息一会儿吧。"),
        ("你能等一下吗？", "当然可以，慢慢来。"),
        ("我回来了。", "欢迎回来。"),
        ("谢谢你。", "不客气。"),
        ("我们聊聊吧。", "好啊。"),
    ),
}


def told(speaker: Speaker) -> list[Exchange]:
    """The user tells one to three things, maybe chats a little, then asks one or two of them back."""
    number = 1 + int(speaker.rng.random() * 3)
    things = speaker.rng.sample(TOLD, number)
    slots = [_slots(speaker, thing) for thing in things]
    turns = _telling(speaker, things, slots)
    if speaker.chance(0.3):
        turns.append(Exchange.of(*speaker.pick(BETWEEN[speaker.lang])))
    i = speaker.number(0, number - 1)
    turns.append(_asking(speaker, things[i], slots[i], slots))
    if number > 1 and speaker.chance(0.35) and not speaker.test:
        j = (i + 1) % number
        turns.append(_asking(speaker, things[j], slots[j], slots))
    return turns


def not_told(speaker: Speaker) -> Exchange:
    """The question without the telling."""
    thing = speaker.pick(TOLD)
    return Exchange.of(
        fill(speaker.pick(thing.asks[speaker.lang]), _slots(speaker, thing)),
        speaker.pick(unknown.NOT_TOLD[speaker.lang]),
    )


def _telling(speaker: Speaker, things: Sequence[Told], slots: Sequence[Mapping[str, str]]) -> list[Exchange]:
    lang = speaker.lang
    said = [
        fill(speaker.pick(thing.tells[lang]), values_) for thing, values_ in zip(things, slots, strict=True)
    ]
    if speaker.chance(0.5):
        return [Exchange.of(join(said, lang), speaker.pick(ACKS[lang]))]
    return [Exchange.of(text, speaker.pick(ACKS[lang])) for text in said]


def _asking(
    speaker: Speaker, thing: Told, slots: Mapping[str, str], all_slots: Sequence[Mapping[str, str]]
) -> Exchange:
    question, reply = (
        fill(speaker.pick(texts[speaker.lang]), slots) for texts in (thing.asks, thing.replies)
    )
    others = tuple(other["v"] for other in all_slots if other["v"] != slots["v"])
    return Exchange.of(question, reply, answer=slots["v"], others=others)


def _slots(speaker: Speaker, thing: Told) -> dict[str, str]:
    value = _value(speaker, thing)
    return {"v": value, "a": article(value), "x": speaker.pick(COUNTED[speaker.lang])}


def _value(speaker: Speaker, thing: Told) -> str:
    """A value of the thing's type; names are split by name, the others by (thing, value)."""
    makers: Mapping[str, Callable[[], str]] = {
        "name": speaker.invent.first_name,
        "animal": speaker.invent.animal,
        "village": speaker.invent.village,
        "person": speaker.invent.person,
    }
    if thing.type in makers:
        return makers[thing.type]()
    if thing.type in _TABLES:
        return speaker.pick(_side(thing.key, thing.type, speaker.test)).to(speaker.lang)
    while True:
        value = _number(speaker, thing.type)
        if reserved(f"told/{thing.key}/{value}") == speaker.test:
            return value


def _number(speaker: Speaker, kind: str) -> str:
    if kind == "time":
        return f"{speaker.number(5, 22)}:{speaker.number(0, 11) * 5:02d}"
    number = speaker.number(2, 99)
    if kind == "price":
        return f"{number} coins" if speaker.lang == "en" else f"{number}元"
    return str(number)


@cache
def _side(key: str, kind: str, test: bool) -> tuple[Both, ...]:
    """The values of one side of the split: the test has the few of the smallest hash."""
    ranked = sorted(_TABLES[kind], key=lambda value: share(f"told/{key}/{value.en}"))
    cut = max(3, round(RESERVED_SHARE * len(ranked)))
    return tuple(ranked[:cut] if test else ranked[cut:])
