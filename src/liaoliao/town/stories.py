"""Little plots for the documents: what happened to two residents, a place and an animal.

Between the beats `documents` tells facts of those who take part. Slots: {x} {y} residents, {p} a place,
{c} an animal, {d} a weekday, {w} the weather, {t} the town.

    "One windy day Mira Holt lost a hat." ... facts of Mira Holt ... "Hugo Barlow had seen it fly." ...
"""

from collections.abc import Mapping

from liaoliao.town.words import Lang

Plot = tuple[str, ...]

PLOTS: Mapping[Lang, tuple[Plot, ...]] = {
    "en": (
        (
            "One windy day {x} lost a hat.",
            "{y} had seen it fly over the roofs.",
            "At last they found it under {c}.",
            "{x} wears it with a string now.",
        ),
        (
            "{x} and {y} could not agree.",
            "So on {d} they met at {p}.",
            "{c} lay between them and slept.",
            "By evening they were friends again.",
        ),
        (
            "A letter came for {x}, and it had no name on the back.",
            "{y} thought it came from far away.",
            "Inside was a drawing of {c}.",
            "It hangs at {p} to this day.",
        ),
        (
            "In the night a noise woke {x}.",
            "Somebody was on the stairs.",
            "It was only {c}, who wanted company.",
            "{y} heard the tale at {p} and laughed.",
        ),
        (
            "There was a prize for the best story of {t}.",
            "{x} told one about {p}.",
            "{y} told one about {c}.",
            "In the end they shared the prize.",
        ),
        (
            "{c} had run away.",
            "{x} looked in the park, {y} by the river.",
            "{c} was sitting in front of {p}.",
            "Everybody went home glad.",
        ),
        (
            "On {d} it was {w}, and {x} stayed inside.",
            "{y} came by with a basket.",
            "They talked about {p} and about {c}.",
            "The afternoon was short.",
        ),
        (
            "{x} had promised to help {y}.",
            "There was a wall to paint behind {p}.",
            "{c} walked through the wet paint.",
            "You can still see the marks.",
        ),
        (
            "A stranger stood in the square and asked for {p}.",
            "{x} showed the way, and {y} carried the bags.",
            "{c} ran in front of them.",
            "The stranger stayed for a week.",
        ),
        (
            "{x} found a coin in the street.",
            "{y} said it must be old.",
            "They asked at {p}, but nobody missed it.",
            "So they bought a bell for {c}.",
        ),
        (
            "The bridge was closed because of the flood.",
            "{x} was on one side and {y} on the other.",
            "They shouted news across the water.",
            "Only {c} could swim over.",
        ),
        (
            "{x} wanted to learn to whistle.",
            "{y} gave lessons behind {p}.",
            "At first only {c} came running.",
            "After a month it was a real tune.",
        ),
        (
            "Snow had covered {t}.",
            "{x} dug a path to {p}.",
            "{y} dug from the other side.",
            "{c} jumped into the gap first.",
        ),
        (
            "A photograph was taken in front of {p}.",
            "{x} stood on the left, {y} on the right.",
            "{c} would not keep still.",
            "That is why there is a cloud in the middle.",
        ),
    ),
    "zh": (
        (
            "有一天刮大风，{x}的帽子被吹走了。",
            "{y}看见它飞过了屋顶。",
            "最后，他们在{c}身子底下找到了帽子。",
            "从此{x}的帽子都系着绳子。",
        ),
        (
            "{x}和{y}吵了一架。",
            "{d}，他们在{p}见了面。",
            "{c}躺在他们中间睡着了。",
            "到了傍晚，两人又和好了。",
        ),
        (
            "{x}收到一封信，信封上没有名字。",
            "{y}猜是从远方寄来的。",
            "信里画着{c}。",
            "那张画现在还挂在{p}。",
        ),
        (
            "半夜里，{x}被响声吵醒了。",
            "好像有人在楼梯上走。",
            "原来是{c}想找个伴。",
            "{y}在{p}听说了这件事，笑了半天。",
        ),
        ("{t}要评选最好的故事。", "{x}讲的是{p}的故事。", "{y}讲的是{c}的故事。", "最后两个人一起得了奖。"),
        ("{c}不见了。", "{x}去公园找，{y}去河边找。", "原来{c}就坐在{p}门口。", "大家高高兴兴地回了家。"),
        (
            "{d}那天{w}，{x}待在家里。",
            "{y}提着篮子来了。",
            "他们说起了{p}，也说起了{c}。",
            "一个下午很快就过去了。",
        ),
        ("{x}答应帮{y}的忙。", "{p}后面有一面墙要刷。", "{c}从没干的油漆上走过。", "那些脚印现在还看得见。"),
        (
            "广场上站着一个外地人，想去{p}。",
            "{x}给他指路，{y}帮他提行李。",
            "{c}跑在最前面。",
            "那个人在镇上住了一个星期。",
        ),
        (
            "{x}在街上捡到一枚硬币。",
            "{y}说它一定很古老。",
            "他们去{p}问，可是没有人丢钱。",
            "于是他们给{c}买了一个铃铛。",
        ),
        ("发大水，桥不能走了。", "{x}在这一边，{y}在那一边。", "他们隔着河大声说话。", "只有{c}游了过去。"),
        (
            "{x}想学吹口哨。",
            "{y}在{p}后面教。",
            "刚开始，只有{c}跑过来听。",
            "过了一个月，就吹得有模有样了。",
        ),
        ("大雪盖住了{t}。", "{x}挖了一条路通到{p}。", "{y}从另一头挖过来。", "{c}第一个跳进了雪坑。"),
        (
            "大家在{p}门前照相。",
            "{x}站在左边，{y}站在右边。",
            "{c}一动也不肯停。",
            "所以照片中间有一团白影。",
        ),
    ),
}

# who is quoted when neighbours talk
SPEAKERS: Mapping[Lang, tuple[str, ...]] = {
    "en": (
        "the ferryman",
        "the miller",
        "the night watchman",
        "the mayor",
        "an old sailor",
        "the barber",
        "the postman's wife",
        "the bell ringer",
        "the lamplighter",
        "my uncle",
        "the twins",
        "the grocer",
    ),
    "zh": (
        "摆渡人",
        "磨坊主",
        "守夜人",
        "镇长",
        "老船长",
        "理发师",
        "敲钟人",
        "点灯人",
        "我舅舅",
        "双胞胎",
        "杂货店主",
        "卖报人",
    ),
}
# {s} is the sentence: without its full stop in the first English ones
QUOTES: Mapping[Lang, tuple[str, ...]] = {
    "en": (
        '"{s}," said {q}.',
        '"{s}," {q} told us.',
        '{q} nodded: "{s}."',
        'Then {q} said: "{s}."',
        '"{s}," whispered {q}.',
        '"You see," said {q}, "{s}."',
    ),
    "zh": (
        "{q}说：“{s}。”",
        "“{s}。”{q}说。",
        "{q}点点头：“{s}。”",
        "接着{q}说：“{s}。”",
        "“{s}。”{q}小声说。",
        "{q}告诉大家：“{s}。”",
    ),
}
