"""The town as training data: documents, drills and talks in both languages, made in seconds, offline.

The shares below are the curriculum: copying drills are dense early on, because a model that cannot copy from its context
can neither call a calculator nor read a notice (see LOG.md); talks are part of pretraining too, so that the facts of the
documents are laid down in a form that questions can reach.
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from liaoliao import town as town_world
from liaoliao.messages import Conversation
from liaoliao.recipes.corpus import (
    LANGS,
    Corpus,
    Lang,
    document_examples,
    drill_examples,
    rng_for,
    talk_examples,
    within_rows,
    write_stream,
)
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.tokenizer import Tokenizer

TOKENIZER_TEXTS = 4000  # documents and talks of each language that the tokenizer learns from
HELD_OUT_TEXTS = 100
# tokens written, each half English and half Chinese
SHARES = {"documents": 0.24, "drills": 0.19, "talks": 0.57}
PRETRAIN = {"documents": 0.25, "drills": 0.24, "talks": 0.51}
SFT = {"documents": 0.08, "drills": 0.06, "talks": 0.86}


def town_corpus(
    folder: Path,
    *,
    num_tokens: int,
    vocab_size: int,
    seed: int,
    shares: Mapping[str, float] = SHARES,
    pretrain: Mapping[str, float] = PRETRAIN,
    sft: Mapping[str, float] = SFT,
    row_length: int | None = None,
) -> Corpus:
    """Write about `num_tokens` of the town. The world itself is always the same; `seed` draws what is said about it.

    Talk longer than a row of `row_length` tokens is learned from in several.
    """
    town = town_world.build_town()
    tokenizer = Tokenizer.train(_tokenizer_texts(town, seed), vocab_size, segment=town_world.segment_words)
    template = ChatTemplate(tokenizer)
    streams = {}
    for lang in LANGS:
        half = {name: int(num_tokens * share / 2) for name, share in shares.items()}
        documents = town_world.documents(town, lang, rng_for(seed, "documents", lang))
        drills = town_world.drills(lang, rng_for(seed, "drills", lang))
        talks = town_world.conversations(town, lang, rng_for(seed, "talks", lang))
        examples = {
            "documents": document_examples(tokenizer, documents),
            "drills": drill_examples(tokenizer, template, drills),
            "talks": within_rows(talk_examples(template, talks), row_length),
        }
        for name, stream in examples.items():
            streams[f"{name}:{lang}"] = write_stream(folder, f"{name}:{lang}", tokenizer, stream, half[name])
    held_out = {
        lang: list(islice(town_world.documents(town, lang, rng_for(seed, "held out", lang)), HELD_OUT_TEXTS))
        for lang in LANGS
    }
    return Corpus(
        tokenizer,
        template,
        streams,
        _by_language(pretrain),
        _by_language(sft),
        held_out,
        tools=tuple(tool.name for tool in town_world.TOOLS),
        questions={lang: town_questions(town, lang) for lang in LANGS},
    )


def town_questions(town: town_world.Town, lang: Lang) -> list[str]:
    """One about a fact of the town, and a sum: what takes a model longest to learn, and what it learns early."""
    asked = [
        town_world.questions(town, kind, lang, num=1)[0].messages[-1] for kind in ("facts", "arithmetic")
    ]
    return [message.text for message in asked]


def _by_language(shares: Mapping[str, float]) -> dict[str, float]:
    return {f"{name}:{lang}": share / 2 for name, share in shares.items() for lang in LANGS}


def _tokenizer_texts(town: town_world.Town, seed: int) -> Iterator[str]:
    for lang in LANGS:
        yield from islice(town_world.documents(town, lang, rng_for(seed, "tokenizer", lang)), TOKENIZER_TEXTS)
        talks = town_world.conversations(town, lang, rng_for(seed, "tokenizer talks", lang))
        yield from _spoken(islice(talks, TOKENIZER_TEXTS))


def _spoken(talks: Iterator[Conversation]) -> Iterator[str]:
    for talk in talks:
        for message in talk.messages:
            yield message.text
            for call in message.tool_calls:
                yield f'{{"name": "{call.name}", "arguments": {call.arguments}}}'
