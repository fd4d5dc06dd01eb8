import math
import os
import signal
from pathlib import Path

import pytest

from liaoliao.chat.assistant import load
from liaoliao.errors import ConfigError, DataError, TrainingError, UsageError
from liaoliao.model.checkpoint import load_config, load_lineage
from liaoliao.model.run_state import read_state
from liaoliao.recipes.pretrain import pretrain
from liaoliao.recipes.reporter import Silent
from liaoliao.recipes.tokenizer import train_tokenizer
from liaoliao.train.loop import TrainState
from liaoliao.train.run_dir import RunDir
from tests.recipes.tiny import CutAt, PowerCutError, tiny_pretrain, write_texts


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("texts"))


@pytest.fixture(scope="module")
def whole(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing disturbed."""
    out = tmp_path_factory.mktemp("run") / "whole"
    assert pretrain(tiny_pretrain(texts), out, Silent()) == out / "model"
    return out


def weights(out: Path) -> bytes:
    return (out / "model" / "model.safetensors").read_bytes()


def losses(out: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in RunDir(out).metrics() if "loss" in line}


class InterruptAt(Silent):
    """Ctrl-C after a step."""

    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, stage: str, state: TrainState) -> None:
        if state.step == self.at:
            os.kill(os.getpid(), signal.SIGINT)


def test_the_model_talks_and_says_where_it_comes_from(whole: Path) -> None:
    assistant = load(whole / "model")
    assert assistant.chat("Where is Ada?", max_tokens=4, seed=0).role == "assistant"
    assert load_lineage(whole / "model")["recipe"] == "pretrain"
    assert load_config(whole / "model").max_position_embeddings == 32
    assert "bits_per_byte" in (whole / "report.md").read_text(encoding="utf-8")


def test_interrupted_and_resumed_is_the_same_run_bit_for_bit(
    texts: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "stopped"
    assert pretrain(tiny_pretrain(texts), out, InterruptAt(3)) is None
    assert not (out / "model").exists()
    assert pretrain(tiny_pretrain(texts), out, Silent(), resume=True) == out / "model"
    assert weights(out) == weights(whole)
    assert losses(out)[8] == losses(whole)[8]


def test_killed_with_a_damaged_checkpoint_and_resumed_is_the_same_run_bit_for_bit(
    texts: Path, whole: Path, tmp_path: Path
) -> None:
    out, config = tmp_path / "killed", tiny_pretrain(texts, save_every_s=0.0)
    with pytest.raises(PowerCutError):
        pretrain(config, out, CutAt(6))
    newest = RunDir(out).checkpoints("pretrain")[-1]
    assert newest.name == "0000005"
    (newest / "training.safetensors").write_bytes(b"half")
    reporter = CutAt(-1)
    pretrain(config, out, reporter, resume=True)
    assert any("damaged" in line for line in reporter.lines)
    assert any("from step 4" in line for line in reporter.lines)
    assert weights(out) == weights(whole)


def test_killed_while_the_data_is_made_begins_the_data_anew(texts: Path, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "early"
    RunDir(out).start(tiny_pretrain(texts))
    (out / "data" / "text-en").mkdir(parents=True)
    pretrain(tiny_pretrain(texts), out, Silent(), resume=True)
    assert weights(out) == weights(whole)


def test_a_run_whose_data_cannot_be_read_leaves_its_folder_free(texts: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text(texts.read_text(encoding="utf-8") + '{"text": "half\n', encoding="utf-8")
    with pytest.raises(DataError, match=r"broken\.jsonl, line 61"):
        pretrain(tiny_pretrain(broken), tmp_path / "out", Silent())
    assert pretrain(tiny_pretrain(texts, steps=1), tmp_path / "out", Silent()) is not None


def test_a_tokenizer_of_ones_own_is_used_as_it_is(texts: Path, tmp_path: Path) -> None:
    made = train_tokenizer([texts], 280, tmp_path / "tokenizer")
    out = tmp_path / "out"
    pretrain(tiny_pretrain(texts, tokenizer=made.folder, steps=2), out, Silent())
    assert load_config(out / "model").vocab_size == 280
    assert (out / "model" / "tokenizer.json").read_bytes() == (made.folder / "tokenizer.json").read_bytes()


def test_without_a_length_it_reads_the_data_once(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pretrain(tiny_pretrain(texts, steps=None), out, Silent())
    [last] = [line for line in RunDir(out).metrics() if "loss" in line][-1:]
    seen = load_lineage(out / "checkpoints" / "pretrain" / f"{last['step']:07d}")
    assert seen["step"] == last["step"]
    assert 0.6 < last["tokens"] / (last["step"] * 128) <= 1  # rows are packed, nearly without padding


def test_minutes_are_kept(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert pretrain(tiny_pretrain(texts, steps=None, minutes=0.001), out, Silent()) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"minutes": 1.0},
        {"steps": 0},
        {"steps": None, "minutes": 0.0},
        {"steps": None, "minutes": math.inf},
        {"steps": None, "minutes": math.nan},
        {"tokens_per_step": 100},
        {"tokens_per_step": 0},
        {"tokens_per_microbatch": -64},
        {"row_length": 0},
        {"row_length": 1},
        {"seed": -1},
        {"weights": {"*": -1.0}},
        {"weights": {"*": math.nan}},
        {"weights": {"*": 2.0}, "steps": None},
    ],
)
def test_settings_that_do_not_fit_are_refused_before_any_work(
    changes: dict[str, object], texts: Path
) -> None:
    with pytest.raises(ConfigError):
        tiny_pretrain(texts, **changes)


@pytest.mark.parametrize("name", ["data", "model", "checkpoints"])
def test_a_persons_own_folders_are_left_alone(name: str, texts: Path, tmp_path: Path) -> None:
    precious = tmp_path / name / "precious.txt"
    precious.parent.mkdir()
    precious.write_text("mine", encoding="utf-8")
    with pytest.raises(UsageError, match=f"{name} is there already"):
        pretrain(tiny_pretrain(texts), tmp_path, Silent())
    assert precious.read_text(encoding="utf-8") == "mine"


def test_a_failed_beginning_leaves_no_data_for_the_next_try(texts: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="depth"):
        pretrain(tiny_pretrain(texts, depth=0), tmp_path / "out", Silent())
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_holds_one_run(texts: Path, whole: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="already holds a run"):
        pretrain(tiny_pretrain(texts), whole, Silent())
    with pytest.raises(UsageError, match="no run to resume"):
        pretrain(tiny_pretrain(texts), tmp_path, Silent(), resume=True)


def test_ctrl_c_while_the_data_is_made_says_how_to_go_on(
    texts: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, reporter = tmp_path / "out", CutAt(-1)

    def interrupted(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("liaoliao.recipes.pretrain.file_corpus", interrupted)
        with pytest.raises(KeyboardInterrupt):
            pretrain(tiny_pretrain(texts), out, reporter)
    assert reporter.lines[-1] == f"stopped; go on with: liaoliao pretrain --resume --out {out}"
    state = read_state(out)
    assert state is not None and state.status == "interrupted"
    pretrain(tiny_pretrain(texts), out, Silent(), resume=True)
    assert weights(out) == weights(whole)


def test_damaged_data_is_not_learned_from(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(PowerCutError):
        pretrain(tiny_pretrain(texts), out, CutAt(2))
    tokens = out / "data" / "text-en" / "tokens.bin"
    written = tokens.read_bytes()
    for damaged in (bytes([written[0] ^ 1]) + written[1:], written[1:]):
        tokens.write_bytes(damaged)
        with pytest.raises(DataError, match="data: what this run learns from is damaged"):
            pretrain(tiny_pretrain(texts), out, Silent(), resume=True)
    tokens.write_bytes(written)
    assert pretrain(tiny_pretrain(texts), out, Silent(), resume=True) is not None


def test_a_weight_of_no_file_is_said_before_the_run_has_begun(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(DataError, match=r"no file is called like '\*\.zh\.jsonl'"):
        pretrain(tiny_pretrain(texts, weights={"*.zh.jsonl": 2.0}), out, Silent())
    assert not (out / "config.json").exists()
    assert pretrain(tiny_pretrain(texts, weights={"texts*": 2.0}, steps=1), out, Silent()) is not None
