"""Byte-level BPE: text to token ids and back, without loss and without surprises.

The lowest part of the text floor: `chat_template` builds conversations from its ids, `parse` reads its bytes.
Trained and run by the `tokenizers` library; a saved folder loads in `transformers.AutoTokenizer`, and foreign
byte-level folders (Qwen3, Qwen2.5, Llama-3) load here.

Text is cut before the merges by the pattern that llama.cpp calls "qwen2" (every digit alone), so an exported
vocabulary can name its pre-tokenizer truthfully. There is no normalizer: what goes in comes out. Special
tokens are the last ids and never come out of `encode`: a typed "<|im_end|>" is text, and only a chat template
can place the real one.

    Tokenizer.train(["ab ab ab"], vocab_size=300).encode("ab")  ->  [256]
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Final, TypeAlias

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers

from liaoliao.errors import CheckpointError, TokenizerError
from liaoliao.text.folder_json import read_json

_TAIL: Final = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN2_PATTERN: Final = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + _TAIL
)

# Control tokens steer the conversation and are hidden by decoders that skip special tokens; markup stands
# inside a reply, and readers of replies (ours, vLLM's, llama.cpp's) want to see it. Qwen draws the same line.
CONTROL_TOKENS: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKUP_TOKENS: Final = (
    "<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>",
)  # fmt: skip
SPECIAL_TOKENS: Final = CONTROL_TOKENS + MARKUP_TOKENS

_SAVED_CONFIG: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": None,
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": None,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1_000_000_000,
    }
)
TOKEN_ROLES: Final = ("bos_token", "eos_token", "pad_token", "unk_token")
_MOST_TOKENS: Final = 2**22  # four times the largest vocabulary there is: tables have a place for every id
_TEXTS_PER_BATCH: Final = 1000
_LONG_TEXT: Final = 2000  # characters

Segmenter: TypeAlias = Callable[[str], Iterable[str]]


class Tokenizer:
    """A byte-level BPE vocabulary with its special tokens; immutable and safe to share between threads.

    `vocab_size` counts the special tokens too. `config` is the content of tokenizer_config.json.
    """

    PRE: ClassVar[str] = "qwen2"  # llama.cpp's name for the pattern of the vocabularies that are trained here

    def __init__(self, backend: tokenizers.Tokenizer, config: Mapping[str, Any] | None = None) -> None:
        _require_near_ids(backend)
        self._backend = backend
        spec = self.spec
        _require_byte_level(spec)
        self._plain = _without_added_tokens(spec)
        self._token_bytes = _bytes_of_tokens(spec)
        self.config: Mapping[str, Any] = MappingProxyType(dict(_SAVED_CONFIG if config is None else config))
        self.special_ids: Mapping[str, int] = MappingProxyType(
            {token["content"]: token["id"] for token in spec["added_tokens"]}
        )
        self.vocab_size: int = len(self._token_bytes)
        self.max_token_bytes: int = max(map(len, self._token_bytes))
        self.prefix_ids: tuple[int, ...] = tuple(backend.encode("").ids)  # such as Llama-3's opening token
        if max(self.prefix_ids, default=0) >= self.vocab_size:
            raise TokenizerError("the tokenizer begins every text with a token that is not in its vocabulary")

    # Making, loading, saving

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, *, segment: Segmenter | None = None) -> "Tokenizer":
        """Learn `vocab_size` tokens: 256 bytes, merges, SPECIAL_TOKENS; fewer if the texts hold no more.

        `segment` cuts a text into pieces that no merge may cross while learning (each Chinese word or name
        apart, say); encoding always uses the plain pattern. The same texts in the same order give the same
        vocabulary.
        """
        smallest = 256 + len(SPECIAL_TOKENS)
        if vocab_size < smallest:
            raise TokenizerError(f"vocab_size={vocab_size} is too small; the least is {smallest}")
        backend = tokenizers.Tokenizer(models.BPE())
        split = pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated")
        byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
        backend.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
        backend.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size - len(SPECIAL_TOKENS),
            min_frequency=2,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        backend.train_from_iterator(_batches(texts, segment), trainer)
        for name in SPECIAL_TOKENS:
            backend.add_tokens([AddedToken(name, special=name in CONTROL_TOKENS, normalized=False)])
        return cls(backend)

    @classmethod
    def load(cls, path: Path | str) -> "Tokenizer":
        """Read a folder with a tokenizer.json (and perhaps a tokenizer_config.json), or a tokenizer.json."""
        path = Path(path)
        file = path / "tokenizer.json" if path.is_dir() else path
        if not file.is_file():
            raise TokenizerError(f"{file}: no such file; a tokenizer folder holds a tokenizer.json")
        try:
            backend = tokenizers.Tokenizer.from_file(str(file))
        except (
            Exception
        ) as error:  # the library raises bare Exceptions, and these only say what is wrong with the file
            raise TokenizerError(f"{file}: not a tokenizer of the `tokenizers` library: {error}") from error
        backend.no_padding()  # settings that some training left behind: texts have the length they have
        backend.no_truncation()
        return cls(backend, _read_config(file.with_name("tokenizer_config.json")))

    def save(self, folder: Path | str) -> None:
        """Write tokenizer.json and tokenizer_config.json into `folder`, which is made if it is not there."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        text = self._backend.to_str(pretty=True)
        (folder / "tokenizer.json").write_text(text, encoding="utf-8")
        config = json.dumps(dict(self.config), ensure_ascii=False, indent=2)
        (folder / "tokenizer_config.json").write_text(config + "\n", encoding="utf-8")

    # Text to ids

    def encode(self, text: str) -> list[int]:
        """The token ids of `text`; never those of special tokens. A lone surrogate is a TokenizerError."""
        return self._encode(self._plain, text)

    def encode_marked(self, text: str) -> list[int]:
        """`encode`, but the name of a special token stands for that token: for text that is no person's words."""
        return self._encode(self._backend, text)

    def encode_batch(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` for many texts, on all cores."""
        try:
            encodings = self._plain.encode_batch_fast(list(texts), add_special_tokens=False)
        except (TypeError, ValueError, UnicodeEncodeError) as error:
            _refuse_surrogates(texts)
            raise TokenizerError(f"the texts cannot be encoded: {error}") from error
        return [encoding.ids for encoding in encodings]

    def encode_with_offsets(self, text: str) -> list[tuple[int, int]]:
        """Pairs (token id, index of the character in `text` where the token starts)."""
        _refuse_surrogates([text])
        encoding = self._plain.encode(text, add_special_tokens=False)
        return [
            (token_id, start) for token_id, (start, _) in zip(encoding.ids, encoding.offsets, strict=True)
        ]

    def bytes_per_token(self, text: str) -> float:
        """UTF-8 bytes that a token of `text` stands for on average: the higher, the shorter the sequences."""
        if not text:
            raise TokenizerError("bytes per token of an empty text is not a number; give it some text")
        num_tokens = len(self.encode(text))
        if not num_tokens:
            raise TokenizerError("this vocabulary has no token for anything in the text")
        return len(text.encode("utf-8")) / num_tokens

    @staticmethod
    def _encode(backend: tokenizers.Tokenizer, text: str) -> list[int]:
        try:
            if len(text) > _LONG_TEXT:  # a batch of one: other threads may run meanwhile
                return backend.encode_batch_fast([text], add_special_tokens=False)[0].ids
            return backend.encode(text, add_special_tokens=False).ids
        except (TypeError, ValueError, UnicodeEncodeError) as error:
            _refuse_surrogates([text])
            raise TokenizerError(f"the text cannot be encoded: {error}") from error

    # Ids to text

    def decode(self, token_ids: Iterable[int]) -> str:
        """The text of `token_ids`, special tokens by their names; bytes that are not UTF-8 become U+FFFD."""
        return self.decode_bytes(token_ids).decode("utf-8", errors="replace")

    def decode_bytes(self, token_ids: Iterable[int]) -> bytes:
        """The bytes of `token_ids`, joined."""
        return b"".join(map(self.token_bytes, token_ids))

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes one token stands for; they need not be whole characters."""
        if not 0 <= token_id < self.vocab_size:
            raise TokenizerError(f"token id {token_id} is outside the vocabulary of {self.vocab_size}")
        return self._token_bytes[token_id]

    # Special tokens

    def special_id(self, name: str) -> int:
        """The id of the special token `name`, such as "<|im_end|>"."""
        if name not in self.special_ids:
            known = ", ".join(self.special_ids) or "none"
            raise TokenizerError(f"{name} is not a special token of this vocabulary; it has: {known}")
        return self.special_ids[name]

    def special_name(self, role: str) -> str | None:
        """The token that tokenizer_config.json gives a role such as "eos_token"; None if it gives none."""
        value = self.config.get(role)
        name = value.get("content") if isinstance(value, Mapping) else value
        return name if isinstance(name, str) else None

    @property
    def eos_id(self) -> int:
        """The token that ends a reply."""
        return self._first_special(
            self.special_name("eos_token"), "<|im_end|>", "<|eot_id|>", "<|endoftext|>"
        )

    @property
    def pad_id(self) -> int:
        """The token that fills up short rows."""
        return self._first_special(
            self.special_name("pad_token"), "<|endoftext|>", self.special_name("eos_token")
        )

    @property
    def end_of_text_id(self) -> int:
        """The token that ends a document in pretraining."""
        return self._first_special("<|endoftext|>", "<|end_of_text|>", self.special_name("eos_token"))

    @property
    def opening_id(self) -> int:
        """The token that a document begins after: the vocabulary's own opening token, or the end of the
        document before."""
        return self.special_ids.get(self.special_name("bos_token") or "", self.end_of_text_id)

    @property
    def spec(self) -> dict[str, Any]:
        """The tokenizer as the `tokenizers` library writes it down in a tokenizer.json."""
        spec: dict[str, Any] = json.loads(self._backend.to_str())
        return spec

    @property
    def pre(self) -> str | None:
        """llama.cpp's name for the way text is cut before the merges ("qwen2", "llama-bpe", "smollm",
        "gpt-2"); None if it knows none that does the same.
        """
        return _llama_cpp_pre(self.spec)

    def _first_special(self, *names: str | None) -> int:
        for name in names:
            if name is not None and name in self.special_ids:
                return self.special_ids[name]
        raise TokenizerError(
            f"none of {', '.join(n for n in names if n)} is a special token of this vocabulary"
        )


# How the library writes a tokenizer down

_HEAD_OF_FOREIGN: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_PRE_OF_PATTERN: Final[Mapping[tuple[str, bool], str]] = MappingProxyType(
    {  # the pattern, and whether a whole word that is a token is taken without asking the merges
        (QWEN2_PATTERN, False): "qwen2",
        (_HEAD_OF_FOREIGN + r"|\p{N}" + _TAIL, False): "qwen2",
        (_HEAD_OF_FOREIGN + r"|\p{N}{1,3}" + _TAIL, True): "llama-bpe",
    }
)


def _steps(part: Mapping[str, Any] | None, key: str) -> list[Mapping[str, Any]]:
    """The steps of a pre-tokenizer or decoder, whether it is a single one or a sequence."""
    if part is None:
        return []
    return list(part[key]) if part["type"] == "Sequence" else [part]


def _llama_cpp_pre(spec: Mapping[str, Any]) -> str | None:
    model = spec["model"]
    if any(model.get(name) for name in ("dropout", "continuing_subword_prefix", "end_of_word_suffix")):
        return None
    whole_words = bool(model.get("ignore_merges"))
    match _steps(spec["pre_tokenizer"], "pretokenizers"):
        case [
            {"type": "Split", "pattern": {"Regex": str(pattern)}, "behavior": "Isolated", "invert": False},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False},
        ]:
            return _PRE_OF_PATTERN.get((pattern, whole_words))
        case [
            {"type": "Digits", "individual_digits": True},
            {"type": "ByteLevel", "add_prefix_space": False, "use_regex": True},
        ] if not whole_words:
            return "smollm"
        case [{"type": "ByteLevel", "add_prefix_space": False, "use_regex": True}] if not whole_words:
            return "gpt-2"
    return None


def _require_near_ids(backend: tokenizers.Tokenizer) -> None:
    """No table is made, by the library neither, for a vocabulary that is empty or whose ids are far apart."""
    last = max(backend.get_vocab().values(), default=-1)
    if not 0 <= last < _MOST_TOKENS:
        what = "has no tokens" if last < 0 else f"has a token with the id {last}; {_MOST_TOKENS} is the bound"
        raise TokenizerError(f"the vocabulary {what}")


def _require_byte_level(spec: Mapping[str, Any]) -> None:
    steps = _steps(spec["pre_tokenizer"], "pretokenizers")
    if spec["model"]["type"] != "BPE" or not any(step["type"] == "ByteLevel" for step in steps):
        raise TokenizerError(
            f"only byte-level BPE is read (Qwen, Llama-3, GPT-2 and their like), not {spec['model']['type']}"
            f" with {', '.join(step['type'] for step in steps) or 'no pre-tokenizer'}"
        )


def _without_added_tokens(spec: Mapping[str, Any]) -> tokenizers.Tokenizer:
    """The same merges in a tokenizer that knows no special token, so that none can come out of a text."""
    plain = dict(spec, added_tokens=[], post_processor=None, padding=None, truncation=None)
    return tokenizers.Tokenizer.from_str(json.dumps(plain))


def _bytes_of_tokens(spec: Mapping[str, Any]) -> list[bytes]:
    """For every id the bytes it stands for; ids that a foreign vocabulary skips stand for none."""
    byte_of_char = {char: byte for byte, char in enumerate(_byte_alphabet())}
    added = {token["id"]: token["content"].encode("utf-8") for token in spec["added_tokens"]}
    table = [b""] * (1 + max([*spec["model"]["vocab"].values(), *added]))
    for token, token_id in spec["model"]["vocab"].items():
        if token_id not in added:
            table[token_id] = _bytes_of(token, byte_of_char)
    for token_id, content in added.items():
        table[token_id] = content
    return table


def _bytes_of(token: str, byte_of_char: Mapping[str, int]) -> bytes:
    try:
        return bytes([byte_of_char[char] for char in token])
    except KeyError as error:
        raise TokenizerError(
            f"the token {token!r:.60} is no byte-level BPE: no byte is written as {error}"
        ) from error


def _byte_alphabet() -> list[str]:
    """The character that byte-level BPE writes for each byte: itself if visible, else one from U+0100 on."""
    seen = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = iter(range(256, 512))
    return [chr(byte) if byte in seen else chr(next(hidden)) for byte in range(256)]


def _read_config(file: Path) -> Mapping[str, Any]:
    if not file.is_file():
        return {}
    try:
        config = read_json(file)
    except CheckpointError as error:
        raise TokenizerError(str(error)) from error
    for role in TOKEN_ROLES:
        value = config.get(role)
        name = value.get("content") if isinstance(value, Mapping) else value
        if value is not None and not isinstance(name, str):
            raise TokenizerError(f"{file}: {role} must be the name of a token, got {value!r:.60}")
    return config


def _batches(texts: Iterable[str], segment: Segmenter | None) -> Iterator[list[str]]:
    """Texts (or their segments) in lists, as the library trains fastest on them."""
    batch: list[str] = []
    for text in texts:
        _refuse_surrogates([text])
        batch.extend((text,) if segment is None else segment(text))
        if len(batch) >= _TEXTS_PER_BATCH:
            yield batch
            batch = []
    yield batch


def _refuse_surrogates(texts: Iterable[str]) -> None:
    for text in texts:
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            half = f"U+{ord(text[error.start]):04X}"
            raise TokenizerError(
                f"half a surrogate pair ({half}) at character {error.start}: not Unicode, it has no UTF-8;"
                " replace it, for example with U+FFFD"
            ) from None
