"""Ways to put facts into sentences, titles of lists, and light remarks between the facts.

Read by `documents`; openings and closings are in `frames`. Slots: {e} the entity, {1} {2} {3} its predicates, {he} {who}
pronouns, {d} a weekday, {w} the weather.

    PAIRS["en"][0]  -> "{e} {1} and {2}."
"""

from collections.abc import Mapping

from liaoliao.town.words import Lang

# prefixes for a sentence of the form "{e} opens at 7:30"
LEADS: Mapping[Lang, tuple[str, ...]] = {
    "en": (
        "I heard that ",
        "Everyone knows that ",
        "It is said that ",
        "By the way, ",
        "As you know, ",
        "Do not forget that ",
        "The old books tell us that ",
        "Here in town ",
        "It is true that ",
        "People say that ",
        "The mayor told me that ",
        "Even the ferryman knows that ",
        "Strangers are surprised that ",
        "My aunt wrote that ",
    ),
    "zh": (
        "听说",
        "大家都知道，",
        "据说",
        "顺便说一句，",
        "你知道吗，",
        "别忘了，",
        "老书上写着，",
        "在我们镇上，",
        "真的，",
        "人们说，",
        "镇长告诉我，",
        "连摆渡人都知道，",
        "外地人想不到，",
        "姑妈来信说，",
    ),
}
# {1} {2} {3} are predicates of the entity {e}
PAIRS: Mapping[Lang, tuple[str, ...]] = {
    "en": (
        "{e} {1} and {2}.",
        "{e} {1}, and {he} {2}.",
        "{e}, {who} {1}, {2}.",
        "{e} {1}; {he} also {2}.",
        "{e} {1} and, what is more, {2}.",
        "{e} not only {1}: {he} {2}, too.",
        "First of all, {e} {1}, and then {he} {2}.",
        "{e}, as I said, {1} and {2}.",
    ),
    "zh": (
        "{e}{1}，{2}。",
        "{e}{1}，而且{2}。",
        "{e}不但{1}，而且{2}。",
        "{e}{1}，另外，{2}。",
        "{e}呢，{1}，{2}。",
        "先说{e}：{1}，{2}。",
        "{e}{1}；{he}{2}。",
        "这就是{e}：{1}，{2}。",
    ),
}
TRIPLES: Mapping[Lang, tuple[str, ...]] = {
    "en": (
        "{e} {1}, {2} and {3}.",
        "{e}, {who} {1} and {2}, {3}.",
        "{e} {1}, {he} {2}, and {he} {3}.",
        "{e} {1} and {2}, and {he} {3}.",
        "In short, {e} {1}, {2} and {3}.",
        "{e}, {who} {1}, {2} and {3}.",
    ),
    "zh": (
        "{e}{1}，{2}，{3}。",
        "{e}{1}，{2}，而且{3}。",
        "{e}{1}；{he}{2}，{3}。",
        "总之，{e}{1}，{2}，{3}。",
        "{e}{1}，另外，{2}，{3}。",
        "说说{e}吧：{1}，{2}，{3}。",
    ),
}

# titles of lists; the list follows
LISTS: Mapping[str, Mapping[Lang, tuple[str, ...]]] = {
    "job": {
        "en": ("Who does what", "Trades of the town", "Working people"),
        "zh": ("各行各业", "谁做什么工作", "镇上的职业"),
    },
    "home": {
        "en": ("Where they live", "Addresses", "From the address book"),
        "zh": ("谁住在哪里", "住址", "地址簿"),
    },
    "food": {
        "en": ("Favourite foods", "The kitchen list", "Orders for the feast"),
        "zh": ("各人爱吃的", "厨房里的单子", "过节点菜"),
    },
    "hobby": {"en": ("Hobbies", "After work", "The hobby club"), "zh": ("爱好", "下班以后", "爱好俱乐部")},
    "birthday": {
        "en": ("Birthdays", "The birthday list", "Cakes to bake"),
        "zh": ("生日表", "过生日的月份", "要做的蛋糕"),
    },
    "place/owner": {"en": ("Owners", "Houses and owners"), "zh": ("店和老板", "谁开的店")},
    "street": {"en": ("Where to find them", "Shops and streets"), "zh": ("店铺地址", "店在哪里")},
    "opens": {
        "en": ("Opening times", "Doors open", "Early birds"),
        "zh": ("开门时间", "早上几点开门", "营业开始"),
    },
    "closes": {
        "en": ("Closing times", "Doors close", "Last orders"),
        "zh": ("关门时间", "晚上几点关门", "打烊"),
    },
    "door": {"en": ("Colours of the doors", "Painted doors"), "zh": ("大门颜色", "各店的门")},
    "speciality": {"en": ("Specialities", "The best of the town"), "zh": ("各店招牌货", "镇上最好的东西")},
    "price": {"en": ("Prices of the specialities", "Price list"), "zh": ("招牌货价目表", "招牌货价格")},
    "destination": {"en": ("Trains and where they go", "Destinations"), "zh": ("列车终点", "列车开往哪里")},
    "departs": {"en": ("Departures", "Departure times"), "zh": ("发车时间", "列车时刻")},
    "platform": {"en": ("Platforms", "Trains and platforms"), "zh": ("站台", "列车站台")},
    "fare": {"en": ("Tickets", "Ticket prices"), "zh": ("票价", "车票价格")},
    "animal/owner": {"en": ("Animals and owners", "Who owns which animal"), "zh": ("动物和主人", "谁养的")},
    "species": {"en": ("Animals of the town", "Who is who"), "zh": ("镇上的动物", "它们是什么动物")},
    "coat": {"en": ("Colours of the animals", "What they look like"), "zh": ("动物的颜色", "它们是什么颜色")},
    "likes": {"en": ("What animals love", "Treats"), "zh": ("动物喜欢什么", "给动物的礼物")},
}

LIGHT: Mapping[Lang, tuple[str, ...]] = {
    "en": (
        "The day is {w}.",
        "A bell rings.",
        "Birds sit on the roof.",
        "It was {w} on {d}.",
        "The river is calm.",
        "Smoke rises.",
        "Children play.",
        "The lamps are lit.",
        "You can smell fresh bread.",
        "A cart rolls by.",
        "Somebody laughs.",
        "The wind turns.",
        "It is {d} again.",
        "The market is full.",
        "Leaves fall.",
        "Time goes by.",
        "Spring is near.",
        "Nobody is in a hurry.",
        "What a {w} day!",
        "The square is empty now.",
        "So it goes.",
        "A clock strikes.",
        "It is quiet.",
        "The hill is green.",
        "Well, that is life.",
        "The moon is up.",
        "Good to know.",
        "How nice.",
        "The soup is hot.",
        "A boat comes in.",
    ),
    "zh": (
        "今天{w}。",
        "钟响了。",
        "屋顶上有鸟。",
        "{d}那天{w}。",
        "河水很静。",
        "炊烟升起来了。",
        "孩子们在玩。",
        "灯亮了。",
        "闻得到面包香。",
        "一辆车过去了。",
        "有人笑了。",
        "风变了。",
        "又到{d}了。",
        "集市上人很多。",
        "树叶落了。",
        "日子过得真快。",
        "春天快到了。",
        "谁也不着急。",
        "天气真好。",
        "广场上没有人了。",
        "就是这样。",
        "钟敲了几下。",
        "四周很安静。",
        "山是绿的。",
        "生活就是这样。",
        "月亮出来了。",
        "这个要记住。",
        "多好啊。",
        "汤还热着。",
        "一条船靠岸了。",
    ),
}
