"""Oracle: folders go to and from stock `transformers` with equal logits; broken folders are refused by
name.
"""

import json
import math
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig, Qwen2Config, Qwen3Config

from liaoliao.errors import CheckpointError
from liaoliao.model import checkpoint
from liaoliao.model.checkpoint import load_config, load_model
from liaoliao.model.config import Family, ModelConfig, RopeScaling
from liaoliao.model.convert import config_from_hf, config_to_hf, load_weights, tensor_files
from liaoliao.model.transformer import Transformer

FAMILIES: tuple[Family, ...] = ("qwen3", "qwen2", "llama")
AutoModel: Any = AutoModelForCausalLM
_HF_CONFIG = {"qwen3": Qwen3Config, "qwen2": Qwen2Config, "llama": LlamaConfig}
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "factor": 4.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}


def foreign_model(family: Family, seed: int, **extra: Any) -> Any:
    """A random transformers model of a random small shape; every weight, norms and biases too, away from its
    default.
    """
    draw = torch.Generator().manual_seed(seed)

    def pick(*options: int) -> int:
        return options[int(torch.randint(len(options), (), generator=draw))]

    kv_heads, head_dim = pick(1, 2), pick(8, 16)
    heads = kv_heads * pick(1, 2, 3)
    shape = {
        "vocab_size": pick(97, 128),
        "hidden_size": heads * head_dim if family != "qwen3" else pick(24, 40),
        "intermediate_size": pick(40, 64),
        "num_hidden_layers": pick(1, 2, 3),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 256,
        "rms_norm_eps": 1e-5,
        "tie_word_embeddings": bool(pick(0, 1)),
        "rope_parameters": {"rope_type": "default", "rope_theta": float(pick(1000, 500_000))},
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    shape |= {"head_dim": head_dim} if family != "qwen2" else {}
    model = AutoModel.from_config(_HF_CONFIG[family](**{**shape, **extra}), dtype=torch.float32)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.3, generator=draw)
    return model.eval()


def assert_same_logits(theirs: Any, ours: Transformer) -> None:
    token_ids = torch.randint(ours.config.vocab_size, (2, 80), generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        torch.testing.assert_close(ours(token_ids), theirs(token_ids).logits, atol=1e-4, rtol=1e-4)


def edit_json(path: Path, **changes: Any) -> None:
    values = json.loads(path.read_text(encoding="utf-8")) | changes
    path.write_text(json.dumps({k: v for k, v in values.items() if v != "DELETE"}), encoding="utf-8")


def write_ours(folder: Path, model: Transformer) -> None:
    """Just the model half of a checkpoint."""
    from safetensors.torch import save_file

    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config_to_hf(model.config)), encoding="utf-8")
    save_file(dict(model.named_parameters()), folder / "model.safetensors", metadata={"format": "pt"})


# ---------------------------------------------------------------- oracle


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("family", FAMILIES)
def test_a_transformers_folder_gives_its_logits_here(family: Family, seed: int, tmp_path: Path) -> None:
    theirs = foreign_model(family, seed)
    theirs.save_pretrained(tmp_path, max_shard_size="20KB" if seed % 2 else "1GB")
    assert (tmp_path / "model.safetensors.index.json").is_file() == bool(seed % 2)
    ours = load_model(tmp_path)
    assert ours.config.family == family
    assert_same_logits(theirs, ours)


@pytest.mark.parametrize("scaling", [None, RopeScaling(4.0, 1.0, 4.0, 32)])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_our_folder_gives_its_logits_in_transformers(
    family: Family, tied: bool, scaling: RopeScaling | None, tmp_path: Path
) -> None:
    config = ModelConfig(
        vocab_size=101, hidden_size=48, intermediate_size=72, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=12, max_position_embeddings=128, rope_theta=5000.0,
        rope_scaling=scaling, tie_word_embeddings=tied, attention_bias=family == "qwen2",
        qk_norm=family == "qwen3", eos_token_id=(7, 9),
    )  # fmt: skip
    ours = Transformer(config)
    for parameter in ours.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.3)
    write_ours(tmp_path / "model", ours)
    theirs, info = AutoModel.from_pretrained(
        tmp_path / "model", dtype=torch.float32, output_loading_info=True
    )
    assert not info["missing_keys"] and not info["unexpected_keys"]
    assert_same_logits(theirs.eval(), ours)
    assert load_config(tmp_path / "model") == config


@pytest.mark.parametrize("spelling", ["old", "new", "both"])
@pytest.mark.parametrize("scaled", [False, True])
def test_both_spellings_of_the_rotary_settings(spelling: str, scaled: bool, tmp_path: Path) -> None:
    rope = {**(LLAMA3_ROPE if scaled else {"rope_type": "default"}), "rope_theta": 700.0}
    theirs = foreign_model("llama", 3, rope_parameters=dict(rope))
    theirs.save_pretrained(tmp_path)
    scaling = {k: v for k, v in rope.items() if k != "rope_theta"} if scaled else None
    new = {"rope_parameters": rope if spelling != "old" else "DELETE"}
    old = {"rope_theta": 700.0, "rope_scaling": scaling} if spelling != "new" else {}
    edit_json(tmp_path / "config.json", **new, **old)
    ours = load_model(tmp_path)
    assert ours.config.rope_theta == 700.0 and (ours.config.rope_scaling is not None) == scaled
    assert_same_logits(theirs, ours)
    assert AutoConfig.from_pretrained(tmp_path).rope_parameters["rope_theta"] == 700.0


def test_a_silent_config_means_what_transformers_means() -> None:
    for family in FAMILIES:
        said = {"architectures": [_HF_CONFIG[family].__name__.replace("Config", "ForCausalLM")]}
        size = {"vocab_size": 64, "hidden_size": 4096, "intermediate_size": 64, "num_hidden_layers": 1}
        size |= {"num_attention_heads": 32}
        theirs = _HF_CONFIG[family](**size)
        ours = config_from_hf(said | size)
        assert ours.head_dim == getattr(theirs, "head_dim", None) or 4096 // 32
        for name in ("num_key_value_heads", "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings",
                     "eos_token_id", "bos_token_id"):  # fmt: skip
            assert getattr(ours, name) == getattr(theirs, name), (family, name)
        assert ours.rope_theta == theirs.rope_parameters["rope_theta"]


def test_a_stored_copy_of_tied_embeddings_is_read_and_must_agree(tmp_path: Path) -> None:
    theirs = foreign_model("qwen3", 1, tie_word_embeddings=False)
    theirs.lm_head.weight.data.copy_(theirs.model.embed_tokens.weight)
    theirs.save_pretrained(tmp_path)
    edit_json(tmp_path / "config.json", tie_word_embeddings=True)
    ours = load_model(tmp_path)
    assert not hasattr(ours, "lm_head")
    assert_same_logits(theirs, ours)
    theirs.lm_head.weight.data[0, 0] += 1
    theirs.save_pretrained(tmp_path)
    edit_json(tmp_path / "config.json", tie_word_embeddings=True)
    with pytest.raises(CheckpointError, match=r"ties lm_head.weight"):
        load_model(tmp_path)


@pytest.mark.parametrize("stored", [torch.bfloat16, torch.float16])
def test_half_precision_folders_load_in_any_dtype(stored: torch.dtype, tmp_path: Path) -> None:
    foreign_model("llama", 2).to(stored).save_pretrained(tmp_path)
    assert_same_logits(AutoModel.from_pretrained(tmp_path, dtype=torch.float32).eval(), load_model(tmp_path))
    assert next(load_model(tmp_path, dtype=stored).parameters()).dtype == stored


# ---------------------------------------------------------------- refusals


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A good folder, for a test to break."""
    foreign_model("qwen3", 0, tie_word_embeddings=False).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"model_type": "mamba", "architectures": ["MambaForCausalLM"]},
            "MambaForCausalLM.*this project runs",
        ),
        ({"architectures": ["Qwen3ForSequenceClassification"]}, "Qwen3ForSequenceClassification"),
        ({"architectures": 5}, "architectures must be a list, got 5"),
        ({"architectures": "Qwen3ForCausalLM"}, "architectures must be a list"),
        ({"architectures": [5]}, r"architectures \[5\].*this project runs"),
        ({"model_type": "DELETE", "architectures": "DELETE"}, "no architecture"),
        ({"hidden_act": "gelu"}, "hidden_act = 'gelu'"),
        ({"attention_bias": True}, "attention_bias"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"layer_types": ["sliding_attention"]}, "sliding_attention"),
        ({"layer_types": 5}, "layer_types must be a list, got 5"),
        ({"layer_types": [None]}, "layer_types holds None"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantization_config"),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0}}, "yarn"),
        ({"rope_theta": 123.0}, "different rope_theta"),
        ({"rope_theta": "x"}, "rope_theta must be a number, got 'x'"),
        ({"rope_theta": [1.0]}, "rope_theta must be a number"),
        ({"rope_theta": math.nan}, "rope_theta is nan"),
        ({"rope_theta": 10**400}, "rope_theta is 1000"),
        ({"rope_theta": 0, "rope_parameters": "DELETE"}, r"rope_theta \(0\.0\) must be above 0"),
        ({"rope_parameters": {"rope_theta": True}}, r"rope_parameters\.rope_theta must be a number"),
        ({"rope_parameters": 5}, "rope_parameters must be an object, got 5"),
        ({"rope_scaling": LLAMA3_ROPE}, "different scalings"),
        ({"rope_scaling": {"rope_type": "llama3"}, "rope_parameters": "DELETE"}, "no rope_scaling.factor"),
        ({"rope_scaling": {**LLAMA3_ROPE, "factor": "4"}}, r"rope_scaling\.factor must be a number"),
        ({"rope_scaling": {**LLAMA3_ROPE, "factor": 0}}, "needs a factor and an original length above 0"),
        ({"rope_scaling": {**LLAMA3_ROPE, "high_freq_factor": 1}}, "low_freq_factor below high_freq_factor"),
        (
            {"rope_scaling": {**LLAMA3_ROPE, "original_max_position_embeddings": 1.5}},
            r"rope_scaling\.original_max_position_embeddings must be a number",
        ),
        ({"rms_norm_eps": -1.0}, r"rms_norm_eps \(-1\.0\) not below it"),
        ({"rms_norm_eps": math.inf}, "rms_norm_eps is inf"),
        ({"max_position_embeddings": 10**9}, "max_position_embeddings is 1000000000"),
        ({"vocab_size": 10**12}, "vocab_size is 1000000000000"),
        ({"hidden_size": "DELETE"}, "no hidden_size"),
        ({"hidden_size": "wide"}, "hidden_size must be a number"),
        ({"num_hidden_layers": 0}, "num_hidden_layers must be at least 1"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings must be true or false"),
        ({"eos_token_id": ["x"]}, "eos_token_id"),
        ({"eos_token_id": "x"}, "eos_token_id must be a number"),
        ({"eos_token_id": 10**400}, "eos_token_id is 1000"),
        ({"num_hidden_layers": 9}, "lacks model.layers"),
        ({"vocab_size": 96}, r"embed_tokens.weight has shape .*calls for \(96"),
        ({"tie_word_embeddings": True}, "ties lm_head.weight"),
    ],
)
def test_a_config_we_cannot_honour_is_refused(folder: Path, changes: dict[str, Any], words: str) -> None:
    edit_json(folder / "config.json", **changes)
    with pytest.raises(CheckpointError, match=words):
        load_model(folder)


@pytest.mark.parametrize(
    "name",
    ["vocab_size", "hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers"],
)
def test_a_size_that_the_weights_do_not_bear_out_gets_no_memory(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit_json(folder / "config.json", **{name: 10**9})
    monkeypatch.setattr(checkpoint, "Transformer", None)  # not even one without storage is built
    with pytest.raises(CheckpointError, match=r"has shape .*calls for \(|lacks model\.layers"):
        load_model(folder)


def test_missing_or_broken_config(folder: Path) -> None:
    (folder / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match="not readable JSON"):
        load_model(folder)
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        load_model(folder)
    with pytest.raises(CheckpointError, match="no model folder"):
        load_model(folder / "nowhere")


def _with_header(path: Path, header: dict[str, Any], data: bytes) -> None:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)


@pytest.mark.parametrize("lie", ["offsets", "shape", "length", "truncated", "empty", "text"])
def test_a_lying_header_is_refused(folder: Path, lie: str) -> None:
    path = folder / "model.safetensors"
    whole = path.read_bytes()
    (size,) = struct.unpack("<Q", whole[:8])
    header, data = json.loads(whole[8 : 8 + size]), whole[8 + size :]
    first = header["model.norm.weight"]
    if lie == "offsets":
        first["data_offsets"] = [first["data_offsets"][0], len(data) * 1000]
        _with_header(path, header, data)
    elif lie == "shape":
        first["shape"] = [10**9]
        _with_header(path, header, data)
    else:
        lies = {
            "length": struct.pack("<Q", 2**62) + whole[8:],
            "truncated": whole[:-9],
            "empty": b"",
            "text": b"hello" * 9,
        }
        path.write_bytes(lies[lie])
    with pytest.raises(CheckpointError, match=r"model\.safetensors is damaged"):
        load_model(folder)


def test_pickled_weights_are_refused(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match=r"pickled weights \(pytorch_model\.bin\)"):
        load_model(folder)


def test_a_folder_without_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="neither"):
        load_model(folder)


def test_unexpected_tensors_are_refused(folder: Path) -> None:
    edit_json(folder / "config.json", model_type="llama", architectures=["LlamaForCausalLM"])
    with pytest.raises(CheckpointError, match=r"holds .*norm.weight.*has no place for"):
        load_model(folder)


def test_integer_weights_are_refused(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = Transformer(ModelConfig.from_depth(1, vocab_size=8))
    save_file(
        {name: p.detach().to(torch.int8) for name, p in model.named_parameters()},
        tmp_path / "model.safetensors",
    )
    with pytest.raises(CheckpointError, match="is I8; quantised"):
        load_weights(model, tmp_path)


@pytest.mark.parametrize(
    "target",
    ["../model.safetensors", "/etc/passwd", "weights.bin", "gone.safetensors", "x" * 300 + ".safetensors"],
)
def test_an_index_points_only_to_shards_beside_it(tmp_path: Path, target: str) -> None:
    index = {"metadata": {"total_size": 1}, "weight_map": {"model.norm.weight": target}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"points to|lacks the shard"):
        tensor_files(tmp_path)


def test_a_shard_that_lacks_what_the_index_promises(folder: Path) -> None:
    theirs = foreign_model("qwen3", 1)
    theirs.save_pretrained(folder / "sharded", max_shard_size="20KB")
    index = folder / "sharded" / "model.safetensors.index.json"
    weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
    files = sorted(set(weight_map.values()))
    weight_map["model.norm.weight"] = next(file for file in files if file != weight_map["model.norm.weight"])
    edit_json(index, weight_map=weight_map)
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight"):
        load_model(folder / "sharded")
