"""A small closed bilingual world whose every fact is known to the code: Willowmere / 柳湖镇.

    town = build_town()
    documents(town, "en", Random(0))              texts to pretrain on, every fact in many wordings
    drills("en", Random(0))                       copying exercises
    conversations(town, "zh", Random(0))          talk to learn from: no held-back fact is ever asked there
    preferences(town, "zh", Random(0))            good replies beside bad ones
    questions(town, "facts", "en", num=500)       test questions with exact graders
    TOOLS, run_tool(name, arguments_json)         calculator and lookup
    segment_words("林小雨是面包师。")               word boundaries for tokenizer training

Everything is deterministic in its seed. Files, bottom up: words, names, values, world (entities and
facts), phrases_* (how facts are said and asked), documents with frames, remarks, stories and lessons, blocks
(exchanges) with asking, telling, reading, sums, school and smalltalk, then talks, drills, preferences,
questions and grading.
"""

from liaoliao.town.documents import documents
from liaoliao.town.drills import drills
from liaoliao.town.grading import refused
from liaoliao.town.preferences import preferences
from liaoliao.town.questions import KINDS, Question, QuestionKind, questions
from liaoliao.town.segment import segment_words
from liaoliao.town.talks import conversations
from liaoliao.town.tools import TOOLS, run_tool
from liaoliao.town.words import LANGS, Lang
from liaoliao.town.world import Entity, Fact, Town, build_town

__all__ = [
    "KINDS",
    "LANGS",
    "TOOLS",
    "Entity",
    "Fact",
    "Lang",
    "Question",
    "QuestionKind",
    "Town",
    "build_town",
    "conversations",
    "documents",
    "drills",
    "preferences",
    "questions",
    "refused",
    "run_tool",
    "segment_words",
]
