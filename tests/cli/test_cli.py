"""The command line from a person's side: what works, and what is said when it does not."""

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import Result

from liaoliao.cli import app
from liaoliao.cli.options import name_for
from liaoliao.config import save_json
from liaoliao.model.checkpoint import verify
from liaoliao.model.run_state import new_state, write_state
from liaoliao.recipes.speedrun import SpeedrunConfig
from liaoliao.train.run_dir import RunDir
from tests.cli.tiny_run import liaoliao, speedrun
from tests.recipes.tiny import write_chats, write_texts


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def run(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny speedrun."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    result = speedrun(out, home)
    assert result.exit_code == 0, result.output
    return out


def refused(result: Result, *words: str) -> None:
    """One sentence on stderr, exit code 2, no traceback."""
    assert result.exit_code == 2, result.output
    [line] = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert line == result.stderr.splitlines()[-1]
    assert "Traceback" not in result.output
    for word in words:
        assert word in line


# What works


def test_a_speedrun_leaves_a_model_a_report_and_names(run: Path, home: Path) -> None:
    verify(run / "model")
    assert (run / "report.md").is_file()
    assert "town:facts:en" in json.loads((run / "eval.json").read_text(encoding="utf-8"))["tasks"]
    listed = liaoliao("models", home=home).stdout
    assert listed.splitlines() == [f"current  {run}/model", f"tiny     {run}/model"]


def test_a_prompt_is_answered_on_stdout(run: Path) -> None:
    asked = ["chat", run / "model", "--prompt", "你好, who are you?", "--max-tokens", 12, "--seed", 3]
    first, second = liaoliao(*asked), liaoliao(*asked)
    assert first.exit_code == 0, first.output
    assert first.stdout == second.stdout
    assert first.stdout.strip()


def test_chat_without_a_model_takes_the_current_one(run: Path, home: Path) -> None:
    result = liaoliao("chat", "--prompt", "hi", "--max-tokens", 3, home=home)
    assert result.exit_code == 0, result.output


def test_chat_without_any_model_trains_one_first(
    monkeypatch: pytest.MonkeyPatch, run: Path, home: Path
) -> None:
    from liaoliao.cli import train
    from liaoliao.model.registry import register

    monkeypatch.setattr(train, "run_speedrun", lambda *, aside: register("current", run / "model"))
    result = liaoliao("chat", "--prompt", "hi", "--max-tokens", 3)
    assert "There is no model yet" in result.stderr
    assert result.exit_code == 0, result.output


def test_chat_goes_on_with_a_training_that_was_interrupted(
    monkeypatch: pytest.MonkeyPatch, run: Path, tmp_path: Path
) -> None:
    """The newest of those that a `chat` has begun; not one of other settings, nor one that has failed or goes on."""
    from liaoliao.cli import train
    from liaoliao.model.registry import register

    newest = begun(tmp_path / "runs" / "newest", "interrupted", updated_at=3.0)
    begun(tmp_path / "runs" / "older", "interrupted", updated_at=2.0)
    begun(tmp_path / "runs" / "failed", "failed", updated_at=4.0)
    begun(tmp_path / "runs" / "other", "interrupted", updated_at=5.0, minutes=2.0)
    begun(tmp_path / "runs" / "alive", "running", updated_at=6.0)
    gone_on: list[Path] = []

    def run_speedrun(out: Path, *, resume: bool, aside: bool) -> None:
        gone_on.append(out)
        assert resume and aside
        register("current", run / "model")

    monkeypatch.setattr(train, "run_speedrun", run_speedrun)
    monkeypatch.setenv("LIAOLIAO_HOME", str(tmp_path))
    result = liaoliao("chat", "--prompt", "hi", "--max-tokens", 3, home=tmp_path)
    assert result.exit_code == 0, result.output
    assert gone_on == [newest]
    assert f"go on with its training in {newest}" in result.stderr


def begun(folder: Path, status: Any, *, updated_at: float, **settings: Any) -> Path:
    """The folder of a speedrun as it was left."""
    folder.mkdir(parents=True)
    save_json(SpeedrunConfig(**settings), folder / "config.json")
    write_state(folder, replace(new_state("speedrun", None), status=status, updated_at=updated_at))
    return folder


def test_eval_writes_json(run: Path, tmp_path: Path) -> None:
    text, file = write_texts(tmp_path), tmp_path / "eval.json"
    tasks = ["--tasks", "town:facts:en,town:arithmetic:zh", "--tasks", "town:unanswerable:en"]
    result = liaoliao(
        "eval", run / "model", *tasks, "--limit", 2, "--text", text, "--lang", "zh", "--json", file
    )
    assert result.exit_code == 0, result.output
    written = json.loads(file.read_text(encoding="utf-8"))["tasks"]
    names = {"text:zh", "town:facts:en", "town:arithmetic:zh", "town:unanswerable:en"}
    assert written.keys() == names
    assert all(result.keys() == {"metric", "value", "stderr", "n"} for result in written.values())
    assert written["text:zh"]["metric"] == "bits_per_byte"
    assert written["town:facts:en"]["n"] == 2
    assert "town:facts:en" in result.stdout


def test_a_text_alone_is_measured_alone(run: Path, tmp_path: Path) -> None:
    result = liaoliao("eval", run / "model", "--text", write_texts(tmp_path), "--lang", "en")
    assert result.exit_code == 0, result.output
    assert "town:" not in result.output
    assert "bits_per_byte" in result.stdout


def test_from_own_files_to_a_tuned_model(tmp_path: Path) -> None:
    texts, chats, home = write_texts(tmp_path), write_chats(tmp_path), tmp_path / "home"
    made = liaoliao("tokenizer", texts, chats, "--vocab-size", 300, "--out", tmp_path / "tok", home=home)
    assert "en: " in made.stdout
    assert "zh: " in made.stdout
    sizes = ["--depth", 1, "--steps", 3, "--row-length", 64, "--set", "tokens_per_step=128"]
    base = liaoliao(
        "pretrain",
        "--data",
        texts,
        "--tokenizer",
        tmp_path / "tok",
        *sizes,
        "--out",
        tmp_path / "my base",
        home=home,
    )
    assert base.exit_code == 0, base.output
    assert "registered as my-base" in base.stdout
    tuned = liaoliao("sft", "my-base", "--data", chats, "--steps", 2, "--out", tmp_path / "tuned", home=home)
    assert tuned.exit_code == 0, tuned.output
    listed = liaoliao("models", home=home).stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["my-base", "tuned"]


def test_a_stopped_run_says_how_to_go_on(tmp_path: Path) -> None:
    out, flags = tmp_path / "out", ["--depth", 1, "--row-length", 64, "--set", "tokens_per_step=128"]
    script = (
        "import os, signal\n"
        "from liaoliao.cli import main, progress\n"
        "step = progress.Progressing.step\n"
        "def stop(self, stage, state):\n"
        "    step(self, stage, state)\n"
        "    state.step == 3 and os.kill(os.getpid(), signal.SIGINT)\n"
        "progress.Progressing.step = stop\n"
        "main()\n"
    )
    args = ["pretrain", "--data", write_texts(tmp_path), "--steps", 6, "--out", out, *flags]
    stopped = subprocess.run(
        [sys.executable, "-c", script, *map(str, args)], capture_output=True, text=True, encoding="utf-8"
    )
    assert stopped.returncode == 1, stopped.stderr
    assert f"liaoliao pretrain --resume --out {out}" in stopped.stderr
    resumed = liaoliao("pretrain", "--resume", "--out", out)
    assert resumed.exit_code == 0, resumed.output
    assert [line["step"] for line in RunDir(out).metrics() if "loss" in line][-1] == 6


def test_a_speedrun_that_is_stopped_while_it_is_measured_has_named_its_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from liaoliao.recipes import speedrun as recipe

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(recipe, "_evaluate", interrupted)
    out, home = tmp_path / "out", tmp_path / "home"
    sets = ["vocab_size=300", "row_length=64", "tokens_per_step=128"]
    flags = ["--minutes", 0.02, "--depth", 1, *(f"--set={text}" for text in sets), "--out", out]
    stopped = liaoliao("speedrun", "--data", write_texts(tmp_path), *flags, home=home)
    assert stopped.exit_code == 1, stopped.output
    assert f"go on with: liaoliao speedrun --resume --out {out}" in stopped.stderr
    listed = liaoliao("models", home=home).stdout.splitlines()
    assert [line.split()[0] for line in listed] == ["current", "out"]


def test_models_are_named_and_forgotten(run: Path) -> None:
    assert liaoliao("models", "--add", "mine", run / "model").stdout == f"mine  {run}/model\n"
    assert "no model is registered yet" in liaoliao("models", "--remove", "mine").stdout


def test_help_is_there_at_once() -> None:
    began = time.process_time()
    times = []
    for _ in range(2):
        before = time.monotonic()
        shown = subprocess.run(
            [sys.executable, "-m", "liaoliao", "--help"], capture_output=True, text=True, encoding="utf-8"
        )
        times.append(time.monotonic() - before)
        assert shown.returncode == 0
        assert "speedrun" in shown.stdout
    assert time.process_time() - began < 5
    check = "import sys, liaoliao.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0, "help must not wait for torch"


@pytest.mark.skipif(sys.platform != "linux", reason="PyTorch's threads are those of libgomp on Linux")
@pytest.mark.parametrize(
    ("said", "spins"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "77"}, "77"), ({"OMP_WAIT_POLICY": "passive"}, "0")],
)
def test_threads_of_training_wait_briefly_unless_told_otherwise(said: dict[str, str], spins: str) -> None:
    """What libgomp says that it understood."""
    program = "from liaoliao import cli; cli.app = lambda prog_name: __import__('torch'); cli.main()"
    ours = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**environment, **said, "OMP_DISPLAY_ENV": "verbose"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"GOMP_SPINCOUNT = '{spins}'" in done.stderr


# What does not


def test_an_unknown_model(tmp_path: Path) -> None:
    refused(liaoliao("eval", "nosuch"), "nosuch", "liaoliao speedrun")
    refused(liaoliao("chat", tmp_path / "nosuch", "--prompt", "hi"), "nosuch")
    refused(liaoliao("chat", tmp_path, "--prompt", "hi"), str(tmp_path), "config.json")
    refused(liaoliao("models", "--add", "x", tmp_path), "config.json")
    refused(liaoliao("models", "--remove", "x"), "x")


def test_an_unknown_task(run: Path) -> None:
    refused(liaoliao("eval", run / "model", "--tasks", "town:fact:en"), "did you mean town:facts:en?")
    refused(liaoliao("eval", run / "model", "--tasks", "choice:nosuch.jsonl"), "nosuch.jsonl")


@pytest.mark.parametrize(
    "args",
    [
        ["speedrun", "--minuts", "3"],
        ["speedrun", "--minutes", "three"],
        ["speedrun", "--minutes", "0"],
        ["speedrun", "--minutes", "-1"],
        ["speedrun", "--minutes", "inf"],
        ["speedrun", "--minutes", "nan"],
        ["speedrun", "--seed", "-1"],
        ["speedrun", "--set", "row_length=0"],
        ["speedrun", "--set", "tokens_per_step=0"],
        ["speedrun", "--set", 'weights={"*.jsonl": 2}'],
        ["speedrun", "--set", "weights=3"],
        ["speedrun", "--set", "optim.lrr=1"],
        ["speedrun", "--set", "depth"],
        ["speedrun", "--data", "town", "--data", "x.txt"],
        ["speedrun", "--resume"],
        ["chat", "--temperature", "-1"],
        ["chat", "--top-p", "2", "--prompt", "hi"],
        ["pretrain"],
        ["pretrain", "--steps", "3", "--minutes", "3", "--data", "x.txt"],
        ["pretrain", "--steps", "0", "--data", "x.txt"],
        ["pretrain", "--minutes", "nan", "--data", "x.txt"],
        ["pretrain", "--row-length", "0", "--data", "x.txt"],
        ["pretrain", "--row-length", "768", "--data", "x.txt"],
        ["pretrain", "--seed", "-1", "--data", "x.txt"],
        ["pretrain", "--set", "tokens_per_step=0", "--data", "x.txt"],
        ["pretrain", "--set", "optim.matrix_lr=nan", "--data", "x.txt"],
        ["sft", "--data", "x.txt"],
        ["eval"],
        ["eval", "m", "--lang", "en"],
        ["eval", "m", "--text", "nosuch.txt", "--lang", "en"],
        ["eval", "m", "--text", __file__],
        ["eval", "m", "--text", __file__, "--lang", "fr"],
        ["eval", "m", "--json", "nosuch/dir/eval.json"],
        ["models", "--add", "a b", "."],
        ["tokenizer"],
        ["tokenizer", "nosuch.txt"],
        ["tokenizer", __file__, "--seed", "-1"],
        ["tokenizer", __file__, "--limit-mb", "nan"],
        ["nosuch"],
    ],
    ids=" ".join,
)
def test_a_wrong_flag_or_file_is_one_sentence(args: list[str], _own_home: Path) -> None:
    refused(liaoliao(*args))
    assert not (_own_home / "runs").exists()


def test_a_missing_file_and_a_broken_line(tmp_path: Path, run: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text('{"text": "fine"}\n{"text": "bro\n', encoding="utf-8")
    out = ["--out", tmp_path / "out"]
    for command in (["speedrun"], ["pretrain"], ["sft", run / "model"]):
        refused(liaoliao(*command, "--data", tmp_path / "nosuch.jsonl", *out), "nosuch.jsonl: no such file")
        refused(liaoliao(*command, "--data", broken, *out), "broken.jsonl, line 2")
        assert not (tmp_path / "out" / "config.json").exists()
    refused(liaoliao("tokenizer", broken, *out), "broken.jsonl, line 2")
    refused(liaoliao("eval", run / "model", "--text", broken, "--lang", "en"), "broken.jsonl, line 2")


def test_a_resumed_run_takes_no_other_settings(tmp_path: Path) -> None:
    refused(liaoliao("speedrun", "--resume", "--out", tmp_path, "--depth", 3), "leave out --depth")
    refused(liaoliao("pretrain", "--resume", "--out", tmp_path), "no run to resume")
    refused(liaoliao("sft", "m", "--resume", "--out", tmp_path), "leave out MODEL")


def test_a_folder_with_a_run_is_not_overwritten(run: Path, home: Path) -> None:
    refused(speedrun(run, home), "already holds a run")


def test_a_damaged_model_is_refused(run: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(run / "model", tmp_path / "model")
    with (tmp_path / "model" / "model.safetensors").open("r+b") as file:
        file.seek(-4, 2)
        file.write(b"\xff\xff\xff\x7f")
    refused(liaoliao("chat", tmp_path / "model", "--prompt", "hi"), "model.safetensors", "damaged")


# The flags themselves


def commands() -> list[tuple[str, object]]:
    return sorted(get_command(app).commands.items())  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "command"), commands(), ids=[name for name, _ in commands()])
def test_every_command_flag_and_argument_is_explained(name: str, command: object) -> None:
    assert command.help, name  # type: ignore[attr-defined]
    for parameter in command.params:  # type: ignore[attr-defined]
        assert parameter.help, f"{name}: {parameter.opts} has no help text"
        assert len(parameter.help) > 10


def test_the_defaults_that_help_tells_are_those_of_the_recipes() -> None:
    from liaoliao.recipes.pretrain import PretrainConfig
    from liaoliao.recipes.sft import SftConfig
    from liaoliao.recipes.speedrun import SpeedrunConfig

    kinds = {"speedrun": SpeedrunConfig(), "pretrain": PretrainConfig(("x",)), "sft": SftConfig("m", ("x",))}
    checked = 0
    for name, command in commands():
        for parameter in command.params if name in kinds else ():  # type: ignore[attr-defined]
            told = getattr(parameter, "show_default", None)
            if isinstance(told, str) and told.isdigit():
                assert float(told) == float(getattr(kinds[name], parameter.name)), (name, parameter.name)
                checked += 1
    assert checked >= 7


def test_flags_and_settings_are_checked_together() -> None:
    from liaoliao.cli.options import settings
    from liaoliao.recipes.pretrain import PretrainConfig

    given = {"row_length": 768, "depth": None}
    config = settings(PretrainConfig(("x",)), given, ["tokens_per_step=7680", "optim.matrix_lr=0.01"])
    assert (config.row_length, config.tokens_per_step, config.depth) == (768, 7680, 4)
    assert config.optim.matrix_lr == 0.01
    weighed = settings(PretrainConfig(("x",)), {"steps": 3}, ['weights={"*.zh.jsonl": 2}'])
    assert weighed.weights == {"*.zh.jsonl": 2.0}


def test_a_folders_name_becomes_a_models_name() -> None:
    assert name_for(Path("/runs/my run (2)")) == "my-run-2-"
    assert name_for(Path("/runs/小镇")) == "小镇"
    assert name_for(Path("/")) == "model"
