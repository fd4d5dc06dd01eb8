"""How documents begin and end, by kind; weekdays and weather.

Read by `documents`. Slots: {e} the entity, {t} the town, {d} a weekday, {w} the weather, {f} a family name, {k} the kind of place.

    FRAMES["letter"]["en"].openings[0]  -> "Dear aunt, here is the news from {t}."
"""

from collections.abc import Mapping
from dataclasses import dataclass

from liaoliao.town.words import Lang


@dataclass(frozen=True, slots=True)
class Frame:
    """How a kind of document may begin and end; an empty text means nothing is said."""

    openings: tuple[str, ...]
    closings: tuple[str, ...]


DAYS: Mapping[Lang, tuple[str, ...]] = {
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
    "zh": ("星期一", "星期二", "星期三", "星期四", "星期五", "星期六", "星期天"),
}
WEATHER: Mapping[Lang, tuple[str, ...]] = {
    "en": ("sunny", "rainy", "windy", "foggy", "cold", "warm", "snowy", "cloudy", "mild", "stormy"),
    "zh": ("天晴", "下雨", "刮风", "起雾", "很冷", "很暖和", "下雪", "多云", "不冷不热", "打雷"),
}

FRAMES: Mapping[str, Mapping[Lang, Frame]] = {
    "resident": {
        "en": Frame(
            (
                "Let me tell you about {e}.",
                "You want to know who {e} is.",
                "Here is a short portrait of {e}.",
                "You may have met {e}.",
                "A page from the town book: {e}.",
                "Meet {e}.",
                "",
                "",
                "",
            ),
            (
                "That is {e}.",
                "A good neighbour to have.",
                "So much for {e}.",
                "Say hello from me.",
                "",
                "",
                "",
                "",
                "",
            ),
        ),
        "zh": Frame(
            (
                "我来说说{e}。",
                "你想知道{e}是谁。",
                "这是{e}的小传。",
                "你也许见过{e}。",
                "镇志里有一页写的是{e}。",
                "来认识一下{e}。",
                "",
                "",
                "",
            ),
            ("这就是{e}。", "真是个好邻居。", "{e}的事就说到这里。", "见了面替我问好。", "", "", "", "", ""),
        ),
    },
    "place": {
        "en": Frame(
            (
                "A guide to {t}, next page: {e}.",
                "{e} is {k} in {t}.",
                "If you look for {k}, try {e}.",
                "If you are new in town, visit {e}.",
                "Notes on {e}.",
                "Welcome to {e}, {k}.",
                "",
                "",
                "",
            ),
            (
                "Enjoy your visit.",
                "Come again soon.",
                "Tell your friends about {e}.",
                "It is worth the walk.",
                "",
                "",
                "",
                "",
                "",
            ),
        ),
        "zh": Frame(
            (
                "{t}游览手册：{e}。",
                "{e}是{t}的一家{k}。",
                "想找{k}，就去{e}看看。",
                "刚到镇上的人，先去{e}。",
                "关于{e}的几件事。",
                "欢迎光临{e}。",
                "",
                "",
                "",
            ),
            ("祝你玩得开心。", "欢迎再来。", "把{e}告诉你的朋友吧。", "走一趟很值得。", "", "", "", "", ""),
        ),
    },
    "train": {
        "en": Frame(
            (
                "At the station of {t}: {e}.",
                "All aboard {e}!",
                "Travel news about {e}.",
                "The guard talks about {e}.",
                "{e} is a fine train.",
                "A poster praises {e}.",
                "",
                "",
                "",
            ),
            ("Have a good journey.", "Please mind the gap.", "Do not lose your ticket.", "", "", "", "", ""),
        ),
        "zh": Frame(
            (
                "{t}车站的{e}。",
                "请上{e}！",
                "{e}的出行消息。",
                "乘务员说起了{e}。",
                "{e}是一趟好列车。",
                "海报上介绍的是{e}。",
                "",
                "",
                "",
            ),
            ("祝你一路平安。", "上车请小心。", "别把车票弄丢了。", "", "", "", "", ""),
        ),
    },
    "animal": {
        "en": Frame(
            (
                "This is the tale of {e}.",
                "You must have seen {e}.",
                "The children drew a picture of {e}.",
                "Everybody likes {e}.",
                "Animals of {t}: {e}.",
                "Here comes {e}!",
                "",
                "",
                "",
            ),
            ("What a friend!", "Good night, {e}.", "{e} is asleep now.", "", "", "", "", ""),
        ),
        "zh": Frame(
            (
                "这是{e}的故事。",
                "你一定见过{e}。",
                "孩子们画了一张{e}的像。",
                "人人都喜欢{e}。",
                "{t}的动物：{e}。",
                "{e}来了！",
                "",
                "",
                "",
            ),
            ("真是个好朋友！", "晚安，{e}。", "现在{e}睡着了。", "", "", "", "", ""),
        ),
    },
    "family": {
        "en": Frame(
            (
                "The {f} family is old and well known.",
                "On {d} the {f} family sat down together.",
                "A word on the family {f}.",
                "The name {f} is on many doors.",
                "There is a photograph of the {f} family.",
                "The {f} family met for lunch.",
            ),
            ("A lively family.", "They wave from the picture.", "Then they all went home.", "", "", "", ""),
        ),
        "zh": Frame(
            (
                "{f}家是镇上的老住户。",
                "{d}，{f}家的人坐到了一起。",
                "说说{f}家的人。",
                "镇上姓{f}的人不少。",
                "这里有一张{f}家的合影。",
                "{f}家聚在一起吃饭。",
            ),
            ("真是热闹的一家。", "照片上人人都在笑。", "后来大家都回家了。", "", "", "", ""),
        ),
    },
    "walk": {
        "en": Frame(
            (
                "A walk through {t} on a {w} day.",
                "Let us walk through the streets.",
                "The postman begins his round.",
                "On {d} I went shopping.",
                "From the hill you see all the shops.",
                "Here are some signs from the streets of {t}.",
            ),
            (
                "Then the walk was over.",
                "My feet are tired now.",
                "It was a {w} day to the end.",
                "",
                "",
                "",
                "",
            ),
        ),
        "zh": Frame(
            (
                "{w}的日子，在{t}走一走。",
                "我们去街上逛逛吧。",
                "邮递员开始送信了。",
                "{d}我去买东西。",
                "从山上看得见所有的店。",
                "这是{t}街上的几块招牌。",
            ),
            ("就这样逛完了。", "我的脚都走累了。", "这一天一直{w}。", "", "", "", ""),
        ),
    },
    "station": {
        "en": Frame(
            (
                "The station of {t} is busy on {d}.",
                "Timetable of {t}.",
                "A voice speaks in the station hall.",
                "Here is the board at the station.",
                "Grandfather loves trains and knows them all.",
                "It is {w} at the station.",
            ),
            ("The bell rings.", "Please stand back.", "The station clock is always right.", "", "", "", ""),
        ),
        "zh": Frame(
            (
                "{d}，{t}车站很忙。",
                "{t}列车时刻表。",
                "车站大厅里响起了广播。",
                "这是车站的告示牌。",
                "爷爷喜欢火车，每一趟都认得。",
                "车站那边{w}。",
            ),
            ("铃响了。", "请往后站。", "车站的钟从来不错。", "", "", "", ""),
        ),
    },
    "pets": {
        "en": Frame(
            (
                "On {d} there was a pet show in {t}.",
                "The animal doctor keeps a list.",
                "Some animals of {t} met in the meadow.",
                "In the park you see many animals.",
                "The school made a book about animals.",
                "The pets of the town wait for spring.",
            ),
            (
                "All of them got a prize.",
                "Then it was feeding time.",
                "What a noise they made!",
                "",
                "",
                "",
                "",
            ),
        ),
        "zh": Frame(
            (
                "{d}，{t}办了一场宠物会。",
                "兽医有一张名单。",
                "{t}的几只动物在草地上见面了。",
                "公园里有很多动物。",
                "学校做了一本动物书。",
                "镇上的动物都在等春天。",
            ),
            ("它们都得了奖。", "后来就到了喂食的时候。", "那可真吵啊！", "", "", "", ""),
        ),
    },
    "letter": {
        "en": Frame(
            (
                "Dear aunt, here is the news from {t}.",
                "Dear friend, you asked about the town.",
                "Hello cousin, it is {w} here.",
                "Dear Grandmother, I am well.",
                "Dear teacher, this is what I learned.",
                "My dear, I write from {t}.",
            ),
            (
                "Write soon.",
                "With love from {t}.",
                "I kiss you all.",
                "See you in spring.",
                "Your friend in {t}.",
            ),
        ),
        "zh": Frame(
            (
                "亲爱的姑妈，告诉您镇上的消息。",
                "亲爱的朋友，你问起了我们的小镇。",
                "表哥你好，这里{w}。",
                "亲爱的奶奶，我一切都好。",
                "亲爱的老师，这是我学到的。",
                "我在{t}给你写信。",
            ),
            ("盼你回信。", "祝你一切都好。", "问全家人好。", "春天再见。", "你在{t}的朋友。"),
        ),
    },
    "diary": {
        "en": Frame(
            (
                "Diary, {d}.",
                "Dear diary, it was {w} today.",
                "{d}: I wrote down what I know.",
                "Tonight I cannot sleep, so I write.",
                "A {w} {d}.",
                "From my notebook.",
            ),
            ("Now I put out the lamp.", "More tomorrow.", "I am tired.", "Good night.", "", "", "", ""),
        ),
        "zh": Frame(
            (
                "日记，{d}。",
                "{d}，{w}。",
                "今天{w}，我记下几件事。",
                "今晚睡不着，就写日记。",
                "我的小本子上写着这些。",
                "{d}的日记。",
            ),
            ("我要熄灯了。", "明天再写。", "我困了。", "晚安。", "", "", "", ""),
        ),
    },
    "news": {
        "en": Frame(
            (
                "News from {t}, {d}.",
                "The town paper writes:",
                "Read all about it!",
                "The weather will be {w}, and here is the news.",
                "Page two of the {t} News.",
                "Notice to all people of {t}.",
            ),
            ("More news tomorrow.", "The paper costs one coin.", "So says the town hall.", "", "", "", ""),
        ),
        "zh": Frame(
            (
                "{t}新闻，{d}。",
                "镇上的报纸写道：",
                "号外，号外！",
                "明天{w}，下面是新闻。",
                "《{t}日报》第二版。",
                "告{t}居民书。",
            ),
            ("明天还有新闻。", "报纸一元一份。", "镇公所特此通知。", "", "", "", ""),
        ),
    },
    "talk": {
        "en": Frame(
            (
                "Two neighbours talk over the fence.",
                "At the well people chat.",
                "The ferryman likes to talk.",
                "In the barber's chair you hear everything.",
                "Grandmother told the children about {t}.",
                "Around the fire they talked until late.",
            ),
            ("Then it grew dark.", "They laughed and went home.", "And so they talked on.", "", "", "", ""),
        ),
        "zh": Frame(
            (
                "两个邻居隔着篱笆聊天。",
                "井边的人在说话。",
                "摆渡人最爱聊天。",
                "在理发店里什么都听得到。",
                "奶奶给孩子们讲{t}的事。",
                "大家围着火炉聊到很晚。",
            ),
            ("后来天就黑了。", "他们笑着回家了。", "就这样一直聊下去。", "", "", "", ""),
        ),
    },
}
MIXED = ("letter", "diary", "news", "talk")
