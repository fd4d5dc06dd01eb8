"""Which runner a folder gets, and why not another one."""

import inspect
from pathlib import Path

import pytest
import torch

from liaoliao.engine.cpu.runner import CpuRunner
from liaoliao.engine.load import load_runner, pick_device
from liaoliao.engine.runner import Row, Runner, TorchRunner
from liaoliao.errors import CheckpointError, UsageError
from liaoliao.model.checkpoint import save_checkpoint
from liaoliao.model.transformer import Transformer
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.tokenizer import Tokenizer
from tests.engine.cpu.models import make_model
from tests.engine.models import make_model as make_narrow_model


def save(model: Transformer, folder: Path) -> Path:
    tokenizer = Tokenizer.train(["the cat sat on the mat"] * 4, 270)
    save_checkpoint(folder, model, tokenizer, ChatTemplate(tokenizer), lineage={})
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(make_model(), tmp_path_factory.mktemp("load") / "model")


def kind(runner: Runner) -> str:
    dtype = runner.model.output_weight.dtype if isinstance(runner, TorchRunner) else "packed"
    return f"{type(runner).__name__} {dtype}"


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        ("auto", "CpuRunner packed"),
        ("bf16", "CpuRunner packed"),
        ("int8", "CpuRunner packed"),
        ("int4", "CpuRunner packed"),
        ("fp32", "TorchRunner torch.float32"),
    ],
)
def test_each_dtype_gets_its_runner(folder: Path, dtype: str, expected: str) -> None:
    runner = load_runner(folder, dtype=dtype, device="cpu", kv_cache_bytes=2**22)  # type: ignore[arg-type]
    assert kind(runner) == expected
    exact = load_runner(folder, dtype="fp32", device="cpu", kv_cache_bytes=2**22)
    row = [Row([5, 6, 7, 8], 0, [0], 4)]
    error = (runner.forward(row) - exact.forward(row)).norm() / exact.forward(row).norm()
    assert float(error) <= {"fp32": 0.0, "int8": 0.03, "int4": 0.4}.get(dtype, 0.012)


def test_the_number_of_bits_is_the_size_in_memory(folder: Path) -> None:
    sizes = [
        load_runner(folder, dtype=d, kv_cache_bytes=2**22, num_threads=1) for d in ("bf16", "int8", "int4")
    ]
    bf16, int8, int4 = (runner.size_bytes for runner in sizes if isinstance(runner, CpuRunner))
    assert 8.4 < 16 * int8 / bf16 < 8.6 and int4 < int8
    assert all(r.bytes_per_token <= r.size_bytes for r in sizes if isinstance(r, CpuRunner))


def test_a_shape_that_does_not_fit_goes_to_torch_or_is_told(tmp_path: Path) -> None:
    narrow = save(make_narrow_model_of(270), tmp_path / "narrow")
    assert kind(load_runner(narrow, device="cpu")) == "TorchRunner torch.float32"
    assert kind(load_runner(narrow, dtype="bf16", device="cpu")) == "TorchRunner torch.bfloat16"
    with pytest.raises(UsageError, match=r"int8 is not possible here: .* is .*, not a multiple of 32"):
        load_runner(narrow, dtype="int8", device="cpu")


def make_narrow_model_of(vocab_size: int) -> Transformer:
    config = make_narrow_model().config
    model = Transformer(type(config)(vocab_size, 48, 40, 1, 2, 2, 24))
    return model.init_weights(0)


def test_without_numba_torch_serves(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "numba" else find(name))
    assert kind(load_runner(folder, device="cpu")) == "TorchRunner torch.float32"
    with pytest.raises(UsageError, match="pip install numba"):
        load_runner(folder, dtype="int4", device="cpu")


def test_unknown_dtypes_and_devices_are_told(folder: Path) -> None:
    with pytest.raises(UsageError, match="auto, fp32, bf16, int8, int4, not 'fp16'"):
        inspect.unwrap(load_runner)(folder, dtype="fp16")  # without the type checks of the test run
    with pytest.raises(UsageError, match="'tpu'"):
        pick_device("tpu")
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_a_damaged_folder_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError):
        load_runner(tmp_path)
