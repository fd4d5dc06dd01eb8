"""A speedrun keeps to its minutes, however often it was stopped, and tells of its model before it measures it."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from liaoliao.errors import ConfigError, DataError
from liaoliao.model.checkpoint import verify
from liaoliao.model.run_state import read_state
from liaoliao.recipes import speedrun as recipe
from liaoliao.recipes.reporter import Silent
from liaoliao.recipes.speedrun import SpeedrunConfig, speedrun
from liaoliao.tasks.task import TaskResult
from liaoliao.train.run_clock import TIME_FILE
from liaoliao.train.run_dir import RunDir
from tests.recipes.tiny import CutAt, PowerCutError, write_chats, write_texts


@pytest.fixture
def config(tmp_path: Path) -> SpeedrunConfig:
    """A second on a few texts and talks."""
    return SpeedrunConfig(
        minutes=1 / 60,
        data=(str(write_texts(tmp_path)), str(write_chats(tmp_path))),
        depth=1,
        vocab_size=300,
        row_length=64,
        tokens_per_step=128,
        dtype="fp32",
        sample_share=0.0,
    )


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluation has tests of its own."""
    monkeypatch.setattr(
        recipe, "_evaluate", lambda *args: [TaskResult("held-out:en", "bits_per_byte", 2.0, 0.1, 1)]
    )


def last_steps(out: Path) -> dict[str, int]:
    return {line["stage"]: line["step"] for line in RunDir(out).metrics() if "loss" in line}


@pytest.mark.usefixtures("unmeasured")
def test_a_resumed_run_counts_the_minutes_of_all_its_processes(
    config: SpeedrunConfig, tmp_path: Path
) -> None:
    """Of one whose time is over by far, each stage takes the few steps in which it sees that."""
    out = tmp_path / "out"
    with pytest.raises(PowerCutError):
        speedrun(config, out, CutAt(3))
    kept = json.loads((out / TIME_FILE).read_text(encoding="utf-8"))
    assert 0 < kept["marks"]["training"] <= kept["spent_s"]
    (out / TIME_FILE).write_text(json.dumps({**kept, "spent_s": 3600.0}), encoding="utf-8")
    assert speedrun(config, out, Silent(), resume=True).model == out / "model"
    assert max(last_steps(out).values()) <= 5
    report = (out / "report.md").read_text(encoding="utf-8").splitlines()
    [told] = [line for line in report if "minutes in all" in line]
    assert 60.0 <= float(told.split()[1]) < 62.0


@pytest.mark.usefixtures("unmeasured")
def test_a_resumed_run_trains_for_what_is_left(config: SpeedrunConfig, tmp_path: Path) -> None:
    """Of twenty minutes nearly all are gone; only the rest is spent."""
    config = replace(config, minutes=20.0)
    out = tmp_path / "out"
    with pytest.raises(PowerCutError):
        speedrun(config, out, CutAt(3))
    spent_s = 60 * 20 * (1 - recipe.EVAL_SHARE) - 3.0
    marks = {"training": spent_s - 1.0}
    (out / TIME_FILE).write_text(json.dumps({"spent_s": spent_s, "marks": marks}), encoding="utf-8")
    speedrun(config, out, Silent(), resume=True)
    after = json.loads((out / TIME_FILE).read_text(encoding="utf-8"))
    assert spent_s < after["spent_s"] < spent_s + 60.0


def test_a_model_is_told_of_before_it_is_measured(
    config: SpeedrunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, reporter, told = tmp_path / "out", CutAt(-1), list[Path]()

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(recipe, "_evaluate", interrupted)
        with pytest.raises(KeyboardInterrupt):
            speedrun(config, out, reporter, on_model=told.append)
    assert told == [out / "model"]
    verify(out / "model")
    assert reporter.lines[-1] == f"stopped; go on with: liaoliao speedrun --resume --out {out}"
    state = read_state(out)
    assert state is not None and state.status == "interrupted"


@pytest.mark.parametrize(
    "changes",
    [
        {"minutes": 0.0},
        {"minutes": -1.0},
        {"minutes": math.inf},
        {"minutes": math.nan},
        {"seed": -1},
        {"row_length": 0},
        {"tokens_per_step": 0},
        {"row_length": 500},
        {"sft_share": 1.5},
        {"sft_share": math.nan},
        {"weights": {"*": 2.0}},
        {"weights": {"*": -2.0}, "data": ("my-texts",)},
    ],
)
def test_wrong_settings_are_refused_before_any_work(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        SpeedrunConfig(**changes)  # type: ignore[arg-type]


def test_a_weight_of_no_file_is_said_before_the_run_has_begun(config: SpeedrunConfig, tmp_path: Path) -> None:
    weighed = replace(config, weights={"*.zh.jsonl": 2.0})
    with pytest.raises(DataError, match=r"no file is called like '\*\.zh\.jsonl'; there are chats, texts"):
        speedrun(weighed, tmp_path / "out", Silent())
    assert list((tmp_path / "out").iterdir()) == []
