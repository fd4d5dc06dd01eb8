"""Oracle: llama.cpp reads our GGUF files as the same tokenizer and the same model.

Skipped where llama-cpp-python is not installed; `make test-llama` installs and asks it.
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from liaoliao.messages import Message
from liaoliao.model.config import Family
from liaoliao.model.gguf import GgufDtype, export_gguf
from liaoliao.model.transformer import Transformer
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.tokenizer import MARKUP_TOKENS, Tokenizer
from tests.model.folders import FAMILIES, STRETCHED, foreign_folder, model_folder
from tests.text.strategies import odd_string

llama_cpp: Any = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed: make test-llama")

F32_CACHE = 0  # ggml's number of the type; its default for the cache is f16


@pytest.fixture(scope="module", autouse=True)
def plain_weights() -> Iterator[None]:
    """No weights laid out anew for AMX: llama.cpp (0.3.36) crashes there on a model as narrow as ours."""
    with pytest.MonkeyPatch.context() as patch:
        defaults = llama_cpp.llama_cpp.llama_model_default_params

        def params() -> Any:
            made = defaults()
            made.use_extra_bufts = False
            return made

        patch.setattr(llama_cpp.llama_cpp, "llama_model_default_params", params)
        yield


def llama(file: Path, **options: Any) -> Any:
    settings = {"n_ctx": 256, "n_threads": 1, "logits_all": True, "verbose": False, **options}
    return llama_cpp.Llama(str(file), type_k=F32_CACHE, type_v=F32_CACHE, flash_attn=False, **settings)


def exported(folder: Path, dtype: GgufDtype = "f32") -> Path:
    return export_gguf(folder, folder.parent / f"m-{dtype}.gguf", name="tiny", dtype=dtype).path


def logits(theirs: Any, token_ids: list[int]) -> torch.Tensor:
    theirs.reset()
    theirs.eval(token_ids)
    return torch.from_numpy(np.array(theirs.scores[: len(token_ids)]))


def random_ids(model: Transformer, count: int = 120) -> list[int]:
    generator = torch.Generator().manual_seed(5)
    return torch.randint(model.config.vocab_size, (count,), generator=generator).tolist()


# ---------------------------------------------------------------- logits


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_logits_are_equal(family: Family, tied: bool, tmp_path: Path) -> None:
    model = model_folder(tmp_path / "m", family, tie_word_embeddings=tied, spare=3)
    theirs, ids = llama(exported(tmp_path / "m")), random_ids(model)
    with torch.no_grad():
        ours = model(torch.tensor([ids]))[0]
    assert float(ours.std()) > 0.1  # a model that says nothing would be easy to agree with
    torch.testing.assert_close(logits(theirs, ids), ours, atol=1e-3, rtol=1e-3)


def test_logits_are_equal_where_positions_are_stretched(tmp_path: Path) -> None:
    model = model_folder(tmp_path / "m", "llama", rope_scaling=STRETCHED)
    theirs, ids = llama(exported(tmp_path / "m")), random_ids(model, 250)
    with torch.no_grad():
        ours = model(torch.tensor([ids]))[0]
    torch.testing.assert_close(logits(theirs, ids), ours, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("dtype", "tolerance"), [("bf16", 0.02), ("q8_0", 0.05)])
def test_fewer_bits_stay_near(dtype: GgufDtype, tolerance: float, tmp_path: Path) -> None:
    model = model_folder(tmp_path / "m", "qwen3")
    theirs, ids = llama(exported(tmp_path / "m", dtype)), random_ids(model)
    with torch.no_grad():
        ours = model(torch.tensor([ids]))[0]
    difference = logits(theirs, ids) - ours
    assert float(difference.std() / ours.std()) < tolerance


# ---------------------------------------------------------------- text


@pytest.fixture(scope="module")
def chat(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Transformer, Tokenizer]:
    """llama.cpp with our model, our model, our tokenizer."""
    folder = tmp_path_factory.mktemp("chat") / "m"
    model = model_folder(folder, "qwen3", spare=3)
    return llama(exported(folder)), model, Tokenizer.load(folder)


def assert_same_ids(theirs: Any, tokenizer: Tokenizer, texts: list[str]) -> None:
    for text in texts:
        their_ids = theirs.tokenize(text.encode("utf-8"), add_bos=False, special=False)
        assert their_ids == tokenizer.encode(text), repr(text)


def odd_strings(count: int) -> list[str]:
    """Without the markup tokens spelled out: see `test_markup_is_always_read_as_such`."""
    rng = random.Random(1)
    texts = (odd_string(rng) for _ in range(2 * count))
    return [text for text in texts if not any(name in text for name in MARKUP_TOKENS)][:count]


def test_token_ids_are_equal(chat: tuple[Any, Transformer, Tokenizer]) -> None:
    theirs, _, tokenizer = chat
    texts = odd_strings(5000)
    assert sum("<|im_end|>" in text or "<|im_start|>" in text for text in texts) > 50
    assert_same_ids(theirs, tokenizer, texts)


@pytest.mark.parametrize("pre", ["llama-bpe", "smollm", "gpt-2"])
def test_token_ids_of_foreign_vocabularies_are_equal(pre: str, tmp_path: Path) -> None:
    foreign_folder(tmp_path / "m", pre)
    theirs, tokenizer = llama(exported(tmp_path / "m")), Tokenizer.load(tmp_path / "m")
    assert_same_ids(theirs, tokenizer, odd_strings(1000))
    first = tokenizer.special_id("<|begin_of_text|>")
    assert theirs.tokenize(b"cat", special=False) == [first, *tokenizer.encode("cat")]


def test_markup_is_always_read_as_such(chat: tuple[Any, Transformer, Tokenizer]) -> None:
    """llama.cpp shows user-defined tokens in replies, and has no way not to read them in a text (docs/guides/export.md)."""
    theirs, _, tokenizer = chat
    for name in MARKUP_TOKENS:
        assert theirs.tokenize(name.encode(), add_bos=False, special=False) == [tokenizer.special_id(name)]
        assert theirs.detokenize([tokenizer.special_id(name)]) == name.encode()
    control = tokenizer.special_id("<|im_start|>")
    assert theirs.tokenize(b"<|im_start|>", add_bos=False, special=True) == [control]
    assert theirs.detokenize([control]) == b""


def test_replies_end_where_ours_do(chat: tuple[Any, Transformer, Tokenizer]) -> None:
    theirs, model, tokenizer = chat
    vocabulary = theirs._model.vocab
    ends = {i for i in range(model.config.vocab_size) if llama_cpp.llama_vocab_is_eog(vocabulary, i)}
    assert ends == set(ChatTemplate(tokenizer).stop_ids)
    assert theirs.token_eos() == tokenizer.eos_id
    assert not llama_cpp.llama_vocab_get_add_bos(vocabulary)


def test_a_chat_is_rendered_and_answered_alike(chat: tuple[Any, Transformer, Tokenizer]) -> None:
    theirs, model, tokenizer = chat
    talk = [Message.system("Be brief."), Message.user("Where does 小明 live?")]
    prompt = list(ChatTemplate(tokenizer).render(talk, add_generation_prompt=True).token_ids)
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(40):
            ids.append(int(model(torch.tensor([ids]))[0, -1].argmax()))
    stream = theirs.generate(prompt, temp=0.0, repeat_penalty=1.0)
    assert [token_id for token_id, _ in zip(stream, range(40), strict=False)] == ids[len(prompt) :]
    wire = [message.to_openai() for message in talk]
    reply = theirs.create_chat_completion(wire, temperature=0.0, max_tokens=1)
    assert reply["usage"]["prompt_tokens"] == len(prompt)
    assert theirs.input_ids[: len(prompt)].tolist() == prompt  # what its own rendering of the Jinja came to
