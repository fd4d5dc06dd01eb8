"""Made-up names and words, so that drills and reading need true copying.

A hash sends each name to training or to the test questions, never both.

    Inventor("en", Random(0), test=False).person()  -> "Tamo Birkdale"
"""

from collections.abc import Callable, Mapping
from random import Random

from liaoliao.town import names
from liaoliao.town.words import Lang, pick, reserved

# few syllables, each soon one token: a name is then copied in two or three steps
_FIRST = (
    "Ba Be Bo Bra Cal Da Del Do Dra Fa Fen Flo Ga Gil Gra Ha Hel Jo Ju Ka Kel Kor La Lem Lo Lu Ma Mel Mo Na "
    "Nel Ola Pa Pel Po Qua Ra Rel Ru Sa Sel Ska Sol Ta Tel Tor Tu Va Vel Vo Wa Wil Ya Yo Za Zel"
).split()
_LAST = (
    "bin bo da dan dek din do fin fo gan go ka kin ko la lan lek lin lo ma mek min mo na nek nin no ra ran "
    "rek rin ro sek sin ta tan tek tin to va van vin vo zan"
).split()
_ROOTS = (
    "Alder Birk Cold Dray Ewel Fal Gar Hax Inder Kest Lang Mor Nether Oder Pen Quar Rad Sted Tal Ven Wex "
    "Yar Zell"
).split()
_ROOT_ENDS = "bury by combe dale den ford ham ley mer more stead ston well wick worth".split()
_ADJECTIVES = (
    "Brown Tiny Rusty Noisy Polite Frosty Stormy Painted Broken Royal Simple Sunny Ancient Clever Gentle "
    "Windy"
).split()
_NOUNS = (
    "Ladder Whistle Anchor Trumpet Barrel Feather Kettle Pumpkin Turtle Mirror Cabbage Compass Violin "
    "Basket Walnut Beetle Umbrella Hammer Wagon Pebble Saddle Teapot Parrot Chimney"
).split()
_SURNAMES = "冯董萧程曹袁邓许傅沈曾彭吕苏卢蒋蔡贾丁魏薛阎余潘杜戴夏钟汪田任姜范方姚谭廖邹熊孟秦"
_GIVEN = (
    "安波超晨丹恩飞刚浩辉佳健洁军凯康岚磊莉亮琳玲龙露梅敏娜楠宁"
    "鹏平琪强晴然瑞珊帅涛婷薇伟霞翔鑫萱艳洋瑶毅莹勇宇远云泽珍志舟竹卓子祖"
)
_CHARACTERS = (
    "山水木火土风云石田禾竹米草花果叶根枝虫鱼牛羊鹿鹤蛙贝玉珠线布衣帽鞋"
    "碗盘勺刀锅灯笔墨纸书画琴鼓钟铃船车轮桥路门窗墙瓦井塔亭"
)
_TRADES = ("面包店", "茶馆", "饭馆", "客栈", "玩具店", "书店", "花店", "裁缝铺")
_PET_CHARACTERS = "咪哈嘟喵汪旺贝波卡可拉露妮帕丝塔托娃西雅桃梨枣杏莓椰"
_TAKEN = frozenset(
    [en for en, _ in (*names.WOMEN, *names.MEN, *names.ANIMALS)]
    + [zh for _, zh in (*names.TRAINS, *names.ANIMALS)]
    + [zh for _, places, _ in names.PLACES for _, zh in places]
    + [en for _, places, _ in names.PLACES for en, _ in places]
)


class Inventor:
    """Makes names of one language and one side of the split; distinct ones until `forget`."""

    def __init__(self, lang: Lang, rng: Random, *, test: bool = False) -> None:
        self.lang, self.rng, self.test = lang, rng, test
        self._used: set[str] = set()

    def forget(self) -> None:
        """Names may come again (call it between conversations)."""
        self._used.clear()

    def first_name(self) -> str:
        """`Tamo` / `冯晨`."""
        return self._new(self._given_en if self.lang == "en" else self._person_zh)

    def person(self) -> str:
        """`Tamo Birkdale` / `冯晨`."""
        if self.lang == "zh":
            return self._new(self._person_zh)
        return f"{self._new(self._given_en)} {self._new(self._surname_en)}"

    def place(self) -> str:
        """`the Rusty Anchor` / `竹灯茶馆`."""
        return self._new(self._place_en if self.lang == "en" else self._place_zh)

    def train(self) -> str:
        """`the Tamo Express` / `鹿铃号`."""
        return self._new(self._train_en if self.lang == "en" else self._train_zh)

    def animal(self) -> str:
        """`Tamo` / `哈帕`."""
        return self._new(self._given_en if self.lang == "en" else self._pet_zh)

    def village(self) -> str:
        """`Tamoville` / `鹿桥村`."""
        return self._new(self._village_en if self.lang == "en" else self._village_zh)

    def word(self) -> str:
        """A word without meaning: `draldek` / `鹿灯`."""
        return self._new(self._word_en if self.lang == "en" else self._word_zh)

    def _new(self, make: Callable[[], str]) -> str:
        while True:
            name = make()
            if name not in self._used and name not in _TAKEN and self._is_test(name) == self.test:
                self._used.add(name)
                return name

    def _is_test(self, name: str) -> bool:
        if self.lang == "zh":  # by the first two characters, so that no training name begins with a test name
            return reserved(name[:2])
        # a train may be called like a person
        return reserved(name.lower().removeprefix("the ").removesuffix(" express"))

    def _given_en(self) -> str:
        middle = pick(self.rng, _LAST) if self.rng.random() < 0.2 else ""
        return pick(self.rng, _FIRST) + middle + pick(self.rng, _LAST)

    def _word_en(self) -> str:
        return self._given_en().lower()

    def _surname_en(self) -> str:
        return pick(self.rng, _ROOTS) + pick(self.rng, _ROOT_ENDS)

    def _person_zh(self) -> str:
        rng = self.rng
        return pick(rng, _SURNAMES) + (_two(rng, _GIVEN) if rng.random() < 0.7 else pick(rng, _GIVEN))

    def _place_en(self) -> str:
        return f"the {pick(self.rng, _ADJECTIVES)} {pick(self.rng, _NOUNS)}"

    def _place_zh(self) -> str:
        return self._word_zh() + pick(self.rng, _TRADES)

    def _train_en(self) -> str:
        return f"the {self._given_en()} Express"

    def _train_zh(self) -> str:
        return self._word_zh() + "号"

    def _pet_zh(self) -> str:
        return _two(self.rng, _PET_CHARACTERS)

    def _village_en(self) -> str:
        middle = pick(self.rng, _LAST) if self.rng.random() < 0.5 else ""
        return (
            pick(self.rng, _FIRST)
            + middle
            + pick(self.rng, ("ton", "ville", "field", "burg", "port", "wood"))
        )

    def _village_zh(self) -> str:
        return self._word_zh() + pick(self.rng, "村庄寨")

    def _word_zh(self) -> str:
        return _two(self.rng, _CHARACTERS)


def _two(rng: Random, characters: str) -> str:
    """Two different characters."""
    one = pick(rng, characters)
    other = pick(rng, characters)
    return one + other if one != other else _two(rng, characters)


MAKERS: Mapping[str, str] = {"resident": "person", "place": "place", "train": "train", "animal": "animal"}
