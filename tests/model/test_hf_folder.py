"""The clean copy: stock `transformers` computes the same from it, and nothing is replaced by accident."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from liaoliao.errors import CheckpointError, UsageError
from liaoliao.messages import Message
from liaoliao.model import hf_folder
from liaoliao.model.checkpoint import load_generation, load_lineage, load_model, sign, verify
from liaoliao.model.config import Family
from liaoliao.model.hf_folder import export_folder
from liaoliao.text.chat_template import load_template
from liaoliao.text.tokenizer import Tokenizer
from tests.model.folders import FAMILIES, LINEAGE, foreign_folder, model_folder

AutoModel: Any = AutoModelForCausalLM


@pytest.mark.parametrize("family", FAMILIES)
def test_transformers_loads_the_copy(family: Family, tmp_path: Path) -> None:
    model = model_folder(tmp_path / "m", family, spare=3)
    (tmp_path / "m" / "training.safetensors").write_bytes(b"the optimizer's")
    export_folder(tmp_path / "m", tmp_path / "hf")
    assert "training.safetensors" not in {path.name for path in verify(tmp_path / "hf").iterdir()}
    theirs, info = AutoModel.from_pretrained(tmp_path / "hf", dtype="auto", output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and theirs.dtype == torch.float32
    messages = [Message.user("the cat 猫")]
    tokenizer = Tokenizer.load(tmp_path / "hf")
    ids = load_template(tmp_path / "hf", tokenizer).render(messages, add_generation_prompt=True).token_ids
    their_tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "hf")
    wire = [m.to_openai() for m in messages]
    assert their_tokenizer.apply_chat_template(wire, add_generation_prompt=True)["input_ids"] == ids
    with torch.no_grad():
        torch.testing.assert_close(
            theirs.eval()(torch.tensor([ids])).logits, model(torch.tensor([ids])), atol=1e-4, rtol=1e-4
        )


def test_another_precision_is_rounded_once_and_told(tmp_path: Path) -> None:
    model = model_folder(tmp_path / "m", "qwen3")
    size_bytes = export_folder(tmp_path / "m", tmp_path / "hf", dtype="bf16")
    assert size_bytes == sum(path.stat().st_size for path in (tmp_path / "hf").iterdir())
    config = json.loads((tmp_path / "hf" / "config.json").read_text(encoding="utf-8"))
    assert config["dtype"] == config["torch_dtype"] == "bfloat16"
    copied = load_model(tmp_path / "hf")
    assert copied.config == model.config
    for ours, theirs in zip(model.parameters(), copied.parameters(), strict=True):
        assert torch.equal(ours.bfloat16().float(), theirs)
    assert load_lineage(tmp_path / "hf") == {**LINEAGE, "exported_as": "bfloat16"}
    assert load_generation(tmp_path / "hf") == load_generation(tmp_path / "m")


def test_a_foreign_folder_in_shards_becomes_one_file(tmp_path: Path) -> None:
    model = foreign_folder(tmp_path / "m", "llama-bpe")
    theirs = AutoModel.from_pretrained(tmp_path / "m", dtype=torch.float32)
    (tmp_path / "m" / "model.safetensors").unlink()
    theirs.save_pretrained(tmp_path / "m", max_shard_size="50KB")
    (tmp_path / "m" / "LICENSE.txt").write_text("do what you like", encoding="utf-8")
    (tmp_path / "m" / "model.safetensors.index.json").stat()  # it is in shards
    export_folder(tmp_path / "m", tmp_path / "hf")
    names = {path.name for path in (tmp_path / "hf").iterdir()}
    assert {"model.safetensors", "LICENSE.txt", "tokenizer.json", "manifest.json"} <= names
    assert not any("-of-" in name or "lineage" in name for name in names)
    ids = torch.arange(60).unsqueeze(0)
    with torch.no_grad():
        torch.testing.assert_close(load_model(tmp_path / "hf")(ids), model(ids))


def test_only_a_model_folder_is_replaced_and_only_when_told(tmp_path: Path) -> None:
    model_folder(tmp_path / "m", "qwen3")
    (tmp_path / "empty").mkdir()
    export_folder(tmp_path / "m", tmp_path / "empty")
    with pytest.raises(UsageError, match="empty is there already; --force replaces it"):
        export_folder(tmp_path / "m", tmp_path / "empty")
    export_folder(tmp_path / "m", tmp_path / "empty", dtype="bf16", overwrite=True)
    verify(tmp_path / "empty")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(UsageError, match="no model folder, so it is not replaced"):
        export_folder(tmp_path / "m", tmp_path / "home", overwrite=True)
    for out in (tmp_path / "m", tmp_path / "m" / "hf", tmp_path, tmp_path / "hf" / ".." / "m"):
        with pytest.raises(UsageError, match="hold one another"):
            export_folder(tmp_path / "m", out, overwrite=True)
    verify(tmp_path / "m")


@pytest.mark.parametrize("name", ["vocab_size", "hidden_size", "num_hidden_layers"])
def test_a_size_that_the_weights_do_not_bear_out(tmp_path: Path, name: str) -> None:
    model_folder(tmp_path / "m", "qwen3")
    path = tmp_path / "m" / "config.json"
    values = json.loads(path.read_text(encoding="utf-8")) | {name: 10**9}
    path.write_text(json.dumps(values), encoding="utf-8")
    sign(tmp_path / "m")
    with pytest.raises(CheckpointError, match=r"calls for \(|lacks model\.layers"):
        export_folder(tmp_path / "m", tmp_path / "hf")
    assert not (tmp_path / "hf").exists()


def test_a_full_disk_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_folder(tmp_path / "m", "qwen3")
    export_folder(tmp_path / "m", tmp_path / "hf")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(hf_folder, "save_file", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*what was there before is kept"):
        export_folder(tmp_path / "m", tmp_path / "hf", overwrite=True)
    verify(tmp_path / "hf")
    assert {path.name for path in tmp_path.iterdir()} == {"m", "hf"}
