"""A model folder's vocabulary in llama.cpp's terms: the tokenizer half of a GGUF file.

llama.cpp rebuilds byte-level BPE from the token strings, their kinds, the merges and the *name* of the rule that
cuts a text before the merges. The name is written only where that rule is known to cut alike.

    read_vocabulary(folder, config).pre  ->  "qwen2"
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, TokenType

from liaoliao.errors import CheckpointError, TemplateError, TokenizerError
from liaoliao.model.checkpoint import load_generation
from liaoliao.model.config import ModelConfig
from liaoliao.text.jinja_template import read_jinja
from liaoliao.text.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What llama.cpp needs to know of a tokenizer; `tokens` and `kinds` have one entry per embedding.

    `stop_ids` end a reply, the tokenizer's own end first. `chat_template` is the folder's Jinja, None for a base
    model. `notes` say where llama.cpp will differ.
    """

    pre: str
    tokens: tuple[str, ...]
    kinds: tuple[TokenType, ...]
    merges: tuple[str, ...]
    bos_id: int
    stop_ids: tuple[int, ...]
    pad_id: int
    add_bos: bool
    chat_template: str | None
    notes: tuple[str, ...] = ()

    @property
    def stops(self) -> tuple[str, ...]:
        """The tokens that end a reply, by name."""
        return tuple(self.tokens[token_id] for token_id in self.stop_ids)


def read_vocabulary(folder: Path, config: ModelConfig) -> Vocabulary:
    """The vocabulary of a folder for a model of `config`. Raises CheckpointError for one that llama.cpp would cut
    in another way, or cannot load.
    """
    tokenizer = Tokenizer.load(folder)
    spec = tokenizer.spec
    if tokenizer.vocab_size > config.vocab_size:
        raise CheckpointError(
            f"{folder}: the tokenizer has {tokenizer.vocab_size} tokens, but the model only "
            f"{config.vocab_size} embeddings"
        )
    tokens, kinds = _tokens(spec, config.vocab_size, folder)
    stop_ids = _stop_ids(tokenizer, config, folder)
    return Vocabulary(
        pre=_pre(tokenizer, folder),
        tokens=tokens,
        kinds=kinds,
        merges=_merges(spec, folder),
        bos_id=_first(config.bos_token_id, lambda: tokenizer.opening_id, stop_ids, config.vocab_size),
        stop_ids=stop_ids,
        pad_id=_first(config.pad_token_id, lambda: tokenizer.pad_id, stop_ids, config.vocab_size),
        add_bos=_adds_bos(tokenizer, spec),
        chat_template=_chat_template(folder),
        notes=_normalizer_notes(spec, folder),
    )


def write_vocabulary(writer: GGUFWriter, vocabulary: Vocabulary) -> None:
    """Add the `tokenizer.*` keys to a GGUF file."""
    writer.add_tokenizer_model("gpt2")  # llama.cpp's name for byte-level BPE
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.kinds)
    writer.add_token_merges(vocabulary.merges)
    writer.add_bos_token_id(vocabulary.bos_id)  # without these two llama.cpp takes token 11 for both
    writer.add_eos_token_id(vocabulary.stop_ids[0])
    writer.add_pad_token_id(vocabulary.pad_id)
    writer.add_array("tokenizer.ggml.eos_token_ids", vocabulary.stop_ids)  # read by Ollama
    writer.add_add_bos_token(vocabulary.add_bos)
    if vocabulary.chat_template is not None:
        writer.add_eot_token_id(vocabulary.stop_ids[0])
        writer.add_chat_template(vocabulary.chat_template)


# ---------------------------------------------------------------- tokens and merges


def _tokens(
    spec: Mapping[str, Any], size: int, folder: Path
) -> tuple[tuple[str, ...], tuple[TokenType, ...]]:
    """Token strings and kinds by id; ids without a token, and embeddings beyond the tokenizer, are [PADn]."""
    tokens = [f"[PAD{token_id}]" for token_id in range(size)]
    kinds = [TokenType.UNUSED] * size
    for token, token_id in spec["model"]["vocab"].items():
        tokens[token_id], kinds[token_id] = token, TokenType.NORMAL
    for added in spec["added_tokens"]:
        tokens[added["id"]], kinds[added["id"]] = added["content"], _kind(added)
    if len(set(tokens)) < size:
        twice = next(token for token in tokens if tokens.count(token) > 1)
        raise CheckpointError(f"{folder}: two tokens are spelled {twice!r}, which llama.cpp does not load")
    return tuple(tokens), tuple(kinds)


def _kind(added: Mapping[str, Any]) -> TokenType:
    """Control tokens are hidden in replies; markup such as <think> is shown. <|...|> is control, whatever it says."""
    content: str = added["content"]
    looks_special = content.startswith("<|") and content.endswith("|>")
    return TokenType.CONTROL if added["special"] or looks_special else TokenType.USER_DEFINED


def _merges(spec: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    merges = spec["model"]["merges"]
    if not merges:
        raise CheckpointError(f"{folder}: the tokenizer has no merges, and llama.cpp loads none without")
    return tuple(pair if isinstance(pair, str) else " ".join(pair) for pair in merges)


def _pre(tokenizer: Tokenizer, folder: Path) -> str:
    if tokenizer.pre is None:
        raise CheckpointError(
            f"{folder}: llama.cpp has no name that this project knows for the way this tokenizer cuts a text, so "
            "its token ids could differ there; the rules of Qwen2/Qwen3, Llama 3, SmolLM and GPT-2 are known. "
            "`--to hf` has no such limit"
        )
    return tokenizer.pre


def _normalizer_notes(spec: Mapping[str, Any], folder: Path) -> tuple[str, ...]:
    """llama.cpp has no normalizers. It is used to Qwen's NFC being left out; anything else would be another model."""
    kind = (spec.get("normalizer") or {}).get("type")
    if kind is None:
        return ()
    if kind == "NFC":
        return ("the tokenizer composes characters first (NFC), llama.cpp does not: e + ´ is not é there",)
    raise CheckpointError(
        f"{folder}: the tokenizer changes a text first ({kind}), which llama.cpp does not do; `--to hf` keeps it"
    )


# ---------------------------------------------------------------- special tokens


def _stop_ids(tokenizer: Tokenizer, config: ModelConfig, folder: Path) -> tuple[int, ...]:
    named = [*_as_ids(load_generation(folder).get("eos_token_id")), *_as_ids(config.eos_token_id)]
    try:
        named.insert(0, tokenizer.eos_id)
    except TokenizerError:
        if not named:
            raise
    stop_ids = tuple(dict.fromkeys(named))
    outside = [token_id for token_id in stop_ids if not 0 <= token_id < config.vocab_size]
    if outside:
        raise CheckpointError(f"{folder}: the end token {outside[0]} is outside of the vocabulary")
    return stop_ids


def _as_ids(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, list | tuple) else (int(value),)


def _first(config_id: int | None, named: Callable[[], int], stop_ids: tuple[int, ...], size: int) -> int:
    """The id that config.json gives, else the tokenizer's own, else the end token: llama.cpp wants some id."""
    if config_id is not None and 0 <= config_id < size:
        return config_id
    try:
        return named()
    except TokenizerError:
        return stop_ids[0]


def _adds_bos(tokenizer: Tokenizer, spec: Mapping[str, Any]) -> bool:
    """Whether the folder's own tokenizer puts its first token before every text, as Llama's does."""
    said = tokenizer.config.get("add_bos_token")
    if isinstance(said, bool):
        return said
    processor = spec.get("post_processor") or {}
    steps = processor.get("processors", [processor])
    pieces = [piece for step in steps for piece in step.get("single", [])[:1] if isinstance(piece, dict)]
    bos = tokenizer.special_name("bos_token")
    return bos is not None and any(piece.get("SpecialToken", {}).get("id") == bos for piece in pieces)


def _chat_template(folder: Path) -> str | None:
    try:
        return read_jinja(folder)
    except TemplateError:
        return None
