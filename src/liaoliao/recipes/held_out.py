"""Bits per byte of texts that a run keeps back, measured by the way and at the end.

evaluate = held_out_bits(corpus);  evaluate(model)  ->  {"bits_per_byte:en": 1.41, "bits_per_byte:zh": 1.52}
"""

from collections.abc import Mapping, Sequence

from liaoliao.engine.engine import Engine
from liaoliao.model.transformer import Transformer
from liaoliao.recipes.corpus import Corpus
from liaoliao.recipes.stage import Evaluate
from liaoliao.tasks.bits_per_byte import Document, Scorer, bits_per_byte, text_document
from liaoliao.tasks.task import TaskResult
from liaoliao.text.tokenizer import Tokenizer

BY_THE_WAY = 30  # texts of each language scored while training: enough for a curve


def held_out_bits(corpus: Corpus) -> Evaluate:
    """A function that scores some of the corpus's held-out texts under the model as it is at that moment."""
    documents = {
        lang: _documents(texts[:BY_THE_WAY], corpus.tokenizer) for lang, texts in corpus.held_out.items()
    }

    def evaluate(model: Transformer) -> Mapping[str, float]:
        model.eval()
        engine = Engine(model, max_running=1)
        scores = {f"bits_per_byte:{lang}": bits_per_byte(engine, docs)[0] for lang, docs in documents.items()}
        model.train()
        return scores

    return evaluate


def held_out_results(engine: Scorer, corpus: Corpus) -> list[TaskResult]:
    """The same figures with their standard errors, as results named `held-out:en` and `held-out:zh`."""
    results = []
    for lang, texts in corpus.held_out.items():
        documents = _documents(texts, corpus.tokenizer)
        value, stderr = bits_per_byte(engine, documents)
        results.append(TaskResult(f"held-out:{lang}", "bits_per_byte", value, stderr, len(documents)))
    return results


def _documents(texts: Sequence[str], tokenizer: Tokenizer) -> list[Document]:
    return [
        text_document(ids, text, tokenizer)
        for text, ids in zip(texts, tokenizer.encode_batch(texts), strict=True)
    ]
