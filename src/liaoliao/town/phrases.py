"""One door to all phrasing tables.

PHRASES["place", "opens"]["en"].asks[0]  -> "When does {e} open?"
"""

from collections.abc import Mapping

from liaoliao.town.phrases_animal import ANIMAL
from liaoliao.town.phrases_place import PLACE
from liaoliao.town.phrases_resident import RESIDENT
from liaoliao.town.phrases_train import TRAIN
from liaoliao.town.phrases_ware import WARE
from liaoliao.town.phrasing import Phrasing, Table
from liaoliao.town.words import Lang
from liaoliao.town.world import Fact, Kind

_TABLES: dict[Kind, Table] = {
    "resident": RESIDENT,
    "place": {**PLACE, **WARE},
    "train": TRAIN,
    "animal": ANIMAL,
}
PHRASES: Mapping[tuple[Kind, str], Mapping[Lang, Phrasing]] = {
    (kind, attribute): phrasing for kind, table in _TABLES.items() for attribute, phrasing in table.items()
}


def phrasing_of(fact: Fact, lang: Lang) -> Phrasing:
    """The wordings for this very fact."""
    return PHRASES[fact.entity.kind, fact.attribute][lang]
