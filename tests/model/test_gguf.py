"""GGUF files: every number, token and key comes back, `transformers` computes the same from them, and what llama.cpp
would run as another model is refused. (llama.cpp itself is asked in tests/oracles.)
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter, ReaderTensor, SpecialVocab, TokenType
from gguf.quants import dequantize
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

from liaoliao.errors import CheckpointError, UsageError
from liaoliao.model.checkpoint import sign
from liaoliao.model.config import Family
from liaoliao.model.gguf import GgufDtype, export_gguf
from liaoliao.model.transformer import Transformer
from liaoliao.text.chat_template import CHATML_JINJA
from liaoliao.text.tokenizer import CONTROL_TOKENS, MARKUP_TOKENS, Tokenizer
from tests.model.folders import FAMILIES, STRETCHED, foreign_folder, model_folder, small_tokenizer

AutoModel: Any = AutoModelForCausalLM
load_gguf: Any = load_gguf_checkpoint


def export(folder: Path, dtype: GgufDtype = "f32", **options: Any) -> GGUFReader:
    out = folder.parent / f"{folder.name}.gguf"
    export_gguf(folder, out, name="tiny", dtype=dtype, **options)
    return GGUFReader(out)


def value(reader: GGUFReader, key: str) -> Any:
    return reader.fields[key].contents()


def numbers(tensor: ReaderTensor) -> np.ndarray[Any, np.dtype[np.float32]]:
    shape = tuple(reversed(tensor.shape.tolist()))  # GGUF counts dimensions from the innermost
    return dequantize(np.asarray(tensor.data), tensor.tensor_type).reshape(shape).copy()


# ---------------------------------------------------------------- tensors

NAMES = {
    "model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
    "input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
}  # fmt: skip


def gguf_name(name: str) -> str:
    stem, _, kind = name.rpartition(".")
    if not stem.startswith("model.layers."):
        return f"{NAMES[stem]}.{kind}"
    _, _, layer, rest = stem.split(".", 3)
    return f"blk.{layer}.{NAMES[rest]}.{kind}"


def expected(model: Transformer, name: str) -> torch.Tensor:
    """What a tensor holds in GGUF; rows of q and k of the llama family one by one, written out longhand."""
    weight = dict(model.named_parameters())[name].detach()
    if model.config.family != "llama" or not name.endswith(("q_proj.weight", "k_proj.weight")):
        return weight
    size = model.config.head_dim
    order = [
        head + (i // 2) + (i % 2) * size // 2 for head in range(0, len(weight), size) for i in range(size)
    ]
    return weight[order]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("dtype", ["f32", "bf16", "q8_0"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_number_comes_back(family: Family, dtype: GgufDtype, tied: bool, tmp_path: Path) -> None:
    model = model_folder(tmp_path / "m", family, tie_word_embeddings=tied)
    reader = export(tmp_path / "m", dtype)
    stored = {tensor.name: numbers(tensor) for tensor in reader.tensors}
    assert stored.keys() == {gguf_name(name) for name, _ in model.named_parameters()}
    for name, _ in model.named_parameters():
        weight, back = expected(model, name), torch.from_numpy(stored[gguf_name(name)])
        if dtype == "f32" or weight.dim() == 1:
            assert torch.equal(back, weight), name
        elif dtype == "bf16":
            assert torch.equal(back, weight.bfloat16().float()), name
        else:
            scale = weight.reshape(-1, 32).abs().amax(dim=1, keepdim=True) / 127
            error = (back - weight).reshape(-1, 32).abs()
            assert bool((error <= 0.57 * scale).all()), name  # half a step, and the step is an f16


def test_rows_that_do_not_divide_into_blocks_stay_f16(tmp_path: Path) -> None:
    model = model_folder(tmp_path / "m", "qwen3", intermediate_size=72)
    written = export_gguf(tmp_path / "m", tmp_path / "m.gguf", name="tiny", dtype="q8_0")
    types = {tensor.name: tensor for tensor in GGUFReader(written.path).tensors}
    down = types["blk.0.ffn_down.weight"]
    assert down.tensor_type == GGMLQuantizationType.F16
    assert types["blk.0.ffn_up.weight"].tensor_type == GGMLQuantizationType.Q8_0
    weight = dict(model.named_parameters())["model.layers.0.mlp.down_proj.weight"].detach()
    assert np.array_equal(numbers(down), weight.half().float().numpy())
    assert written.notes == ("2 matrices are f16: their rows are no multiple of 32, as q8_0 wants",)


def test_stretched_positions_become_factors(tmp_path: Path) -> None:
    model_folder(tmp_path / "m", "llama", rope_scaling=STRETCHED, head_dim=16)
    reader = export(tmp_path / "m")
    [factors] = [tensor for tensor in reader.tensors if tensor.name == "rope_freqs.weight"]
    lengths = [2 * math.pi * 5000.0 ** (2 * i / 16) for i in range(8)]  # of the waves, in positions
    short, long, original = STRETCHED.original_max_position_embeddings / 4.0, 64.0, 64.0
    for factor, length in zip(np.asarray(factors.data), lengths, strict=True):
        smooth = (original / length - 1.0) / (4.0 - 1.0)
        between = 1 / ((1 - smooth) / 4.0 + smooth)
        assert factor == pytest.approx(1.0 if length < short else 4.0 if length > long else between, rel=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_computes_the_same_from_the_file(family: Family, tmp_path: Path) -> None:
    model = model_folder(tmp_path / "m", family, spare=3)
    export(tmp_path / "m")
    # the weights as from_pretrained(gguf_file=...) reads them; of qwen3's shape it does not read the size of a head
    theirs = AutoModel.from_config(AutoConfig.from_pretrained(tmp_path / "m"), dtype=torch.float32).eval()
    theirs.load_state_dict(load_gguf(tmp_path / "m.gguf", True, theirs)["tensors"])
    token_ids = torch.randint(model.config.vocab_size, (2, 60), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        torch.testing.assert_close(model(token_ids), theirs(token_ids).logits, atol=1e-4, rtol=1e-4)


# ---------------------------------------------------------------- keys


def test_shape_origin_and_sampling_are_told(tmp_path: Path) -> None:
    model_folder(tmp_path / "m", "qwen3", spare=3)
    reader = export(tmp_path / "m", "bf16")
    told = {key: value(reader, key) for key in reader.fields if not key.startswith("GGUF.")}
    assert {key: told[key] for key in told if key.startswith("qwen3.")} == {
        "qwen3.block_count": 2, "qwen3.context_length": 256, "qwen3.embedding_length": 64,
        "qwen3.feed_forward_length": 96, "qwen3.attention.head_count": 4, "qwen3.attention.head_count_kv": 2,
        "qwen3.attention.key_length": 32, "qwen3.attention.value_length": 32, "qwen3.vocab_size": 403,
        "qwen3.attention.layer_norm_rms_epsilon": pytest.approx(1e-5), "qwen3.rope.freq_base": 5000.0,
        "qwen3.rope.dimension_count": 32,
    }  # fmt: skip
    assert {key: told[key] for key in told if key.startswith("general.")} == {
        "general.architecture": "qwen3", "general.type": "model", "general.name": "tiny",
        "general.size_label": "138K", "general.file_type": 32, "general.quantization_version": 2,
        "general.description": "Made with liaoliao (recipe: sft)", "general.languages": ["en", "zh"],
        "general.base_model.count": 1, "general.base_model.0.name": "town",
        "general.base_model.0.version": "sha256:cc33", "general.dataset.count": 2,
        "general.dataset.0.name": "talks:en", "general.dataset.0.version": "sha256:aa11",
        "general.dataset.1.name": "chats.jsonl:zh", "general.dataset.1.version": "sha256:bb22",
        "general.sampling.temp": pytest.approx(0.3), "general.sampling.top_p": pytest.approx(0.9),
        "general.sampling.top_k": 0, "general.sampling.min_p": 0.0, "general.sampling.penalty_repeat": 1.0,
        "general.sampling.penalty_last_n": -1,
    }  # fmt: skip


def test_the_vocabulary_is_all_there(tmp_path: Path) -> None:
    model_folder(tmp_path / "m", "qwen3", spare=3)
    reader, tokenizer = export(tmp_path / "m"), small_tokenizer()
    told = {key.removeprefix("tokenizer."): value(reader, key) for key in reader.fields if "tokenizer" in key}
    tokens, kinds = told["ggml.tokens"], told["ggml.token_type"]
    byte_of = _byte_alphabet()
    for token_id in range(400):
        name = tokenizer.decode([token_id])
        if name in CONTROL_TOKENS or name in MARKUP_TOKENS:
            assert tokens[token_id] == name
            hidden = name in CONTROL_TOKENS
            assert kinds[token_id] == (TokenType.CONTROL if hidden else TokenType.USER_DEFINED)
        else:
            assert bytes(byte_of[char] for char in tokens[token_id]) == tokenizer.token_bytes(token_id)
            assert kinds[token_id] == TokenType.NORMAL
    assert tokens[400:] == ["[PAD400]", "[PAD401]", "[PAD402]"]
    assert kinds[400:] == [TokenType.UNUSED] * 3
    end, text_end = tokenizer.special_id("<|im_end|>"), tokenizer.special_id("<|endoftext|>")
    theirs = SpecialVocab(tmp_path / "m", load_merges=True)
    assert told["ggml.merges"] == theirs.merges
    assert theirs.special_token_ids["eos"] == end
    del told["ggml.tokens"], told["ggml.token_type"], told["ggml.merges"]
    assert told == {
        "ggml.model": "gpt2", "ggml.pre": "qwen2", "ggml.bos_token_id": text_end, "ggml.eos_token_id": end,
        "ggml.eot_token_id": end, "ggml.eos_token_ids": [end, text_end], "ggml.padding_token_id": text_end,
        "ggml.add_bos_token": False, "chat_template": CHATML_JINJA,
    }  # fmt: skip


def _byte_alphabet() -> dict[str, int]:
    """GPT-2's spelling of bytes, from the library that defined it for everybody else."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    spelled: Any = bytes_to_unicode
    return {char: byte for byte, char in spelled().items()}


@pytest.mark.parametrize("pre", ["llama-bpe", "smollm", "gpt-2"])
def test_a_foreign_base_model(pre: str, tmp_path: Path) -> None:
    foreign_folder(tmp_path / "m", pre)
    reader, tokenizer = export(tmp_path / "m"), Tokenizer.load(tmp_path / "m")
    assert value(reader, "tokenizer.ggml.pre") == pre
    assert value(reader, "tokenizer.ggml.bos_token_id") == tokenizer.special_id("<|begin_of_text|>")
    assert value(reader, "tokenizer.ggml.eos_token_id") == tokenizer.special_id("<|eot_id|>")
    assert value(reader, "tokenizer.ggml.add_bos_token") is True
    assert "tokenizer.chat_template" not in reader.fields and "general.description" not in reader.fields
    assert "TEMPLATE {{ .Prompt }}\n" in (tmp_path / "m.Modelfile").read_text(encoding="utf-8")


def test_the_modelfile_says_how_to_talk(tmp_path: Path) -> None:
    model_folder(tmp_path / "m", "qwen3")
    export(tmp_path / "m")
    lines = (tmp_path / "m.Modelfile").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["# ollama create tiny -f m.Modelfile", "FROM ./m.gguf"]
    assert lines[3] == 'TEMPLATE """{{- if .Tools }}<|im_start|>system'
    assert lines[-9:] == [
        'PARAMETER stop "<|im_end|>"', 'PARAMETER stop "<|endoftext|>"', "PARAMETER num_ctx 256",
        "PARAMETER temperature 0.3", "PARAMETER top_k 0", "PARAMETER top_p 0.9", "PARAMETER min_p 0",
        "PARAMETER repeat_penalty 1", "PARAMETER repeat_last_n -1",
    ]  # fmt: skip


def test_a_foreign_chat_template_is_left_to_the_gguf_file(tmp_path: Path) -> None:
    foreign_folder(tmp_path / "m", "llama-bpe")
    (tmp_path / "m" / "chat_template.jinja").write_text("{{ bos_token }}hello", encoding="utf-8")
    assert value(export(tmp_path / "m"), "tokenizer.chat_template") == "{{ bos_token }}hello"
    assert "\nTEMPLATE" not in (tmp_path / "m.Modelfile").read_text(encoding="utf-8")


# ---------------------------------------------------------------- refusals


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model_folder(tmp_path / "m", "qwen3")
    return tmp_path / "m"


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")
    sign(folder)


def edit_tokenizer(folder: Path, **changes: Any) -> None:
    path = folder / "tokenizer.json"
    spec = json.loads(path.read_text(encoding="utf-8"))
    for name, changed in changes.items():
        part, _, key = name.partition("__")
        spec[part] = {**spec[part], key: changed} if key else changed
    path.write_text(json.dumps(spec), encoding="utf-8")
    sign(folder)


CUT = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"pre_tokenizer": CUT}, "no name that this project knows"),
        ({"pre_tokenizer": {**CUT, "use_regex": True, "add_prefix_space": True}}, "no name that"),
        ({"model__ignore_merges": True}, "no name that"),  # llama.cpp's qwen2 does ask the merges
        ({"normalizer": {"type": "Lowercase"}}, "changes a text first \\(Lowercase\\)"),
        ({"model__merges": []}, "no merges"),
    ],
)
def test_a_tokenizer_that_llama_cpp_would_read_otherwise(
    folder: Path, changes: dict[str, Any], words: str
) -> None:
    edit_tokenizer(folder, **changes)
    with pytest.raises(CheckpointError, match=words):
        export(folder)
    assert list(folder.parent.iterdir()) == [folder]


def test_a_normalizer_that_llama_cpp_always_leaves_out_is_noted(folder: Path) -> None:
    edit_tokenizer(folder, normalizer={"type": "NFC"})
    written = export_gguf(folder, folder.parent / "m.gguf", name="tiny")
    assert "NFC" in written.notes[0]


def test_two_tokens_of_one_spelling(tmp_path: Path) -> None:
    model_folder(tmp_path / "m", "qwen3", spare=1)
    added = json.loads((tmp_path / "m" / "tokenizer.json").read_text(encoding="utf-8"))["added_tokens"]
    edit_tokenizer(tmp_path / "m", added_tokens=[*added[:-1], {**added[-1], "content": "[PAD400]"}])
    with pytest.raises(CheckpointError, match=r"two tokens are spelled '\[PAD400\]'"):
        export(tmp_path / "m")


@pytest.mark.parametrize("name", ["vocab_size", "hidden_size", "num_hidden_layers"])
def test_a_size_that_the_weights_do_not_bear_out(folder: Path, name: str) -> None:
    edit_config(folder, **{name: 10**9})
    with pytest.raises(CheckpointError, match=r"calls for \(|lacks model\.layers"):
        export(folder)


def test_a_token_id_below_zero_is_none(folder: Path) -> None:
    edit_config(folder, bos_token_id=-1, pad_token_id=-1)
    reader = export(folder)
    for key in ("bos", "padding"):
        assert value(reader, f"tokenizer.ggml.{key}_token_id") == small_tokenizer().end_of_text_id


@pytest.mark.parametrize("odd", [{"parent": {}}, {"parent": {"folder": 5, "sha256": 5}}, {"data": 5}])
def test_a_lineage_of_odd_values_tells_nothing(folder: Path, odd: dict[str, Any]) -> None:
    (folder / "lineage.json").write_text(json.dumps({"recipe": "sft", **odd}), encoding="utf-8")
    sign(folder)
    reader = export(folder)
    assert not any("base_model" in key or "dataset" in key for key in reader.fields)


def test_positions_that_llama_cpp_does_not_stretch(tmp_path: Path) -> None:
    model_folder(tmp_path / "m", "qwen3", rope_scaling=STRETCHED)
    with pytest.raises(CheckpointError, match="qwen3"):
        export(tmp_path / "m")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_broken_model(tmp_path: Path, bad: float) -> None:
    from safetensors.torch import save_file

    model = model_folder(tmp_path / "m", "qwen3")
    model.model.norm.weight.data[3] = bad
    save_file(dict(model.named_parameters()), tmp_path / "m" / "model.safetensors", metadata={"format": "pt"})
    sign(tmp_path / "m")
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight holds values that are no numbers"):
        export(tmp_path / "m")
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_damaged_folder(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"tokenizer\.json is damaged"):
        export(folder)


def test_what_is_there_is_kept_unless_told_otherwise(folder: Path) -> None:
    out = folder.parent / "m.gguf"
    out.write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match=r"m\.gguf is there already; --force"):
        export(folder)
    assert out.read_text(encoding="utf-8") == "mine"
    assert value(export(folder, overwrite=True), "general.name") == "tiny"
    out.unlink()
    with pytest.raises(UsageError, match=r"m\.Modelfile is there already"):
        export(folder)


@pytest.mark.parametrize(("name", "words"), [("m.bin", "ends in .gguf"), ("d.gguf", "is a folder")])
def test_a_wrong_target(folder: Path, name: str, words: str) -> None:
    (folder.parent / "d.gguf").mkdir()
    with pytest.raises(UsageError, match=words):
        export_gguf(folder, folder.parent / name, name="tiny", overwrite=True)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), OSError("9 requested and 4 written")]
)
def test_a_full_disk_leaves_what_was_there(
    folder: Path, error: OSError, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(folder)
    before = (folder.parent / "m.gguf").read_bytes()
    written = []

    def full(self: GGUFWriter, tensor: Any) -> None:
        written.append(tensor)
        if len(written) == 5:
            raise error

    monkeypatch.setattr(GGUFWriter, "write_tensor_data", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*what was there before is kept"):
        export(folder, "bf16", overwrite=True)
    assert (folder.parent / "m.gguf").read_bytes() == before
    assert {path.name for path in folder.parent.iterdir()} == {"m", "m.gguf", "m.Modelfile"}
