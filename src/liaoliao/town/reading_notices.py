"""The kinds of notice to read; see `reading_kinds` for their shape."""

from liaoliao.town.reading_kinds import Field, Kinds, TextKind

NOTICES: Kinds = {
    "shop": {
        "en": TextKind(
            "place",
            (1, 2),
            ("Notice.", "A sign on the door:", "From the town paper:", "New in our street."),
            (
                Field(
                    "morning",
                    ("{s} opens at {v}.", "The doors of {s} open at {v}.", "Come to {s} from {v} on."),
                    ("When does {s} open?", "What time does {s} open?", "From what time is {s} open?"),
                ),
                Field(
                    "evening",
                    ("{s} closes at {v}.", "The doors of {s} close at {v}.", "{s} stays open until {v}."),
                    ("When does {s} close?", "What time does {s} close?", "Until when is {s} open?"),
                ),
                Field(
                    "price",
                    (
                        "A meal at {s} costs {v}.",
                        "You eat at {s} for {v}.",
                        "The price of a meal at {s} is {v}.",
                    ),
                    ("How much is a meal at {s}?", "What does a meal at {s} cost?"),
                ),
                Field(
                    "person",
                    ("The owner of {s} is {v}.", "{s} belongs to {v}.", "{v} owns {s}."),
                    ("Who owns {s}?", "Who is the owner of {s}?"),
                ),
            ),
        ),
        "zh": TextKind(
            "place",
            (1, 2),
            ("告示。", "门上贴着：", "报纸上说：", "街上有新店了。"),
            (
                Field(
                    "morning",
                    ("{s}的开门时间是{v}。", "{s}{v}开门。", "{v}起可以到{s}来。"),
                    ("{s}几点开门？", "{s}什么时候开门？", "几点起可以去{s}？"),
                ),
                Field(
                    "evening",
                    ("{s}的关门时间是{v}。", "{s}{v}关门。", "{s}一直开到{v}。"),
                    ("{s}几点关门？", "{s}什么时候关门？", "{s}开到几点？"),
                ),
                Field(
                    "price",
                    ("在{s}吃一顿饭要{v}。", "{s}的一顿饭卖{v}。", "花{v}能在{s}吃一顿饭。"),
                    ("在{s}吃一顿饭多少钱？", "{s}的一顿饭要多少钱？"),
                ),
                Field(
                    "person",
                    ("{s}的老板是{v}。", "{s}是{v}开的。", "{v}开了{s}。"),
                    ("{s}的老板是谁？", "{s}是谁开的？"),
                ),
            ),
        ),
    },
    "trains": {
        "en": TextKind(
            "train",
            (1, 2),
            (
                "Travel news.",
                "A board at the station:",
                "Please note the new timetable.",
                "To all travellers.",
            ),
            (
                Field(
                    "morning",
                    ("{s} leaves at {v}.", "{s} starts at {v}.", "The departure of {s} is at {v}."),
                    ("When does {s} leave?", "What time does {s} leave?"),
                ),
                Field(
                    "evening",
                    ("{s} arrives at {v}.", "{s} gets in at {v}.", "The arrival of {s} is at {v}."),
                    ("When does {s} arrive?", "What time does {s} arrive?"),
                ),
                Field(
                    "village",
                    ("{s} goes to {v}.", "{s} runs to {v}.", "With {s} you get to {v}."),
                    ("Where does {s} go?", "Which place does {s} go to?"),
                ),
                Field(
                    "price",
                    (
                        "A ticket for {s} costs {v}.",
                        "You pay {v} for a seat on {s}.",
                        "Tickets for {s} are {v}.",
                    ),
                    ("How much is a ticket for {s}?", "What does a ticket for {s} cost?"),
                ),
            ),
        ),
        "zh": TextKind(
            "train",
            (1, 2),
            ("出行消息。", "车站通知：", "请注意新的时刻表。", "各位旅客。"),
            (
                Field(
                    "morning",
                    ("{s}的发车时间是{v}。", "{s}{v}发车。", "{s}{v}开出。"),
                    ("{s}几点发车？", "{s}什么时候开？"),
                ),
                Field(
                    "evening",
                    ("{s}的到站时间是{v}。", "{s}{v}到站。", "{s}{v}抵达。"),
                    ("{s}几点到站？", "{s}什么时候到？"),
                ),
                Field(
                    "village",
                    ("{s}开往{v}。", "坐{s}能到{v}。", "{s}的终点是{v}。"),
                    ("{s}开往哪里？", "{s}的终点是哪里？"),
                ),
                Field(
                    "price",
                    ("{s}的车票卖{v}。", "坐{s}要花{v}。", "{s}一张票{v}。"),
                    ("{s}的车票多少钱？", "坐{s}要花多少钱？"),
                ),
            ),
        ),
    },
    "guests": {
        "en": TextKind(
            "person",
            (1, 2),
            ("The book of the inn:", "New guests have come.", "Note for the cook.", "Rooms for tonight."),
            (
                Field(
                    "number",
                    ("{s} has room {v}.", "{s} sleeps in room {v}.", "Room {v} is for {s}."),
                    ("Which room does {s} have?", "In which room does {s} sleep?"),
                ),
                Field(
                    "morning",
                    (
                        "{s} wants breakfast at {v}.",
                        "Breakfast for {s} is at {v}.",
                        "Please bring breakfast to {s} at {v}.",
                    ),
                    ("When does {s} want breakfast?", "At what time is breakfast for {s}?"),
                ),
                Field(
                    "food",
                    ("{s} ordered {v}.", "{s} would like {v}.", "Cook {v} for {s}."),
                    ("What did {s} order?", "What would {s} like to eat?"),
                ),
            ),
        ),
        "zh": TextKind(
            "person",
            (1, 2),
            ("客栈的登记簿：", "来了新客人。", "给厨师的便条。", "今晚的房间安排。"),
            (
                Field(
                    "number",
                    ("{s}的房间是{v}号。", "{s}住{v}号房。", "{v}号房给{s}。"),
                    ("{s}住几号房？", "{s}的房间是几号？"),
                ),
                Field(
                    "morning",
                    ("{s}的早饭时间是{v}。", "{s}{v}吃早饭。", "请在{v}给{s}送早饭。"),
                    ("{s}几点吃早饭？", "{s}的早饭时间是几点？"),
                ),
                Field(
                    "food",
                    ("{s}点了{v}。", "{s}想吃{v}。", "请给{s}做{v}。"),
                    ("{s}点了什么？", "{s}想吃什么？"),
                ),
            ),
        ),
    },
    "lost": {
        "en": TextKind(
            "person",
            (1, 3),
            (
                "Lost and found.",
                "Some things were lost at the fair.",
                "Who has seen these?",
                "The office has a list.",
            ),
            (
                Field(
                    "item",
                    ("{s} lost {a} {v}.", "{s} is looking for {a} {v}.", "Please help {s} to find {a} {v}."),
                    ("What did {s} lose?", "What is {s} looking for?"),
                ),
                Field(
                    "price",
                    (
                        "{s} offers {v} as a reward.",
                        "The reward of {s} is {v}.",
                        "{s} will pay {v} to the finder.",
                    ),
                    ("How much does {s} offer?", "What is the reward of {s}?"),
                ),
            ),
        ),
        "zh": TextKind(
            "person",
            (1, 3),
            ("寻物启事。", "集市上丢了几样东西。", "谁见过这些东西？", "办公室有一张单子。"),
            (
                Field(
                    "item",
                    ("{s}丢了{v}。", "{s}在找{v}。", "请帮{s}找{v}。"),
                    ("{s}丢了什么？", "{s}在找什么？"),
                ),
                Field(
                    "price",
                    ("{s}的酬金是{v}。", "{s}愿意出{v}酬谢。", "{s}会给找到的人{v}。"),
                    ("{s}的酬金是多少？", "{s}愿意出多少钱？"),
                ),
            ),
        ),
    },
    "courses": {
        "en": TextKind(
            "person",
            (1, 3),
            (
                "The school offers courses.",
                "New courses begin soon.",
                "Learn something new!",
                "From the notice board of the school:",
            ),
            (
                Field(
                    "hobby",
                    ("{s} teaches {v}.", "Learn {v} with {s}.", "The course of {s} is on {v}."),
                    ("What does {s} teach?", "What can I learn with {s}?"),
                ),
                Field(
                    "day",
                    ("{s} teaches on {v}.", "The course of {s} is on {v}.", "Come to {s} on {v}."),
                    ("On which day does {s} teach?", "Which day is the course of {s}?"),
                ),
                Field(
                    "number",
                    (
                        "{s} teaches in room {v}.",
                        "The room of {s} is number {v}.",
                        "You find {s} in room {v}.",
                    ),
                    ("In which room does {s} teach?", "What is the room of {s}?"),
                ),
            ),
        ),
        "zh": TextKind(
            "person",
            (1, 3),
            ("学校开了几门课。", "新课就要开始了。", "来学点新本领吧！", "学校的布告栏上写着："),
            (
                Field(
                    "hobby",
                    ("{s}教大家{v}。", "跟{s}可以学{v}。", "{s}的课是{v}。"),
                    ("{s}教什么？", "跟{s}可以学什么？"),
                ),
                Field(
                    "day",
                    ("{s}的课在{v}。", "{s}{v}上课。", "请{v}来找{s}。"),
                    ("{s}的课在星期几？", "{s}星期几上课？"),
                ),
                Field(
                    "number",
                    ("{s}在{v}号教室上课。", "{s}的教室是{v}号。", "到{v}号教室找{s}。"),
                    ("{s}在几号教室上课？", "{s}的教室是几号？"),
                ),
            ),
        ),
    },
    "parcels": {
        "en": TextKind(
            "person",
            (1, 3),
            (
                "The post office has parcels.",
                "Parcels of today:",
                "Please fetch your parcels.",
                "The mail coach came in.",
            ),
            (
                Field(
                    "item",
                    (
                        "The parcel of {s} holds {a} {v}.",
                        "In the parcel of {s} is {a} {v}.",
                        "{s} gets {a} {v}.",
                    ),
                    ("What is in the parcel of {s}?", "What does {s} get?"),
                ),
                Field(
                    "village",
                    (
                        "The parcel of {s} comes from {v}.",
                        "{v} is where the parcel of {s} was sent.",
                        "Somebody in {v} wrote to {s}.",
                    ),
                    ("Where does the parcel of {s} come from?", "From which place is the parcel of {s}?"),
                ),
                Field(
                    "number",
                    (
                        "The parcel of {s} has number {v}.",
                        "Number {v} is for {s}.",
                        "{s} should ask for number {v}.",
                    ),
                    ("Which number has the parcel of {s}?", "What is the number of the parcel of {s}?"),
                ),
            ),
        ),
        "zh": TextKind(
            "person",
            (1, 3),
            ("邮局里有几个包裹。", "今天的包裹：", "请来取包裹。", "邮车到了。"),
            (
                Field(
                    "item",
                    ("{s}的包裹里是{v}。", "{s}收到了{v}。", "寄给{s}的是{v}。"),
                    ("{s}的包裹里是什么？", "{s}收到了什么？"),
                ),
                Field(
                    "village",
                    ("{s}的包裹来自{v}。", "{s}的包裹是从{v}寄来的。", "{v}有人给{s}寄了东西。"),
                    ("{s}的包裹来自哪里？", "{s}的包裹是从哪里寄来的？"),
                ),
                Field(
                    "number",
                    ("{s}的包裹是{v}号。", "{v}号包裹是{s}的。", "{s}请取{v}号。"),
                    ("{s}的包裹是几号？", "{s}该取几号包裹？"),
                ),
            ),
        ),
    },
    "weather": {
        "en": TextKind(
            "village",
            (1, 4),
            (
                "The weather report.",
                "How warm was it today?",
                "News of the weather:",
                "The weather man says:",
            ),
            (
                Field(
                    "degrees",
                    (
                        "In {s} it was {v} degrees.",
                        "People in {s} had {v} degrees.",
                        "The glass in {s} showed {v} degrees.",
                    ),
                    ("How many degrees was it in {s}?", "How warm was it in {s}?"),
                ),
                Field(
                    "sky",
                    ("The sky over {s} was {v}.", "In {s} the weather was {v}.", "{s} had a {v} day."),
                    ("How was the sky over {s}?", "How was the weather in {s}?"),
                ),
            ),
        ),
        "zh": TextKind(
            "village",
            (1, 4),
            ("天气预报。", "今天有多热？", "天气消息：", "气象员说："),
            (
                Field(
                    "degrees",
                    ("{s}的气温是{v}度。", "{s}今天气温{v}度。", "{s}的温度计上是{v}度。"),
                    ("{s}今天多少度？", "{s}的气温是多少度？"),
                ),
                Field(
                    "sky",
                    ("{s}的天气是{v}。", "{s}今天{v}。", "{s}一整天都是{v}。"),
                    ("{s}的天气怎么样？", "{s}那边是什么天气？"),
                ),
            ),
        ),
    },
    "books": {
        "en": TextKind(
            "person",
            (1, 3),
            (
                "The library keeps a list.",
                "Books that are out:",
                "A note from the library.",
                "Who has borrowed what?",
            ),
            (
                Field(
                    "day",
                    (
                        "{s} must bring the book back on {v}.",
                        "The book of {s} is due on {v}.",
                        "We expect {s} on {v}.",
                    ),
                    ("On which day is the book of {s} due?", "When must {s} bring the book back?"),
                ),
                Field(
                    "theme",
                    ("{s} borrowed a book on {v}.", "The book of {s} is about {v}.", "{s} reads about {v}."),
                    ("What is the book of {s} about?", "What does {s} read about?"),
                ),
                Field(
                    "number",
                    (
                        "The book of {s} has {v} pages.",
                        "{s} has {v} pages to read.",
                        "There are {v} pages in the book of {s}.",
                    ),
                    ("How many pages has the book of {s}?", "How many pages does {s} have to read?"),
                ),
            ),
        ),
        "zh": TextKind(
            "person",
            (1, 3),
            ("图书馆有一张单子。", "借出去的书：", "图书馆的便条。", "谁借了什么书？"),
            (
                Field(
                    "day",
                    ("{s}的还书日是{v}。", "{s}的书{v}到期。", "我们{v}等{s}来还书。"),
                    ("{s}的书星期几到期？", "{s}星期几还书？"),
                ),
                Field(
                    "theme",
                    ("{s}借的书讲的是{v}。", "{s}在看讲{v}的书。", "{s}借走了一本关于{v}的书。"),
                    ("{s}借的书讲的是什么？", "{s}在看讲什么的书？"),
                ),
                Field(
                    "number",
                    ("{s}的书有{v}页。", "{s}要读{v}页。", "{s}借的那本书一共{v}页。"),
                    ("{s}的书有多少页？", "{s}要读多少页？"),
                ),
            ),
        ),
    },
}
