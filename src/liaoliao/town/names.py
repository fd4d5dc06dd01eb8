"""The names of everyone and everything in the town, in both languages.

Plain data, read by `world.build_town`. Chinese names are not translations of the English ones: each is
what such a person, shop or pet would really be called.
"""

FAMILIES = tuple(
    zip(
        (
            "Holt Barlow Crane Dunmore Ellery Farrow Grimsby Hartley Ingram Jessop Kettler Lowell Mercer Norwood "
            "Oakley Prescott Quimby Redfern Sutter Thorne Underhill Vance Whitlock Yarrow"
        ).split(),
        "林陈王李张刘杨赵黄周吴徐孙胡朱高何郭罗郑梁谢宋唐",
        strict=True,
    )
)

WOMEN = tuple(
    zip(
        (
            "Mira Tessa Ada Nora Greta Ines Wanda Clara Elsa Petra Rosa Mabel Freya Selma Dora Judith Astrid Leona "
            "Irma Carmen Hilda Naomi Tilda Vera Agnes Bianca Celia Daphne Edith Fiona Gilda Helen Ivana Joanna "
            "Kira Lorna Martha Nadia Odette Paula Ramona Sonia Thelma Ursula Valerie Wilma Yvonne Zelda"
        ).split(),
        (
            "小雨 雅琴 思敏 美玲 晓燕 秀英 佳怡 梦瑶 淑芬 丽华 婉清 月娥 诗涵 若兰 心怡 春梅 玉珍 慧敏 静雯 巧云 "
            "雪莹 桂香 欣然 文静 彩霞 素贞 碧莲 芳菲 念慈 紫薇 如意 青禾 可欣 兰芝 红玉 采薇 曼丽 晚晴 书瑶 凤仪 "
            "海棠 亦涵 嘉宁 凌霜 依依 冬妮 冰洁 秋菊"
        ).split(),
        strict=True,
    )
)

MEN = tuple(
    zip(
        (
            "Oskar Bruno Felix Hugo Anton Casper Dmitri Edgar Finn Gustav Harold Igor Jasper Kevin Leopold Marcus "
            "Nolan Otto Percy Quentin Rufus Simon Tobias Ulrich Victor Walter Xavier Yusuf Zachary Albert Basil "
            "Conrad Duncan Ernest Franklin Gilbert Herman Isaac Jonas Kurt Lionel Milton Norbert Orson Philip "
            "Ralph Stefan Theodore"
        ).split(),
        (
            "大勇 建国 志强 家豪 浩然 子轩 文博 俊杰 天宇 国栋 伟明 立新 永福 宏达 明远 思源 长青 德海 振华 铁山 "
            "向东 一鸣 少华 景行 承志 世杰 学文 启航 安邦 广林 春生 水根 金宝 来顺 正阳 东升 晓峰 云飞 万里 卫民 "
            "百川 宇辰 致远 小龙 成钢 保田 石头 守义"
        ).split(),
        strict=True,
    )
)

# (kind, the six places of that kind, the six things such places are known for)
PLACES = (
    (
        ("bakery", "面包店"),
        (
            ("the Morning Loaf", "晨香面包店"),
            ("the Little Oven", "小炉子面包店"),
            ("the Wheat Moon", "麦月面包店"),
            ("the Warm Corner", "暖角面包店"),
            ("the Happy Crust", "乐脆面包店"),
            ("the Old Mill", "老磨坊面包店"),
        ),
        (
            ("honey buns", "蜂蜜小面包"),
            ("plum tarts", "李子馅饼"),
            ("walnut bread", "核桃面包"),
            ("ginger biscuits", "姜饼"),
            ("cheese rolls", "奶酪卷"),
            ("sesame cakes", "芝麻蛋糕"),
        ),
    ),
    (
        ("tea house", "茶馆"),
        (
            ("the Jade Cup", "玉杯茶馆"),
            ("the Cloud Garden", "云园茶馆"),
            ("the Quiet Pot", "静壶茶馆"),
            ("the Bamboo Gate", "竹门茶馆"),
            ("the Pine Pavilion", "松亭茶馆"),
            ("the Slow River", "慢河茶馆"),
        ),
        (
            ("jasmine tea", "茉莉花茶"),
            ("mint tea", "薄荷茶"),
            ("rose tea", "玫瑰花茶"),
            ("barley tea", "大麦茶"),
            ("lemon tea", "柠檬茶"),
            ("ginseng tea", "人参茶"),
        ),
    ),
    (
        ("restaurant", "饭馆"),
        (
            ("the Hungry Bear", "饿熊饭馆"),
            ("the Round Table", "圆桌饭馆"),
            ("the Lucky Carp", "福鲤饭馆"),
            ("the Copper Pan", "铜锅饭馆"),
            ("the Seven Spoons", "七勺饭馆"),
            ("the Big Onion", "大葱饭馆"),
        ),
        (
            ("mushroom stew", "炖蘑菇"),
            ("fried trout", "煎鳟鱼"),
            ("onion soup", "洋葱汤"),
            ("lentil curry", "扁豆咖喱"),
            ("beef noodles", "牛肉面"),
            ("stuffed peppers", "酿青椒"),
        ),
    ),
    (
        ("inn", "客栈"),
        (
            ("the Sleepy Owl", "夜枭客栈"),
            ("the Straw Pillow", "草枕客栈"),
            ("the Full Moon", "满月客栈"),
            ("the Stone Bridge", "石桥客栈"),
            ("the North Star", "北星客栈"),
            ("the Wild Goose", "归雁客栈"),
        ),
        (
            ("pumpkin porridge", "南瓜粥"),
            ("roast duck", "烤鸭"),
            ("potato pancakes", "土豆饼"),
            ("apple cider", "苹果酒"),
            ("bean hotpot", "豆子火锅"),
            ("pear syrup", "秋梨膏"),
        ),
    ),
    (
        ("toy shop", "玩具店"),
        (
            ("the Wooden Horse", "木马玩具店"),
            ("the Paper Dragon", "纸龙玩具店"),
            ("the Tin Soldier", "锡兵玩具店"),
            ("the Merry Clown", "小丑玩具店"),
            ("the Button Box", "纽扣玩具店"),
            ("the Rainbow Top", "彩虹玩具店"),
        ),
        (
            ("paper kites", "纸风筝"),
            ("wooden trains", "木头火车"),
            ("rag dolls", "布娃娃"),
            ("tin drums", "铁皮鼓"),
            ("spinning tops", "陀螺"),
            ("glass marbles", "玻璃弹珠"),
        ),
    ),
    (
        ("bookshop", "书店"),
        (
            ("the Open Page", "开卷书店"),
            ("the Ink Well", "墨池书店"),
            ("the Paper Boat", "纸船书店"),
            ("the Reading Lamp", "夜读书店"),
            ("the Last Candle", "烛光书店"),
            ("the Dusty Shelf", "旧架书店"),
        ),
        (
            ("star maps", "星图"),
            ("picture books", "图画书"),
            ("leather notebooks", "皮面笔记本"),
            ("poem cards", "诗歌卡片"),
            ("cookbooks", "菜谱"),
            ("travel diaries", "游记"),
        ),
    ),
    (
        ("flower shop", "花店"),
        (
            ("the Rose Wall", "蔷薇花店"),
            ("the Spring Basket", "春篮花店"),
            ("the Bee Meadow", "蜂谷花店"),
            ("the Lily Pond", "莲池花店"),
            ("the Evening Dew", "晚露花店"),
            ("the Four Seasons", "四季花店"),
        ),
        (
            ("tulip bulbs", "郁金香球根"),
            ("fresh lilies", "鲜百合"),
            ("sunflower wreaths", "向日葵花环"),
            ("lavender bags", "薰衣草香袋"),
            ("moss baskets", "苔藓花篮"),
            ("fern pots", "蕨草盆栽"),
        ),
    ),
    (
        ("tailor shop", "裁缝铺"),
        (
            ("the Brave Thimble", "顶针裁缝铺"),
            ("the Long Thread", "长线裁缝铺"),
            ("the Patchwork Fox", "花狐裁缝铺"),
            ("the Velvet Glove", "绒手套裁缝铺"),
            ("the Crooked Needle", "弯针裁缝铺"),
            ("the Wide Sleeve", "宽袖裁缝铺"),
        ),
        (
            ("wool scarves", "羊毛围巾"),
            ("silk ties", "丝绸领带"),
            ("straw hats", "草帽"),
            ("linen shirts", "亚麻衬衫"),
            ("felt slippers", "毛毡拖鞋"),
            ("rain capes", "雨披"),
        ),
    ),
)

TRAINS = (
    ("the Swallow Express", "燕子号"),
    ("the Thunder Express", "雷声号"),
    ("the Comet Express", "彗星号"),
    ("the Maple Express", "枫叶号"),
    ("the Salmon Express", "鲑鱼号"),
    ("the Breeze Express", "微风号"),
    ("the Falcon Express", "猎鹰号"),
    ("the Orchid Express", "兰花号"),
    ("the Glacier Express", "冰川号"),
    ("the Harvest Express", "丰收号"),
    ("the Tiger Express", "老虎号"),
    ("the Dolphin Express", "海豚号"),
    ("the Lotus Express", "荷花号"),
    ("the Antelope Express", "羚羊号"),
    ("the Pearl Express", "珍珠号"),
    ("the Sunrise Express", "日出号"),
)

ANIMALS = (
    ("Pip", "皮皮"),
    ("Noodle", "团团"),
    ("Clover", "三叶"),
    ("Pepper", "花椒"),
    ("Domino", "多米"),
    ("Pickle", "泡泡"),
    ("Waffle", "圆圆"),
    ("Bandit", "大盗"),
    ("Toffee", "太妃"),
    ("Juniper", "珠珠"),
    ("Nutmeg", "果果"),
    ("Rusty", "铁蛋"),
    ("Snowball", "雪球"),
    ("Tango", "探戈"),
    ("Bramble", "刺刺"),
    ("Marble", "玛瑙"),
    ("Sprout", "芽芽"),
    ("Ziggy", "吉吉"),
    ("Mochi", "糯米"),
    ("Rocket", "火箭"),
    ("Pudding", "点点"),
    ("Widget", "丁丁"),
    ("Bubble", "噜噜"),
    ("Hazel", "榛子"),
    ("Cinder", "炭炭"),
    ("Tinker", "当当"),
    ("Misty", "雾雾"),
    ("Jester", "乐乐"),
    ("Kipper", "奇奇"),
    ("Dumpling", "汤圆"),
    ("Orbit", "球球"),
    ("Willow", "柳柳"),
    ("Scout", "阿探"),
    ("Truffle", "松露"),
    ("Muffin", "绒绒"),
    ("Quill", "羽羽"),
    ("Captain", "船长"),
    ("Rumble", "隆隆"),
    ("Topaz", "琉璃"),
    ("Figaro", "费加"),
)
