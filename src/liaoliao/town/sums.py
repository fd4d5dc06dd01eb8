"""Sums for the calculator: bare ones and little word problems.

The operand pairs of test questions are chosen by hash and never met in training.

    "What is 47 + 38?" -> calculator {"expression": "47+38"} -> "85" -> "47 + 38 is 85."
"""

from collections.abc import Mapping
from dataclasses import dataclass

from liaoliao.town.blocks import Exchange, Speaker, tool_replies
from liaoliao.town.phrasing import fill
from liaoliao.town.tools import calculate
from liaoliao.town.words import Lang, reserved

_ASKS: Mapping[Lang, tuple[str, ...]] = {
    "en": (
        "What is {x}?",
        "How much is {x}?",
        "Please work out {x}.",
        "Calculate {x}.",
        "{x} = ?",
        "Can you tell me what {x} is?",
        "What does {x} make?",
        "I need {x}.",
    ),
    "zh": (
        "{x}等于多少？",
        "{x}是多少？",
        "请计算{x}。",
        "算一下{x}。",
        "{x}=？",
        "你能算出{x}吗？",
        "{x}得多少？",
        "帮我算算{x}。",
    ),
}
_SIGNS: Mapping[Lang, Mapping[str, tuple[str, ...]]] = {
    "en": {"+": (" + ", "+", " plus "), "-": (" - ", "-", " minus "), "*": (" * ", "*", " times ")},
    "zh": {"+": ("+", " + ", "加"), "-": ("-", " - ", "减"), "*": ("*", " * ", "乘以")},
}
_REPLIES: Mapping[Lang, tuple[str, ...]] = {
    "en": ("The answer is {r}.", "That makes {r}.", "It is {r}.", "{s} is {r}."),
    "zh": ("答案是{r}。", "结果是{r}。", "等于{r}。", "{s}等于{r}。"),
}
_THINGS: Mapping[Lang, tuple[str, ...]] = {
    "en": (
        "apples",
        "nuts",
        "stamps",
        "buttons",
        "eggs",
        "coins",
        "shells",
        "candles",
        "marbles",
        "pears",
        "books",
        "cards",
    ),
    "zh": (
        "个苹果",
        "颗核桃",
        "张邮票",
        "颗纽扣",
        "个鸡蛋",
        "枚硬币",
        "个贝壳",
        "支蜡烛",
        "颗弹珠",
        "个梨",
        "本书",
        "张卡片",
    ),
}


@dataclass(frozen=True, slots=True)
class Problem:
    """A kind of word problem: its expression and its wordings, each ending in a question."""

    expression: str
    texts: Mapping[Lang, tuple[str, ...]]
    replies: Mapping[Lang, tuple[str, ...]]


_LEFT: Mapping[Lang, tuple[str, ...]] = {
    "en": ("{r} {x} are left.", "There are {r} {x} left."),
    "zh": ("还剩{r}{x}。", "剩下{r}{x}。"),
}
_TOTAL: Mapping[Lang, tuple[str, ...]] = {
    "en": ("That is {r} {x}.", "It makes {r} {x} in all."),
    "zh": ("一共有{r}{x}。", "总共是{r}{x}。"),
}
_COINS: Mapping[Lang, tuple[str, ...]] = {
    "en": ("It costs {r} coins.", "That is {r} coins in all."),
    "zh": ("一共{r}元。", "总共要{r}元。"),
}
_REST: Mapping[Lang, tuple[str, ...]] = {
    "en": ("{r} are left.", "There are {r} left."),
    "zh": ("还剩{r}。", "剩下{r}。"),
}
_DAYS: Mapping[Lang, tuple[str, ...]] = {
    "en": ("That is {r} days.", "It is {r} days in all."),
    "zh": ("一共{r}天。", "总共是{r}天。"),
}

PROBLEMS: tuple[Problem, ...] = (
    Problem(
        "{a}+{b}",
        {
            "en": (
                "{n} has {a} {x} and finds {b} more. How many {x} are there now?",
                "There are {a} {x} on the table and {b} in the box. How many {x} in all?",
                "{n} brings {a} {x}, {m} brings {b}. How many {x} do they have together?",
                "I had {a} {x} and got {b} {x} today. How many have I now?",
            ),
            "zh": (
                "{n}有{a}{x}，又找到{b}{x}。现在一共有多少？",
                "桌上有{a}{x}，盒里有{b}{x}。一共有多少？",
                "{n}带来{a}{x}，{m}带来{b}{x}。他们一共有多少？",
                "我原来有{a}{x}，今天又得到{b}{x}。现在有多少？",
            ),
        },
        _TOTAL,
    ),
    Problem(
        "{a}-{b}",
        {
            "en": (
                "{n} has {a} {x} and gives away {b}. How many are left?",
                "Of {a} {x}, {b} were sold. How many {x} are left?",
                "There were {a} {x} in the basket. {n} took {b}. How many are left?",
                "I had {a} {x} and lost {b}. How many have I left?",
            ),
            "zh": (
                "{n}有{a}{x}，送出{b}{x}。还剩多少？",
                "一共{a}{x}，卖掉了{b}{x}。还剩多少？",
                "篮子里有{a}{x}，{n}拿走{b}{x}。还剩多少？",
                "我有{a}{x}，丢了{b}{x}。还剩多少？",
            ),
        },
        _LEFT,
    ),
    Problem(
        "{a}*{b}",
        {
            "en": (
                "{n} buys {a} boxes with {b} {x} in each. How many {x} is that?",
                "There are {a} bags. Each bag holds {b} {x}. How many {x} in all?",
                "{a} children bring {b} {x} each. How many {x} are there?",
            ),
            "zh": (
                "{n}买了{a}盒，每盒{b}{x}。一共有多少？",
                "有{a}个袋子，每袋装{b}{x}。一共有多少？",
                "{a}个孩子每人带来{b}{x}。一共有多少？",
            ),
        },
        _TOTAL,
    ),
    Problem(
        "{a}*{b}",
        {
            "en": (
                "One ticket costs {a} coins. What do {b} tickets cost?",
                "{n} pays {a} coins a night and stays {b} nights. How many coins is that?",
                "A cake is {a} coins. {n} wants {b} cakes. What do they cost?",
            ),
            "zh": (
                "一张票{a}元，{b}张票多少钱？",
                "住一晚{a}元，{n}住了{b}晚。一共多少钱？",
                "一块蛋糕{a}元，{n}要{b}块。一共多少钱？",
            ),
        },
        _COINS,
    ),
    Problem(
        "{a}*{b}+{c}",
        {
            "en": (
                "{n} has {a} boxes with {b} {x} each and {c} more {x}. How many {x} in all?",
                "{a} bags hold {b} {x} each, and {c} {x} lie on the floor. How many {x} are there?",
            ),
            "zh": (
                "{n}有{a}盒，每盒{b}{x}，另外还有{c}{x}。一共有多少？",
                "{a}个袋子每袋{b}{x}，地上还有{c}{x}。一共有多少？",
            ),
        },
        _TOTAL,
    ),
    Problem(
        "{a}*{b}-{c}",
        {
            "en": (
                "{n} packs {a} boxes with {b} {x} each and gives away {c}. How many {x} are left?",
                "There were {a} bags of {b} {x}. The mice took {c}. How many are left?",
            ),
            "zh": (
                "{n}装了{a}盒，每盒{b}{x}，又送出{c}{x}。还剩多少？",
                "原来有{a}袋，每袋{b}{x}，老鼠偷走{c}{x}。还剩多少？",
            ),
        },
        _LEFT,
    ),
    Problem(
        "{a}-{b}",
        {
            "en": (
                "The book has {a} pages. {n} has read {b}. How many pages are left?",
                "The road is {a} miles long. {n} has walked {b} miles. How many miles are left?",
            ),
            "zh": ("一本书有{a}页，{n}读了{b}页。还剩多少页？", "路长{a}里，{n}走了{b}里。还剩多少里？"),
        },
        _REST,
    ),
    Problem(
        "{a}+{b}",
        {
            "en": (
                "{n} works {a} days in spring and {b} days in autumn. How many days is that?",
                "The first part takes {a} days, the second {b} days. How many days in all?",
            ),
            "zh": (
                "{n}春天干了{a}天，秋天干了{b}天。一共多少天？",
                "前一半用了{a}天，后一半用了{b}天。一共多少天？",
            ),
        },
        _DAYS,
    ),
    Problem(
        "{a}+{b}+{c}",
        {
            "en": (
                "{n} found {a} {x} on Monday, {b} on Tuesday and {c} on Friday. How many {x} in all?",
                "There are {a} {x} here, {b} there and {c} under the bed. How many {x} are there?",
            ),
            "zh": (
                "{n}星期一找到{a}{x}，星期二{b}{x}，星期五{c}{x}。一共有多少？",
                "这里有{a}{x}，那里有{b}{x}，床下有{c}{x}。一共有多少？",
            ),
        },
        _TOTAL,
    ),
    Problem(
        "{a}+{b}-{c}",
        {
            "en": (
                "{n} had {a} {x}, got {b} more and then sold {c}. How many are left?",
                "In the shop were {a} {x}. {b} came in and {c} went out. How many {x} are left?",
            ),
            "zh": (
                "{n}有{a}{x}，又得到{b}{x}，后来卖掉{c}{x}。还剩多少？",
                "店里有{a}{x}，进了{b}{x}，卖了{c}{x}。还剩多少？",
            ),
        },
        _LEFT,
    ),
)


def sums(speaker: Speaker) -> Exchange:
    """A bare sum or a word problem, answered through the calculator."""
    return bare_sum(speaker) if speaker.chance(0.6) else word_problem(speaker)


def bare_sum(speaker: Speaker) -> Exchange:
    """Two numbers and a sign."""
    lang, sign = speaker.lang, speaker.pick("+-*")
    while True:
        a, b = _operands(speaker, sign)
        if is_test_sum(a, sign, b) == speaker.test:
            break
    said = f"{a}{speaker.pick(_SIGNS[lang][sign])}{b}"
    expression = f"{a}{sign}{b}"
    return _calculated(
        speaker,
        fill(speaker.pick(_ASKS[lang]), {"x": said}),
        expression,
        speaker.pick(_REPLIES[lang]),
        {"s": said},
    )


def word_problem(speaker: Speaker) -> Exchange:
    """A little story with one or two operations."""
    lang = speaker.lang
    while True:
        problem = speaker.pick(PROBLEMS)
        a, b = _operands(speaker, "*" if "*" in problem.expression else problem.expression[3])
        c = speaker.number(2, min(a * b if "*" in problem.expression else a + b, 60))
        expression = problem.expression.format(a=a, b=b, c=c)
        sign = problem.expression[3]
        if a > 1 and b > 1 and is_test_sum(a, sign, b) == speaker.test:
            break
    slots = {
        "a": str(a),
        "b": str(b),
        "c": str(c),
        "x": speaker.pick(_THINGS[lang]),
        "n": speaker.invent.first_name(),
        "m": speaker.invent.first_name(),
    }
    return _calculated(
        speaker,
        fill(speaker.pick(problem.texts[lang]), slots),
        expression,
        speaker.pick(problem.replies[lang]),
        slots,
    )


def _calculated(
    speaker: Speaker, question: str, expression: str, reply: str, slots: Mapping[str, str]
) -> Exchange:
    result = calculate(expression)
    replies = tool_replies(
        "calculator", {"expression": expression}, result, fill(reply, {**slots, "r": result})
    )
    return Exchange(question, replies, answer=result)


def _operands(speaker: Speaker, sign: str) -> tuple[int, int]:
    """Operands of one to three digits; a product has at most one of three."""
    a = speaker.number(2, speaker.pick((20, 99, 999)))
    b = speaker.number(
        2, 20 if sign == "*" and a > 99 else 99 if sign == "*" else speaker.pick((20, 99, 999))
    )
    if sign == "-" and b > a:
        a, b = b, a
    return a, b


def is_test_sum(a: int, sign: str, b: int) -> bool:
    """Whether the sum is kept for the test: by hash; a+b and b+a are the same sum."""
    if sign in "+*":
        a, b = min(a, b), max(a, b)
    return reserved(f"{a}{sign}{b}")
