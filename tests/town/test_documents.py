"""Documents: every fact met often, no pattern frequent, one language a text."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import islice
from random import Random

import pytest

from liaoliao.town import LANGS, build_town, documents
from liaoliao.town.words import Lang
from tests.town.search import facts_stated, names_pattern

NUM_DOCUMENTS = 1600


@cache
def sample(lang: Lang, num: int = NUM_DOCUMENTS, seed: int = 7) -> tuple[str, ...]:
    return tuple(islice(documents(build_town(), lang, Random(seed)), num))


def sentences(texts: Sequence[str], lang: Lang) -> list[str]:
    border = r"(?<=[.!?])\s+" if lang == "en" else r"(?<=[。！？])"
    return [sentence for text in texts for sentence in re.split(border, text) if sentence]


def stated(found: list[str], lang: Lang) -> tuple[Counter[tuple[str, str]], int]:
    """How often each fact is stated in one sentence with its entity, and how many sentences state one."""
    hits = [list(facts_stated(sentence, lang)) for sentence in found]
    return Counter((fact.entity.id, fact.attribute) for facts in hits for fact in facts), sum(map(bool, hits))


def num_tokens(text: str, lang: Lang) -> int:
    """About what a tokenizer makes of it: words, single digits, signs; in Chinese two characters a token."""
    if lang == "en":
        return len(re.findall(r"[A-Za-z']+|\d|[^\sA-Za-z\d]", text))
    return len(re.findall(r"[\u4e00-\u9fff]", text)) // 2 + len(re.findall(r"[^\u4e00-\u9fff\s]", text))


@pytest.mark.parametrize("lang", LANGS)
def test_the_same_dice_write_the_same_texts(lang: Lang) -> None:
    assert sample(lang, 40) == sample(lang)[:40]
    assert sample(lang, 40) != sample(lang, 40, seed=8)


@pytest.mark.parametrize("lang", LANGS)
def test_each_fact_is_stated_often_and_about_equally(lang: Lang) -> None:
    texts = sample(lang)
    counts, num_factual = stated(sentences(texts, lang), lang)
    per_700k = 700_000 / sum(num_tokens(text, lang) for text in texts)
    found = sorted(counts[fact.entity.id, fact.attribute] * per_700k for fact in build_town().facts)
    assert found[0] >= 20, "in a sample this small some fact is unlucky, but none is left out"
    assert found[len(found) // 20] >= 38
    assert num_factual / len(sentences(texts, lang)) >= 0.6


@pytest.mark.parametrize("lang", LANGS)
def test_no_sentence_pattern_is_frequent(lang: Lang) -> None:
    pattern = names_pattern(lang)
    found = sentences(sample(lang), lang)
    patterns = Counter(re.sub(r"\d+", "#", pattern.sub("N", sentence)) for sentence in found)
    assert patterns.most_common(1)[0][1] / len(found) < 0.015


@pytest.mark.parametrize("lang", LANGS)
def test_texts_are_of_one_language_whole_and_short(lang: Lang) -> None:
    for text in sample(lang):
        wrong = re.search(r"[\u2e80-\uffef]" if lang == "en" else r"[A-Za-z]", text)
        assert not wrong, text
        assert "{" not in text
        assert "}" not in text
        length = len(text.split()) if lang == "en" else len(text)
        assert 10 <= length <= (200 if lang == "en" else 300), text


def test_english_articles() -> None:
    for text in sample("en"):
        if "begins with" in text:  # a lesson on letters
            continue
        assert not re.search(r"\ba [aeiouAEIOU]", text), text
        assert not re.search(r"\ban [^aeiouAEIOU]", text), text
