"""A tokenizer of one's own: byte-level BPE learned from any mix of files, as much from each language.

    train_tokenizer(["my-data"], 8192, Path("runs/tokenizer")).bytes_per_token  ->  {"en": 4.31, "zh": 3.62}

The figures are of texts that the tokenizer did not learn from, where there are enough of them to keep some back.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from liaoliao.errors import UsageError
from liaoliao.recipes.file_corpus import hold_out, sample_files, tokenizer_texts, usable_files
from liaoliao.text.tokenizer import Tokenizer

FILE = "tokenizer.json"
LIMIT_BYTES = 50_000_000  # more teaches a vocabulary nothing new, and takes minutes


@dataclass(frozen=True, slots=True)
class TokenizerResult:
    """What was trained, where it lies, and how many UTF-8 bytes a token stands for in each language."""

    tokenizer: Tokenizer
    folder: Path
    bytes_per_token: Mapping[str, float]


def train_tokenizer(
    files: Sequence[str | Path],
    vocab_size: int,
    out: Path,
    *,
    limit_bytes: int = LIMIT_BYTES,
    seed: int = 0,
    say: Callable[[str], None] = lambda line: None,
) -> TokenizerResult:
    """Learn `vocab_size` tokens from about `limit_bytes` of text and talk; write tokenizer.json into the folder `out`.

    Raises UsageError where `out` holds a tokenizer already, DataError and TokenizerError for what cannot be learned from.
    """
    if (out / FILE).exists():
        raise UsageError(f"{out} already holds a tokenizer; name another folder (--out)")
    sampled = sample_files(usable_files(files, say), limit_bytes, seed)
    held_out = {lang: hold_out(drawn) for lang, drawn in sampled.items()}
    tokenizer = Tokenizer.train(tokenizer_texts(sampled, seed, limit_bytes), vocab_size)
    tokenizer.save(out)
    measured: dict[str, float] = {
        lang: tokenizer.bytes_per_token("\n".join(held_out[lang] or drawn.all_texts()))
        for lang, drawn in sampled.items()
    }
    return TokenizerResult(tokenizer, out, measured)
