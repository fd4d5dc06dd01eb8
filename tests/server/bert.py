"""A tiny model of the sentence-transformers library, made here: nothing is downloaded.

folder = made(tmp_path / "tiny-bert")       # skips the test where the library is not installed
"""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.server.conftest import WORDS

SIZE, CONTEXT = 32, 64


def made(folder: Path, *, special: bool = True, **options: Any) -> Path:
    """A folder of the library: a BERT of random weights, a tokenizer of a few words, their mean."""
    reason = "sentence-transformers is not installed"
    modules: Any = pytest.importorskip("sentence_transformers.sentence_transformer.modules", reason=reason)
    library: Any = pytest.importorskip("sentence_transformers", reason=reason)
    transformers: Any = pytest.importorskip("transformers")
    bare = folder.with_name(f"{folder.name}-bare")
    own: Any = _tokenizer(special=special)
    marks = {"unk_token": "[UNK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=own, model_max_length=CONTEXT, **marks
    ).save_pretrained(bare)
    torch.manual_seed(1)
    sizes = {"hidden_size": SIZE, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = transformers.BertConfig(
        vocab_size=own.get_vocab_size(), max_position_embeddings=CONTEXT, initializer_range=0.5, **sizes
    )
    transformers.BertModel(config).save_pretrained(bare)
    parts = [modules.Transformer(str(bare)), modules.Pooling(SIZE, "mean")]
    library.SentenceTransformer(modules=parts, device="cpu", **options).save_pretrained(
        str(folder), create_model_card=False
    )
    return folder


def _tokenizer(*, special: bool) -> Any:
    import tokenizers
    from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

    tokenizer: Any = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(WORDS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=names))
    if special:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    return tokenizer
