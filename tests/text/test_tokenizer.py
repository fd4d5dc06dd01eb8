"""Tokenizer: lossless, free of special tokens, the same ids as `transformers`, and foreign vocabularies."""

import json
import random
import threading
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers, processors

from liaoliao.errors import TokenizerError
from liaoliao.text.tokenizer import CONTROL_TOKENS, QWEN2_PATTERN, SPECIAL_TOKENS, Tokenizer
from tests.text.strategies import CHINESE, ENGLISH, odd_string, odd_texts


@pytest.fixture(scope="module")
def odd_strings() -> list[str]:
    rng = random.Random(0)
    return [odd_string(rng) for _ in range(10_000)]


def test_ten_thousand_odd_strings_come_back_as_they_went(
    tokenizer: Tokenizer, odd_strings: list[str]
) -> None:
    assert list(map(tokenizer.decode, tokenizer.encode_batch(odd_strings))) == odd_strings


def test_special_tokens_never_come_out_of_text(tokenizer: Tokenizer, odd_strings: list[str]) -> None:
    special = set(tokenizer.special_ids.values())
    assert sum(any(name in text for name in SPECIAL_TOKENS) for text in odd_strings) > 1000
    assert not any(special.intersection(ids) for ids in tokenizer.encode_batch(odd_strings))
    assert special.isdisjoint(tokenizer.encode("".join(SPECIAL_TOKENS)))


@given(text=odd_texts)
def test_token_bytes_concatenate_to_the_text(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert b"".join(map(tokenizer.token_bytes, ids)) == text.encode("utf-8")
    assert tokenizer.encode_batch([text]) == [ids]


@given(text=odd_texts)
def test_offsets_name_the_character_a_token_starts_in(tokenizer: Tokenizer, text: str) -> None:
    pairs = tokenizer.encode_with_offsets(text)
    assert [token_id for token_id, _ in pairs] == tokenizer.encode(text)
    num_bytes = 0
    for token_id, start in pairs:
        assert len(text[:start].encode()) <= num_bytes < len(text[: start + 1].encode())
        num_bytes += len(tokenizer.token_bytes(token_id))


@given(ids=st.lists(st.integers(0, 390), max_size=12))
def test_decoding_any_ids_is_utf8_with_replacement(tokenizer: Tokenizer, ids: list[int]) -> None:
    assert tokenizer.decode(ids) == tokenizer.decode_bytes(ids).decode("utf-8", errors="replace")


@pytest.mark.parametrize("text", ["\ud800", "ab\udfffc", "😀\ud83d"])
def test_half_surrogates_are_refused_with_their_place(tokenizer: Tokenizer, text: str) -> None:
    half = next(i for i, char in enumerate(text) if 0xD800 <= ord(char) < 0xE000)
    expected = rf"U\+{ord(text[half]):04X}\) at character {half}"
    for encode in (tokenizer.encode, tokenizer.encode_with_offsets, tokenizer.bytes_per_token):
        with pytest.raises(TokenizerError, match=expected):
            encode(text)
    with pytest.raises(TokenizerError, match=expected):
        tokenizer.encode_batch(["fine", text])
    with pytest.raises(TokenizerError, match=expected):
        Tokenizer.train(["fine", text], 300)


# Training


def test_vocabulary_is_bytes_then_merges_then_special_tokens(tokenizer: Tokenizer) -> None:
    assert tokenizer.vocab_size == 400
    assert list(tokenizer.special_ids) == list(SPECIAL_TOKENS)
    assert list(tokenizer.special_ids.values()) == list(range(391, 400))
    assert {tokenizer.token_bytes(i) for i in range(256)} == {bytes([b]) for b in range(256)}


def test_a_pair_seen_often_becomes_one_token() -> None:
    tokenizer = Tokenizer.train(["ab ab ab"], vocab_size=300)
    assert tokenizer.encode("ab") == [256]
    assert tokenizer.encode("ab ab") == [256, 257]
    assert tokenizer.vocab_size == 258 + len(SPECIAL_TOKENS)  # the text holds no further pair


def test_every_digit_stands_alone(tokenizer: Tokenizer) -> None:
    trained = Tokenizer.train(["2024 2024 2024 1000 1000"], 400)
    for t in (tokenizer, trained):
        assert [t.decode([i]) for i in t.encode("2024")] == list("2024")


def test_training_twice_gives_the_same_vocabulary() -> None:
    texts = [ENGLISH, CHINESE, "一二三" * 5] * 3
    first, second = (Tokenizer.train(iter(texts), 380) for _ in range(2))
    probe = "".join(texts)
    assert first.encode(probe) == second.encode(probe)
    assert [first.token_bytes(i) for i in range(380)] == [second.token_bytes(i) for i in range(380)]


def test_no_merge_crosses_a_segment() -> None:
    texts = ["小明去河边"] * 20
    whole = Tokenizer.train(texts, 300)
    apart = Tokenizer.train(texts, 300, segment=lambda text: [text[:2], text[2:3], text[3:]])
    assert whole.decode([whole.encode("小明去河边")[0]]) == "小明去河边"
    assert [apart.decode([i]) for i in apart.encode("小明去河边")] == ["小明", "去", "河边"]


def test_a_vocabulary_too_small_is_refused() -> None:
    with pytest.raises(TokenizerError, match="the least is 265"):
        Tokenizer.train(["text"], 264)


def test_bytes_per_token(tokenizer: Tokenizer) -> None:
    assert Tokenizer.train([], 265).bytes_per_token("小镇 town") == 1.0
    assert Tokenizer.train(["小镇小镇 小镇小镇"], 300).bytes_per_token("小镇小镇") == 12.0
    with pytest.raises(TokenizerError, match="empty"):
        tokenizer.bytes_per_token("")
    trimming = tokenizers.Tokenizer.from_str(tokenizer._backend.to_str())
    trimming.normalizer = normalizers.Strip()
    with pytest.raises(TokenizerError, match="no token for anything"):
        Tokenizer(trimming).bytes_per_token("  ")


# Ids


def test_ids_outside_the_vocabulary_are_refused(tokenizer: Tokenizer) -> None:
    for token_id in (-1, 400):
        with pytest.raises(TokenizerError, match=f"token id {token_id} is outside the vocabulary of 400"):
            tokenizer.token_bytes(token_id)


def test_special_tokens_decode_to_their_names_and_have_roles(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.special_ids.values()) == "".join(SPECIAL_TOKENS)
    assert tokenizer.eos_id == tokenizer.special_id("<|im_end|>")
    assert tokenizer.pad_id == tokenizer.end_of_text_id == tokenizer.special_id("<|endoftext|>")
    with pytest.raises(TokenizerError, match=r"<\|nope\|> is not a special token"):
        tokenizer.special_id("<|nope|>")


# Folders, ours and others'


def test_a_saved_folder_loads_the_same(tokenizer: Tokenizer, folder: Path, odd_strings: list[str]) -> None:
    for path in (folder, folder / "tokenizer.json", str(folder)):
        loaded = Tokenizer.load(path)
        assert loaded.encode_batch(odd_strings[:500]) == tokenizer.encode_batch(odd_strings[:500])
        assert loaded.special_ids == tokenizer.special_ids
        assert loaded.eos_id == tokenizer.eos_id
        assert loaded.pre == Tokenizer.PRE == "qwen2"


@pytest.mark.parametrize("beside", [None, {"model_type": "qwen3"}, {"model_type": "llama"}])
def test_transformers_loads_the_folder_and_gives_the_same_ids(
    tokenizer: Tokenizer, folder: Path, odd_strings: list[str], tmp_path: Path, beside: dict[str, Any] | None
) -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer.save(tmp_path)
    if (
        beside is not None
    ):  # in a checkpoint a config.json stands beside, and it must not change the tokenizer
        (tmp_path / "config.json").write_text(json.dumps(beside), encoding="utf-8")
    theirs = transformers.AutoTokenizer.from_pretrained(tmp_path)
    plain = [text for text in odd_strings if not any(name in text for name in SPECIAL_TOKENS)][:2000]
    assert theirs(plain, add_special_tokens=False)["input_ids"] == tokenizer.encode_batch(plain)
    assert theirs.batch_decode(tokenizer.encode_batch(plain)) == plain
    assert (theirs.eos_token_id, theirs.pad_token_id, len(theirs)) == (
        tokenizer.eos_id,
        tokenizer.pad_id,
        400,
    )
    assert theirs("<|im_start|>hi</think>")["input_ids"] == [
        tokenizer.special_id("<|im_start|>"), *tokenizer.encode("hi"), tokenizer.special_id("</think>")
    ]  # fmt: skip
    visible = theirs.decode(list(tokenizer.special_ids.values()), skip_special_tokens=True)
    assert visible == "".join(name for name in SPECIAL_TOKENS if name not in CONTROL_TOKENS)


def _foreign(folder: Path, split: str, config: dict[str, Any], *, llama: bool) -> None:
    """As Qwen or Llama-3 write theirs: a normalizer or a start-of-text token, and a gap in the ids."""
    vocab = {char: i for i, char in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    vocab |= {"he": 256, "hello": 300}
    backend = tokenizers.Tokenizer(models.BPE(vocab=vocab, merges=[("h", "e")], ignore_merges=llama))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(split), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    names = (
        ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"] if llama else ["<|endoftext|>", "<|im_end|>"]
    )
    backend.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in names])
    if llama:
        start = ("<|begin_of_text|>", backend.token_to_id("<|begin_of_text|>"))
        backend.post_processor = processors.TemplateProcessing(
            single="<|begin_of_text|> $A", special_tokens=[start]
        )
    else:
        backend.normalizer = normalizers.NFC()
        backend.add_tokens([AddedToken("<think>", special=False, normalized=False)])
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")


def test_long_texts_are_encoded_alike_and_let_others_run(tokenizer: Tokenizer) -> None:
    text = (ENGLISH + CHINESE + "<|im_end|>") * 400
    ids = tokenizer.encode(text)
    assert (
        ids == tokenizer._plain.encode(text, add_special_tokens=False).ids and tokenizer.decode(ids) == text
    )
    ticks, ended = 0, threading.Event()

    def tick() -> None:
        nonlocal ticks
        while not ended.wait(0.001):
            ticks += 1

    ticker = threading.Thread(target=tick)
    ticker.start()
    tokenizer.encode(text * 20)
    during = ticks
    ended.set()
    ticker.join()
    assert during >= 5


def test_names_of_special_tokens_may_stand_for_them(tokenizer: Tokenizer) -> None:
    for text in ("a<|im_end|>猫", "a<|im_end|>猫" * 400):
        parts = text.split("<|im_end|>")
        expected = tokenizer.encode(parts[0])
        for part in parts[1:]:
            expected += [tokenizer.special_id("<|im_end|>"), *tokenizer.encode(part)]
        assert tokenizer.encode_marked(text) == expected
    assert tokenizer.prefix_ids == () and tokenizer.max_token_bytes == max(
        len(tokenizer.token_bytes(i)) for i in range(tokenizer.vocab_size)
    )


def test_a_qwen_folder_loads(tmp_path: Path) -> None:
    insensitive = QWEN2_PATTERN.replace(
        "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])", "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    )
    _foreign(tmp_path, insensitive, {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}, llama=False)
    qwen = Tokenizer.load(tmp_path)
    assert qwen.pre == "qwen2"
    assert qwen.encode("he") == [256]
    assert qwen.encode("e\u0301") == qwen.encode("é")  # its normalizer is kept
    assert set(qwen.special_ids) == {"<|endoftext|>", "<|im_end|>", "<think>"}
    assert set(qwen.special_ids.values()).isdisjoint(qwen.encode("<think> <|im_end|>"))
    assert qwen.token_bytes(280) == b""  # no token has this id
    assert (qwen.eos_id, qwen.pad_id) == (qwen.special_id("<|im_end|>"), qwen.special_id("<|endoftext|>"))


def test_a_llama_folder_loads(tmp_path: Path) -> None:
    pattern = QWEN2_PATTERN.replace(
        "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])", "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
    )
    pattern = pattern.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
    _foreign(
        tmp_path,
        pattern,
        {"eos_token": {"content": "<|eot_id|>"}, "bos_token": "<|begin_of_text|>"},
        llama=True,
    )
    llama = Tokenizer.load(tmp_path)
    assert llama.pre == "llama-bpe"
    assert llama.encode("hello") == [300]  # no start-of-text token of its own accord
    assert llama.eos_id == llama.pad_id == llama.special_id("<|eot_id|>")
    assert llama.end_of_text_id == llama.special_id("<|end_of_text|>")


def test_what_is_not_byte_level_bpe_is_refused(tmp_path: Path) -> None:
    unigram = tokenizers.Tokenizer(models.Unigram([("a", 0.0)], unk_id=0))
    unigram.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(
        TokenizerError, match=r"only byte-level BPE is read.*not Unigram with no pre-tokenizer"
    ):
        Tokenizer.load(tmp_path)


def test_broken_files_say_what_is_wrong(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: no such file"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{", encoding="utf-8")
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: not a tokenizer"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((folder / "tokenizer.json").read_bytes())
    for content, wrong in (
        ("{", " is not readable JSON"),
        ("[" * 100_000, " is not readable JSON"),
        ("[]", " must hold a JSON object"),
        ('{"eos_token": 5}', ": eos_token must be the name of a token, got 5"),
        ('{"bos_token": ["<s>"]}', ": bos_token must be the name of a token"),
        ('{"pad_token": {"content": null}}', ": pad_token must be the name of a token"),
    ):
        (tmp_path / "tokenizer_config.json").write_text(content, encoding="utf-8")
        with pytest.raises(TokenizerError, match=f"tokenizer_config.json{wrong}"):
            Tokenizer.load(tmp_path)


START = {"SpecialToken": {"id": "<s>", "type_id": 0}}
FIRST, SECOND = ({"Sequence": {"id": name, "type_id": 0}} for name in "AB")


@pytest.mark.parametrize(
    ("model", "changes", "wrong"),
    [
        ({"vocab": {}, "merges": []}, {"added_tokens": []}, "the vocabulary has no tokens"),
        ({"vocab": {"a": 2**31}, "merges": []}, {"added_tokens": []}, "has a token with the id 2147483648"),
        ({"vocab": {" ": 0}, "merges": []}, {"added_tokens": []}, "no byte is written as ' '"),
        ({"vocab": {"a": "x"}, "merges": []}, {"added_tokens": []}, "not a tokenizer"),
        ({}, {"added_tokens": [5]}, "not a tokenizer"),
        ({}, {"added_tokens": [{"id": "x", "content": 5}]}, "not a tokenizer"),
        ({}, {"pre_tokenizer": None}, "only byte-level BPE"),
        (
            {},
            {
                "post_processor": {
                    "type": "TemplateProcessing",
                    "single": [START, FIRST],
                    "pair": [FIRST, SECOND],
                    "special_tokens": {"<s>": {"id": "<s>", "ids": [400], "tokens": ["<s>"]}},
                }
            },
            "begins every text with a token that is not in its vocabulary",
        ),
    ],
)
def test_a_malformed_vocabulary_is_refused(
    folder: Path, tmp_path: Path, model: dict[str, Any], changes: dict[str, Any], wrong: str
) -> None:
    spec = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    spec = {**spec, "model": {**spec["model"], **model}, **changes}
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec), encoding="utf-8")
    with pytest.raises(TokenizerError, match=wrong):
        Tokenizer.load(tmp_path)


def test_lengths_that_a_training_left_behind_are_forgotten(
    tokenizer: Tokenizer, folder: Path, tmp_path: Path
) -> None:
    backend = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    backend.enable_padding(length=50)
    backend.enable_truncation(5)
    backend.save(str(tmp_path / "tokenizer.json"))
    loaded = Tokenizer.load(tmp_path)
    assert loaded.prefix_ids == ()
    assert loaded.encode_marked(ENGLISH) == tokenizer.encode_marked(ENGLISH)
    assert loaded.spec == tokenizer.spec
