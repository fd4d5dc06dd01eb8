"""What nobody in the town knows: topics never stated, the wide world, and the words of not knowing."""

from collections.abc import Mapping

from liaoliao.town.words import Lang
from liaoliao.town.world import Kind

TEST_PART = 0.3
Wordings = Mapping[Lang, tuple[str, ...]]

REFUSALS: Wordings = {
    "en": (
        "Sorry, I don't know that.",
        "I don't know, nobody told me.",
        "That I don't know.",
        "I don't know.",
    ),
    "zh": ("对不起，我不知道。", "这个我不知道。", "我不知道，没有人告诉过我。", "我不知道。"),
}
NOT_IN_TEXT: Wordings = {  # {lead}: the words of an answer up to its value
    "en": (
        "{lead}... I don't know, the text does not say.",
        "{lead}... the text does not say, I don't know.",
    ),
    "zh": ("{lead}……我不知道，文中没有说。", "{lead}……文中没有提到，我不知道。"),
}
NOT_LISTED: Wordings = {
    "en": ("It is not on the list, so I don't know.", "I don't know, the list has no such name."),
    "zh": ("名册里没有，所以我不知道。", "我不知道，名册里没有这个名字。"),
}
WHICH_PERSON: Wordings = {
    "en": ("Who do you mean?", "Which person do you mean?", "Please tell me the name first."),
    "zh": ("你说的是谁？", "你指的是哪一位？", "请先告诉我名字。"),
}
WHICH_ONE: Wordings = {
    "en": ("Which one do you mean?", "Please tell me the name first.", "What are you asking about?"),
    "zh": ("你说的是哪一个？", "请先告诉我名字。", "你问的是什么？"),
}
NOT_TOLD: Wordings = {
    "en": ("You have not told me yet.", "You have not told me that."),
    "zh": ("你还没有告诉我。", "这个你没有告诉过我。"),
}

TOPICS: Mapping[Kind, tuple[Wordings, ...]] = {
    "resident": (
        {
            "en": ("What is {e}'s phone number?", "Which phone number does {e} have?"),
            "zh": ("{e}的电话号码是多少？", "{e}的电话是几号？"),
        },
        {
            "en": ("What is {e}'s shoe size?", "Which size are the shoes of {e}?"),
            "zh": ("{e}穿几号鞋？", "{e}的鞋码是多少？"),
        },
        {
            "en": ("How tall is {e}?", "What is the height of {e}?"),
            "zh": ("{e}有多高？", "{e}的身高是多少？"),
        },
        {
            "en": ("How much does {e} weigh?", "What is the weight of {e}?"),
            "zh": ("{e}有多重？", "{e}的体重是多少？"),
        },
        {
            "en": ("What is {e}'s favourite song?", "Which song does {e} sing?"),
            "zh": ("{e}最喜欢哪首歌？", "{e}爱唱什么歌？"),
        },
        {"en": ("How old is {e}?", "What is the age of {e}?"), "zh": ("{e}多大年纪？", "{e}今年几岁？")},
        {
            "en": ("How much money does {e} have?", "How rich is {e}?"),
            "zh": ("{e}有多少钱？", "{e}存了多少钱？"),
        },
        {
            "en": ("What did {e} dream last night?", "What was {e}'s last dream?"),
            "zh": ("{e}昨晚梦见了什么？", "{e}做了什么梦？"),
        },
        {
            "en": ("What is the colour of {e}'s eyes?", "What colour are {e}'s eyes?"),
            "zh": ("{e}的眼睛是什么颜色？", "{e}的眼珠什么颜色？"),
        },
        {
            "en": ("What is {e} reading?", "Which book does {e} read?"),
            "zh": ("{e}在读什么书？", "{e}看的是哪本书？"),
        },
    ),
    "place": (
        {
            "en": ("What is the phone number of {e}?", "Which phone number does {e} have?"),
            "zh": ("{e}的电话号码是多少？", "{e}的电话是几号？"),
        },
        {
            "en": ("How many chairs are in {e}?", "How many chairs does {e} have?"),
            "zh": ("{e}有几把椅子？", "{e}里摆了多少把椅子？"),
        },
        {
            "en": ("How old is the house of {e}?", "In which year was {e} built?"),
            "zh": ("{e}是哪一年建的？", "{e}的房子有多少年了？"),
        },
        {
            "en": ("How many people work at {e}?", "How many workers has {e}?"),
            "zh": ("{e}有几个伙计？", "{e}有多少人干活？"),
        },
        {
            "en": ("How many windows does {e} have?", "How many windows has the house of {e}?"),
            "zh": ("{e}有几扇窗？", "{e}一共有多少扇窗户？"),
        },
        {
            "en": ("Who was the first guest of {e}?", "Who came first to {e}?"),
            "zh": ("{e}的第一位客人是谁？", "谁最先光顾{e}？"),
        },
        {
            "en": ("How much rent does {e} pay?", "What is the rent of {e}?"),
            "zh": ("{e}的房租是多少？", "{e}每月交多少房租？"),
        },
        {
            "en": ("Which music is played at {e}?", "What songs do they play at {e}?"),
            "zh": ("{e}里放什么音乐？", "{e}放的是什么歌？"),
        },
    ),
    "train": (
        {
            "en": ("Who drives {e}?", "What is the name of the driver of {e}?"),
            "zh": ("{e}的司机是谁？", "{e}由谁驾驶？"),
        },
        {
            "en": ("How many seats does {e} have?", "How many seats are on {e}?"),
            "zh": ("{e}有多少个座位？", "{e}一共几个座位？"),
        },
        {
            "en": ("How fast is {e}?", "What is the top speed of {e}?"),
            "zh": ("{e}有多快？", "{e}的时速是多少？"),
        },
        {
            "en": ("How long is {e}?", "How many coaches does {e} have?"),
            "zh": ("{e}有几节车厢？", "{e}有多长？"),
        },
        {
            "en": ("When was {e} built?", "In which year was {e} built?"),
            "zh": ("{e}是哪一年造的？", "{e}什么时候造好的？"),
        },
        {
            "en": ("What do they cook on {e}?", "What food is served on {e}?"),
            "zh": ("{e}上卖什么饭？", "{e}的餐车有什么菜？"),
        },
    ),
    "animal": (
        {"en": ("How old is {e}?", "What is the age of {e}?"), "zh": ("{e}几岁了？", "{e}有多大了？")},
        {
            "en": ("How much does {e} weigh?", "What is the weight of {e}?"),
            "zh": ("{e}有多重？", "{e}的体重是多少？"),
        },
        {
            "en": ("How many teeth does {e} have?", "How many teeth has {e}?"),
            "zh": ("{e}有几颗牙？", "{e}长了多少颗牙齿？"),
        },
        {
            "en": ("Where was {e} born?", "In which place was {e} born?"),
            "zh": ("{e}是在哪里出生的？", "{e}生在什么地方？"),
        },
        {
            "en": ("How fast can {e} run?", "What is the top speed of {e}?"),
            "zh": ("{e}跑得有多快？", "{e}每分钟能跑多远？"),
        },
        {
            "en": ("What is the name of {e}'s mother?", "Who is the mother of {e}?"),
            "zh": ("{e}的妈妈叫什么？", "{e}的妈妈是谁？"),
        },
    ),
}

WORLD: Wordings = {
    "en": (
        "What is the capital of France?",
        "Who wrote Hamlet?",
        "How far away is the sun?",
        "Who was the first man on the moon?",
        "What is the longest river in the world?",
        "How do planes fly?",
        "What is the population of China?",
        "When did the last war end?",
        "What is the price of gold?",
        "Who is the president?",
        "What is the deepest sea?",
        "How many stars are there?",
        "What did people eat in old Rome?",
        "Who won the football cup?",
        "How does a phone work?",
        "What is the highest mountain?",
        "Who painted the Mona Lisa?",
        "What language do they speak in Brazil?",
        "How hot is the sun?",
        "What is the speed of light?",
        "Who built the pyramids?",
        "How deep is the ocean?",
        "What is the name of the queen of England?",
        "How many people live on earth?",
        "When was paper invented?",
        "What is the largest animal in the world?",
        "How many bones does a man have?",
        "Who invented the radio?",
        "What is the weather in Paris?",
        "Which film won the prize?",
        "What time is it now?",
        "What day is it today?",
    ),
    "zh": (
        "法国的首都是哪里？",
        "《红楼梦》是谁写的？",
        "太阳离我们有多远？",
        "谁第一个登上月球？",
        "世界上最长的河是哪条？",
        "飞机为什么会飞？",
        "中国有多少人口？",
        "上一场战争什么时候结束的？",
        "现在金价是多少？",
        "谁是总统？",
        "最深的海在哪里？",
        "天上有多少颗星星？",
        "古罗马人吃什么？",
        "谁赢了足球赛？",
        "手机是怎么工作的？",
        "世界最高的山是哪座？",
        "《蒙娜丽莎》是谁画的？",
        "巴西人说什么语言？",
        "太阳有多热？",
        "光速是多少？",
        "金字塔是谁建的？",
        "大海有多深？",
        "英国女王叫什么？",
        "地球上有多少人？",
        "纸是什么时候发明的？",
        "世界上最大的动物是什么？",
        "人有多少块骨头？",
        "收音机是谁发明的？",
        "巴黎天气怎么样？",
        "哪部电影得了奖？",
        "现在几点了？",
        "今天星期几？",
    ),
}
