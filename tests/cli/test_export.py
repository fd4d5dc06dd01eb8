"""`liaoliao export` from a person's side."""

import sys
from pathlib import Path

import pytest
from typer.testing import Result

from liaoliao.model.registry import register
from tests.cli.tiny_run import liaoliao
from tests.model.folders import foreign_folder, model_folder


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    model_folder(tmp_path / "runs" / "my town" / "model", "qwen3")
    return tmp_path / "runs" / "my town" / "model"


def refused(result: Result, *words: str) -> None:
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output
    for word in words:
        assert word in result.stderr


def test_files_are_named_after_the_model(model: Path, tmp_path: Path) -> None:
    result = liaoliao("export", model, "--to", "gguf")
    assert result.stdout.splitlines() == ["my-town-bf16.gguf  0.3 MB", "my-town-bf16.Modelfile"]
    register("town", model)
    assert liaoliao("export", "town", "--to", "gguf", "--dtype", "q8_0").exit_code == 0
    assert liaoliao("export", "town", "--to", "hf").stdout.startswith("town-hf  ")
    assert {path.name for path in tmp_path.iterdir()} >= {"town-q8_0.gguf", "town-q8_0.Modelfile", "town-hf"}


def test_what_differs_is_told_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model_folder(tmp_path / "m", "qwen3", intermediate_size=72)
    result = liaoliao("export", "m", "--to", "gguf", "--dtype", "q8_0", "--out", "some/where/x.gguf")
    assert result.stderr == "note: 2 matrices are f16: their rows are no multiple of 32, as q8_0 wants\n"
    assert (tmp_path / "some" / "where" / "x.Modelfile").is_file()


def test_a_base_model_without_a_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    foreign_folder(tmp_path / "m", "smollm")
    assert liaoliao("export", "m", "--to", "gguf").exit_code == 0
    assert liaoliao("export", "m", "--to", "hf", "--dtype", "bf16").exit_code == 0


def test_mistakes_are_one_sentence(model: Path) -> None:
    refused(liaoliao("export", model), "--to")
    refused(liaoliao("export", model, "--to", "onnx"), "onnx", "gguf", "hf")
    refused(liaoliao("export", model, "--to", "gguf", "--dtype", "q4"), "q4", "f32", "bf16", "q8_0")
    refused(liaoliao("export", model, "--to", "hf", "--dtype", "q8_0"), "--to hf takes f32 or bf16")
    refused(liaoliao("export", "nosuch", "--to", "hf"), "nosuch")
    refused(liaoliao("export", model, "--to", "gguf", "--out", "x.bin"), "ends in .gguf")
    assert liaoliao("export", model, "--to", "gguf", "--out", "x.gguf").exit_code == 0
    refused(liaoliao("export", model, "--to", "gguf", "--out", "x.gguf"), "there already", "--force")
    assert liaoliao("export", model, "--to", "gguf", "--out", "x.gguf", "--force").exit_code == 0


def test_without_the_gguf_package_it_says_how_to_get_it(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "liaoliao.model.gguf", raising=False)
    monkeypatch.setitem(sys.modules, "gguf", None)
    refused(liaoliao("export", model, "--to", "gguf"), "pip install 'liaoliao[gguf]'")
    assert liaoliao("export", model, "--to", "hf").exit_code == 0
