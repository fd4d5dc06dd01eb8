"""The kinds of story to read; see `reading_kinds` for their shape."""

from liaoliao.town.reading_kinds import Field, Kinds, TextKind

STORIES: Kinds = {
    "workers": {
        "en": TextKind(
            "first_name",
            (2, 3),
            (
                "Some new people came.",
                "These are our guests.",
                "Who is who?",
                "In the village they work hard.",
            ),
            (
                Field(
                    "job",
                    ("{s} is {a} {v}.", "{s} works as {a} {v}.", "The job of {s} is {v}."),
                    ("What is the job of {s}?", "What does {s} do for a living?"),
                ),
                Field(
                    "food",
                    ("{s} likes {v}.", "The favourite food of {s} is {v}.", "{s} often eats {v}."),
                    ("What does {s} like to eat?", "What is the favourite food of {s}?"),
                ),
            ),
        ),
        "zh": TextKind(
            "first_name",
            (2, 3),
            ("前两天来了几个人。", "这是我们的客人。", "他们都是谁呢？", "村里人干活都很勤快。"),
            (
                Field(
                    "job",
                    ("{s}是一名{v}。", "{s}当{v}。", "{s}的职业是{v}。"),
                    ("{s}的职业是什么？", "{s}是做什么工作的？"),
                ),
                Field(
                    "food",
                    ("{s}爱吃{v}。", "{s}最喜欢的食物是{v}。", "{s}常吃{v}。"),
                    ("{s}爱吃什么？", "{s}最喜欢的食物是什么？"),
                ),
            ),
        ),
    },
    "pets": {
        "en": TextKind(
            "animal",
            (2, 3),
            (
                "In our yard live some animals.",
                "A tale of animals.",
                "The farm is full of life.",
                "Look at the meadow.",
            ),
            (
                Field(
                    "species",
                    ("{s} is {a} {v}.", "There is {a} {v} called {s}.", "They call {s} the {v}."),
                    ("What kind of animal is {s}?", "What animal is {s}?"),
                ),
                Field(
                    "coat",
                    ("The colour of {s} is {v}.", "{s} has a coat that is {v}.", "You see that {s} is {v}."),
                    ("What colour is {s}?", "What is the colour of {s}?"),
                ),
            ),
        ),
        "zh": TextKind(
            "animal",
            (2, 3),
            ("我们院子里有几只动物。", "讲一个动物的故事。", "农场里真热闹。", "看看那片草地。"),
            (
                Field(
                    "species",
                    ("{s}是一{a}{v}。", "那{a}{v}叫{s}。", "大家都认识{v}{s}。"),
                    ("{s}是什么动物？", "{s}是哪种动物？"),
                ),
                Field(
                    "coat",
                    ("{s}的颜色是{v}。", "{s}是{v}的。", "看得出{s}一身{v}。"),
                    ("{s}是什么颜色的？", "{s}的颜色是什么？"),
                ),
            ),
        ),
    },
    "picnic": {
        "en": TextKind(
            "first_name",
            (2, 4),
            (
                "There will be a picnic.",
                "Friends meet by the lake.",
                "Everyone helps with the feast.",
                "A list for Sunday.",
            ),
            (
                Field(
                    "food",
                    ("{s} brings {v}.", "{s} will cook {v}.", "From {s} we get {v}."),
                    ("What does {s} bring?", "What do we get from {s}?"),
                ),
                Field(
                    "time",
                    ("{s} comes at {v}.", "{s} will be there at {v}.", "Expect {s} at {v}."),
                    ("When does {s} come?", "What time will {s} be there?"),
                ),
            ),
        ),
        "zh": TextKind(
            "first_name",
            (2, 4),
            ("要去野餐了。", "朋友们在湖边见面。", "大家一起准备聚餐。", "星期天的单子。"),
            (
                Field(
                    "food", ("{s}带{v}。", "{s}会做{v}。", "{s}负责{v}。"), ("{s}带什么？", "{s}负责什么？")
                ),
                Field(
                    "time",
                    ("{s}说好{v}到。", "{s}{v}来。", "{s}{v}到湖边。"),
                    ("{s}几点来？", "{s}什么时候到？"),
                ),
            ),
        ),
    },
    "race": {
        "en": TextKind(
            "first_name",
            (2, 4),
            (
                "The race is over.",
                "Sports day at the school.",
                "News from the games.",
                "Here are the runners.",
            ),
            (
                Field(
                    "number",
                    (
                        "{s} has number {v}.",
                        "The number of {s} is {v}.",
                        "On the shirt of {s} is the number {v}.",
                    ),
                    ("What number does {s} have?", "What is the number of {s}?"),
                ),
                Field(
                    "village",
                    ("{s} comes from {v}.", "{s} runs for {v}.", "The home of {s} is {v}."),
                    ("Where does {s} come from?", "What is the home of {s}?"),
                ),
            ),
        ),
        "zh": TextKind(
            "first_name",
            (2, 4),
            ("比赛结束了。", "学校开运动会。", "运动会的消息。", "这是参加赛跑的人。"),
            (
                Field(
                    "number",
                    ("{s}的号码是{v}。", "{s}是{v}号。", "{s}身上写着{v}号。"),
                    ("{s}是几号？", "{s}的号码是多少？"),
                ),
                Field(
                    "village",
                    ("{s}来自{v}。", "{s}代表{v}。", "{s}的老家是{v}。"),
                    ("{s}来自哪里？", "{s}的老家是哪里？"),
                ),
            ),
        ),
    },
    "gifts": {
        "en": TextKind(
            "first_name",
            (2, 3),
            (
                "It was a birthday party.",
                "The guests came with gifts.",
                "A story of gifts.",
                "All friends were there.",
            ),
            (
                Field(
                    "item",
                    ("{s} gave {a} {v}.", "The gift of {s} was {a} {v}.", "{s} had wrapped {a} {v}."),
                    ("What did {s} give?", "What was the gift of {s}?"),
                ),
                Field(
                    "food",
                    ("{s} ate {v}.", "{s} took some {v}.", "On the plate of {s} was {v}."),
                    ("What did {s} eat?", "What was on the plate of {s}?"),
                ),
            ),
        ),
        "zh": TextKind(
            "first_name",
            (2, 3),
            ("那是一场生日会。", "客人们带着礼物来了。", "讲一个送礼的故事。", "朋友们都来了。"),
            (
                Field(
                    "item",
                    ("{s}送了{v}。", "{s}的礼物是{v}。", "{s}包好了{v}。"),
                    ("{s}送了什么？", "{s}的礼物是什么？"),
                ),
                Field(
                    "food",
                    ("{s}吃了{v}。", "{s}拿了些{v}。", "{s}的盘子里是{v}。"),
                    ("{s}吃了什么？", "{s}的盘子里是什么？"),
                ),
            ),
        ),
    },
    "journey": {
        "en": TextKind(
            "person",
            (1, 2),
            (
                "Long ago there were brave travellers.",
                "It was a foggy morning.",
                "The road was long.",
                "Hear the story of a journey.",
            ),
            (
                Field(
                    "village",
                    ("{s} set out for {v}.", "{s} wanted to go to {v}.", "The road of {s} led to {v}."),
                    ("Where did {s} set out for?", "Where did {s} want to go?"),
                ),
                Field(
                    "item",
                    ("{s} took along {a} {v}.", "In the bag of {s} was {a} {v}.", "{s} carried {a} {v}."),
                    ("What did {s} take along?", "What was in the bag of {s}?"),
                ),
                Field(
                    "species",
                    ("{s} met {a} {v} on the way.", "On the way {s} saw {a} {v}.", "{a} {v} came up to {s}."),
                    ("Which animal did {s} meet?", "Which animal did {s} see on the way?"),
                ),
                Field(
                    "number",
                    (
                        "{s} was away for {v} days.",
                        "After {v} days {s} came back.",
                        "The journey of {s} took {v} days.",
                    ),
                    ("How many days was {s} away?", "How many days did the journey of {s} take?"),
                ),
            ),
        ),
        "zh": TextKind(
            "person",
            (1, 2),
            ("从前有几个勇敢的旅人。", "那是一个大雾的早晨。", "路很长很长。", "听我讲一次旅行。"),
            (
                Field(
                    "village",
                    ("{s}动身去{v}。", "{s}想去{v}。", "{s}要走的路通到{v}。"),
                    ("{s}动身去哪里？", "{s}想去哪里？"),
                ),
                Field(
                    "item",
                    ("{s}带了{v}。", "{s}的包里有{v}。", "{s}随身拿着{v}。"),
                    ("{s}带了什么？", "{s}的包里有什么？"),
                ),
                Field(
                    "species",
                    ("{s}在路上遇见一{a}{v}。", "一{a}{v}向{s}走来。", "{s}在路上看见一{a}{v}。"),
                    ("{s}在路上遇见了什么动物？", "{s}在路上看见了什么动物？"),
                ),
                Field(
                    "number",
                    ("{s}走了{v}天。", "过了{v}天，{s}才回来。", "{s}的旅行用了{v}天。"),
                    ("{s}走了多少天？", "{s}的旅行用了几天？"),
                ),
            ),
        ),
    },
    "farm": {
        "en": TextKind(
            "first_name",
            (2, 3),
            (
                "The farmers count their animals.",
                "Autumn on the farms.",
                "In the valley are some farms.",
                "The count is done.",
            ),
            (
                Field(
                    "number",
                    (
                        "The hens of {s} number {v}.",
                        "{s} has {v} hens.",
                        "There are {v} hens on the farm of {s}.",
                        "The hens of {s} are {v} in number.",
                    ),
                    ("How many hens does {s} have?", "How many hens are on the farm of {s}?"),
                ),
                Field(
                    "number",
                    (
                        "The sheep of {s} number {v}.",
                        "{s} has {v} sheep.",
                        "There are {v} sheep on the farm of {s}.",
                        "The sheep of {s} are {v} in number.",
                    ),
                    ("How many sheep does {s} have?", "How many sheep are on the farm of {s}?"),
                ),
                Field(
                    "door",
                    (
                        "The barn of {s} is {v}.",
                        "{s} painted the barn {v}.",
                        "You know {s} by the barn, which is {v}.",
                    ),
                    ("What colour is the barn of {s}?", "How did {s} paint the barn?"),
                ),
            ),
        ),
        "zh": TextKind(
            "first_name",
            (2, 3),
            ("农夫们在数牲口。", "农场的秋天到了。", "山谷里有几个农场。", "数完了。"),
            (
                Field(
                    "number",
                    ("{s}养的母鸡有{v}只。", "{s}有{v}只母鸡。", "{s}养了{v}只母鸡。"),
                    ("{s}有几只母鸡？", "{s}的农场里有多少只母鸡？"),
                ),
                Field(
                    "number",
                    ("{s}养的绵羊有{v}只。", "{s}有{v}只绵羊。", "{s}养了{v}只绵羊。"),
                    ("{s}有几只绵羊？", "{s}的农场里有多少只绵羊？"),
                ),
                Field(
                    "door",
                    ("{s}的谷仓是{v}的。", "{s}把谷仓漆成了{v}。", "{s}家的谷仓一片{v}。"),
                    ("{s}的谷仓是什么颜色的？", "{s}把谷仓漆成了什么颜色？"),
                ),
            ),
        ),
    },
    "feast": {
        "en": TextKind(
            "first_name",
            (2, 3),
            (
                "The town made music.",
                "A feast for everyone.",
                "On the stage it was loud.",
                "The evening of the play came.",
            ),
            (
                Field(
                    "instrument",
                    ("{s} played the {v}.", "The {v} was played by {s}.", "You heard {s} on the {v}."),
                    ("What did {s} play?", "Which instrument did {s} play?"),
                ),
                Field(
                    "door",
                    ("{s} wore a hat that was {v}.", "The hat of {s} was {v}.", "People saw {s} in {v}."),
                    ("What colour was the hat of {s}?", "Which colour did {s} wear?"),
                ),
                Field(
                    "evening",
                    ("{s} began at {v}.", "{s} came on stage at {v}.", "At {v} it was the turn of {s}."),
                    ("When did {s} begin?", "At what time did {s} come on stage?"),
                ),
            ),
        ),
        "zh": TextKind(
            "first_name",
            (2, 3),
            ("镇上开音乐会了。", "大家都来过节。", "台上真热闹。", "演出的晚上到了。"),
            (
                Field(
                    "instrument",
                    ("{s}演奏的是{v}。", "{s}上台演奏{v}。", "听，那是{s}的{v}。"),
                    ("{s}演奏的是什么？", "{s}演奏什么乐器？"),
                ),
                Field(
                    "door",
                    ("{s}的帽子是{v}的。", "{s}戴着{v}的帽子。", "大家看见{s}一身{v}。"),
                    ("{s}的帽子是什么颜色的？", "{s}戴着什么颜色的帽子？"),
                ),
                Field(
                    "evening",
                    ("{s}的上台时间是{v}。", "{s}{v}上台。", "到了{v}，轮到{s}了。"),
                    ("{s}几点上台？", "{s}什么时候开始？"),
                ),
            ),
        ),
    },
}
