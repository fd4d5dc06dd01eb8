"""Checkpoints are whole or absent, remember their hashes, and load in stock `transformers`."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from liaoliao.errors import CheckpointError
from liaoliao.messages import Message
from liaoliao.model import checkpoint
from liaoliao.model.checkpoint import load_generation, load_lineage, load_model, save_checkpoint, sign, verify
from liaoliao.model.config import ModelConfig
from liaoliao.model.registry import resolve
from liaoliao.model.transformer import Transformer
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.tokenizer import Tokenizer

FILES = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "chat_template.jinja",
         "generation_config.json", "lineage.json", "manifest.json"}  # fmt: skip


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["the cat sat on the mat", "猫坐在垫子上"] * 3, 280)


def tiny(tokenizer: Tokenizer, seed: int = 0) -> Transformer:
    config = ModelConfig.from_depth(1, tokenizer.vocab_size, max_position_embeddings=64)
    return Transformer(config).init_weights(seed)


def save(folder: Path, tokenizer: Tokenizer, seed: int = 0) -> Transformer:
    model = tiny(tokenizer, seed)
    lineage = {"recipe": "test", "seed": seed}
    save_checkpoint(
        folder, model, tokenizer, ChatTemplate(tokenizer), lineage=lineage, generation={"temperature": 0.7}
    )
    return model


def same_weights(a: Transformer, b: Transformer) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters(), b.parameters(), strict=True))


def test_what_is_saved_is_what_loads(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = save(tmp_path / "runs" / "model", tokenizer)
    folder = verify(tmp_path / "runs" / "model")
    assert {path.name for path in folder.iterdir()} == FILES
    assert [path.name for path in folder.parent.iterdir()] == ["model"]  # nothing left lying about
    loaded = load_model(folder)
    assert loaded.config == model.config and same_weights(loaded, model) and not loaded.training
    assert load_lineage(folder) == {"recipe": "test", "seed": 0}
    assert load_generation(folder) == {
        "eos_token_id": list(ChatTemplate(tokenizer).stop_ids),
        "temperature": 0.7,
    }


def test_the_whole_folder_loads_in_transformers(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = save(tmp_path / "model", tokenizer)
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=torch.float32)
    their_tokenizer: Any = AutoTokenizer.from_pretrained(tmp_path / "model")
    messages = [Message.user("the cat 猫")]
    ids = ChatTemplate(tokenizer).render(messages, add_generation_prompt=True).token_ids
    wire = [m.to_openai() for m in messages]
    assert their_tokenizer.apply_chat_template(wire, add_generation_prompt=True)["input_ids"] == ids
    with torch.no_grad():
        torch.testing.assert_close(
            theirs(torch.tensor([ids])).logits, model(torch.tensor([ids])), atol=1e-4, rtol=1e-4
        )
    stops = GenerationConfig.from_pretrained(tmp_path / "model").eos_token_id
    assert tuple(stops) == ChatTemplate(tokenizer).stop_ids


def test_saving_again_replaces_the_whole_folder(tmp_path: Path, tokenizer: Tokenizer) -> None:
    save(tmp_path / "model", tokenizer, seed=0)
    (tmp_path / "model" / "stray.txt").write_text("old", encoding="utf-8")
    second = save(tmp_path / "model", tokenizer, seed=1)
    assert same_weights(load_model(tmp_path / "model"), second)
    assert {path.name for path in (tmp_path / "model").iterdir()} == FILES


@pytest.mark.parametrize("when", ["write", "sign", "first rename", "second rename", "cleaning"])
def test_a_kill_at_any_moment_leaves_a_whole_checkpoint(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    class Killed(BaseException):
        """As abrupt as Python allows: no except clause of ours may tidy up after it."""

    def kill(*_: object, **__: object) -> None:
        raise Killed

    first = save(tmp_path / "model", tokenizer, seed=0)
    rename, rmtree = Path.rename, shutil.rmtree
    with monkeypatch.context() as patch:
        if when == "write":
            patch.setattr(checkpoint, "save_file", kill)
        elif when == "sign":
            patch.setattr(checkpoint, "sign", kill)
        elif when == "cleaning":
            patch.setattr(shutil, "rmtree", lambda path, **_: kill() if path.exists() else rmtree(path, True))
        else:
            draft_killed = when == "second rename"
            patch.setattr(
                Path,
                "rename",
                lambda p, to: kill() if p.name.endswith(".draft") == draft_killed else rename(p, to),
            )
        with pytest.raises(Killed):
            save(tmp_path / "model", tokenizer, seed=1)
    assert (resolve(str(tmp_path / "model")) == tmp_path / "model") == (when != "second rename")
    expected = tiny(tokenizer, seed=1) if when == "cleaning" else first
    assert same_weights(load_model(tmp_path / "model"), expected)
    third = save(tmp_path / "model", tokenizer, seed=2)
    assert same_weights(load_model(tmp_path / "model"), third)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_full_disk_keeps_the_previous_checkpoint(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = save(tmp_path / "model", tokenizer, seed=0)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(CheckpointError, match=r"No space left on device.*what was there before is kept"):
        save(tmp_path / "model", tokenizer, seed=1)
    assert same_weights(load_model(tmp_path / "model"), first)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@given(st.data())
def test_one_changed_byte_anywhere_is_detected(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("c") / "model"
    shutil.copytree(_saved_once(tmp_path_factory), folder)
    name = data.draw(st.sampled_from(sorted(FILES - {"manifest.json"})))
    content = bytearray((folder / name).read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    (folder / name).write_bytes(content)
    with pytest.raises(CheckpointError, match=f"{name} is damaged"):
        load_model(folder)


_cache: dict[str, Path] = {}


def _saved_once(factory: pytest.TempPathFactory) -> Path:
    if "folder" not in _cache:
        _cache["folder"] = factory.mktemp("saved") / "model"
        save(_cache["folder"], Tokenizer.train(["a b c"], 265))
    return _cache["folder"]


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_detected(tmp_path: Path, tokenizer: Tokenizer, name: str) -> None:
    save(tmp_path / "model", tokenizer)
    (tmp_path / "model" / name).unlink()
    with pytest.raises(CheckpointError, match=name):
        load_model(tmp_path / "model")


def test_a_deliberate_change_can_be_signed(tmp_path: Path, tokenizer: Tokenizer) -> None:
    save(tmp_path / "model", tokenizer)
    (tmp_path / "model" / "generation_config.json").write_text('{"temperature": 0.1}', encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"checkpoint\.sign"):
        verify(tmp_path / "model")
    sign(tmp_path / "model")
    assert load_generation(verify(tmp_path / "model")) == {"temperature": 0.1}


def test_a_manifest_that_lists_nothing_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    save(tmp_path / "model", tokenizer)
    (tmp_path / "model" / "manifest.json").write_text(json.dumps({"files": None}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="lists no files"):
        verify(tmp_path / "model")


@pytest.mark.parametrize("name", ["x" * 300, "\0", "..", "nowhere/at/all"])
def test_a_manifest_that_names_no_file_is_refused(tmp_path: Path, tokenizer: Tokenizer, name: str) -> None:
    save(tmp_path / "model", tokenizer)
    (tmp_path / "model" / "manifest.json").write_text(json.dumps({"files": {name: {}}}), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"lacks|cannot be read"):
        verify(tmp_path / "model")


@pytest.mark.parametrize("tools", [5, None, "calculator", [5], {"calculator": 1}])
def test_a_lineage_with_odd_tools_is_refused(tmp_path: Path, tools: Any) -> None:
    (tmp_path / "lineage.json").write_text(json.dumps({"tools": tools}), encoding="utf-8")
    with pytest.raises(CheckpointError, match="tools must be a list of their names"):
        load_lineage(tmp_path)


def test_a_generation_config_of_odd_values_is_refused(tmp_path: Path) -> None:
    (tmp_path / "generation_config.json").write_text('{"temperature": "hot"}', encoding="utf-8")
    with pytest.raises(CheckpointError, match="temperature must be a number"):
        load_generation(tmp_path)


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path: Path, tokenizer: Tokenizer) -> None:
    model = Transformer(ModelConfig.from_depth(1, tokenizer.vocab_size - 1))
    with pytest.raises(CheckpointError, match="embeddings"):
        save_checkpoint(tmp_path / "model", model, tokenizer, ChatTemplate(tokenizer), lineage={})
    assert not (tmp_path / "model").exists()
