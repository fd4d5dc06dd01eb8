"""What the facts of the town can say: the value tables, in both languages.

No value of a type contains another one of that type, so that an answer can be graded by looking for it.
Times, prices and platforms are made by `world.build_town`.
"""

from liaoliao.town.words import Both


def _both(english: str, chinese: str) -> tuple[Both, ...]:
    pairs = zip(english.split(", "), chinese.split(" "), strict=True)
    return tuple(Both(en, zh) for en, zh in pairs)


JOBS = _both(
    "baker, nurse, teacher, carpenter, fisher, mail carrier, doctor, gardener, tailor, painter, clockmaker, "
    "librarian, firefighter, chef, farmer, beekeeper, potter, singer, journalist, bus driver, dentist, "
    "locksmith, shoemaker, photographer, judge, engineer, weaver, archivist",
    "面包师 护士 教师 木匠 渔夫 邮递员 医生 园丁 裁缝 画家 钟表匠 图书管理员 消防员 厨师 农夫 养蜂人 陶艺师 "
    "歌手 记者 公交司机 牙科大夫 锁匠 鞋匠 摄影师 法官 工程师 织布工 档案员",
)
STREETS = _both(
    "Elm Street, Harbour Street, Station Road, Mill Lane, Bell Street, Orchard Road, Garden Lane, Castle "
    "Street, Bridge Road, Market Street, Hill Lane, School Road, Temple Street, Lake Road, Wall Street, "
    "Ferry Lane",
    "榆树街 港口街 车站路 磨坊巷 钟楼街 果园路 花园巷 城堡街 大桥路 集市街 山坡巷 学堂路 寺庙街 湖滨路 "
    "城墙街 渡口巷",
)
FOODS = _both(
    "pumpkin soup, egg fried rice, apple pie, roast chicken, tomato noodles, bean stew, cheese toast, "
    "potato salad, rice pudding, fish cakes, cherry jam, sweet corn, steamed buns, grilled eel, mango ice, "
    "carrot cake, pea soup, baked pears, pickled cabbage, garlic prawns, blueberry pancakes, tofu skewers, "
    "sugared chestnuts, lamb dumplings",
    "南瓜汤 蛋炒饭 苹果派 烤鸡 番茄面 炖豆子 奶酪吐司 土豆沙拉 米布丁 鱼饼 樱桃酱 甜玉米 小笼包 烤鳗鱼 "
    "芒果冰 胡萝卜蛋糕 豌豆汤 烤梨 酸白菜 蒜蓉虾 蓝莓松饼 豆腐串 糖炒栗子 羊肉饺子",
)
HOBBIES = _both(
    "fishing, chess, kite flying, knitting, choir singing, stargazing, stamp collecting, ice skating, "
    "swimming, folk dancing, drumming, juggling, calligraphy, growing roses, cycling, long walks, the "
    "violin, the flute, archery, table tennis, bird watching, paper folding, rowing, puppet making, rock "
    "climbing, wood carving",
    "钓鱼 下象棋 放风筝 织毛衣 参加合唱 看星星 集邮 滑冰 游泳 跳舞 打鼓 玩杂耍 练书法 种玫瑰 骑车 散步 "
    "拉小提琴 吹笛子 射箭 打乒乓球 观鸟 折纸 划船 做木偶 攀岩 刻木头",
)
MONTHS = tuple(
    Both(name, f"{number}月")
    for number, name in enumerate(
        "January February March April May June July August September October November December".split(),
        start=1,
    )
)
DOORS = _both(
    "red, blue, green, yellow, white, black, brown, grey, orange, purple, pink, silver, golden, turquoise",
    "红色 蓝色 绿色 黄色 白色 黑色 棕色 灰色 橙色 紫色 粉色 银色 金色 青色",
)
COATS = _both(
    "black, white, brown, grey, golden, cream, silver, chestnut, sandy, orange, charcoal, copper, honey, "
    "amber",
    "黑色 白色 棕色 灰色 金色 奶油色 银色 栗色 沙色 橙色 炭色 古铜色 蜜色 琥珀色",
)
DESTINATIONS = _both(
    "Larkhaven, Pinebury, Saltmouth, Greywick, Otterford, Appledale, Ravenhill, Foxbridge, Stormbay, "
    "Millbrook, Goldsand, Deerfield, Cloudrest, Redcliff, Ironport, Honeywell",
    "云雀港 松堡 盐口镇 灰水镇 水獭渡 苹果谷 乌鸦岭 狐桥镇 风暴湾 磨坊溪 金沙滩 鹿野 云歇山 赤崖 铁港 蜜泉镇",
)
SPECIES = _both(
    "dog, cat, goat, hen, duck, goose, rabbit, pony, donkey, sheep, pig, tortoise, parrot, hedgehog, cow, "
    "pigeon",
    "小狗 小猫 山羊 母鸡 鸭子 大鹅 兔子 小马 毛驴 绵羊 小猪 乌龟 鹦鹉 刺猬 奶牛 鸽子",
)
THINGS = _both(
    "old slippers, warm straw, shiny spoons, rain puddles, carrot tops, wool socks, tower bells, apple "
    "cores, paper bags, soft cushions, morning sun, dandelions, cardboard boxes, pumpkin seeds, drum music, "
    "muddy boots, rubber balls, cheese rinds, haystacks, feather dusters, fresh snow, garden hoses",
    "旧拖鞋 暖稻草 亮勺子 雨水坑 胡萝卜叶 毛袜子 大钟的响声 苹果核 纸袋 软垫子 早晨的太阳 蒲公英 纸箱 "
    "南瓜子 鼓声 泥靴子 皮球 奶酪皮 干草堆 鸡毛掸子 新雪 水管",
)
# the measure word that counts each kind of animal: 一只小狗, 一匹小马
MEASURES = {"小马": "匹", "毛驴": "头", "奶牛": "头", "小猪": "头"}
TABLES = (JOBS, STREETS, FOODS, HOBBIES, MONTHS, DOORS, COATS, DESTINATIONS, SPECIES, THINGS)
