"""What every recipe does before its first step and after its last one.

config = begin(run_dir, "sft", config, resume=False)  # writes RUN/config.json, or on resuming reads it
with ending_told(run_dir, "sft", reporter):           # RUN/state.json will say how it ended
    with free_if_failed(run_dir, resume=False):       # a run whose data cannot be read has not begun
        corpus = ...
    ...
    finish(run_dir, model, corpus, lineage, title="pretrain", story=[...], reporter=reporter)
"""

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from liaoliao.config import load_json
from liaoliao.engine.engine import Engine
from liaoliao.errors import LiaoError, UsageError
from liaoliao.model.checkpoint import save_checkpoint
from liaoliao.model.config import ModelConfig
from liaoliao.model.run_state import read_state, status_of
from liaoliao.model.transformer import Transformer
from liaoliao.recipes.corpus import Corpus
from liaoliao.recipes.held_out import held_out_results
from liaoliao.recipes.reporter import Reporter
from liaoliao.recipes.stage import SAMPLING, StageConfig, StageResult
from liaoliao.tasks import report as tables
from liaoliao.tasks.task import TaskResult
from liaoliao.train.report import write_report
from liaoliao.train.run_dir import RunDir

C = TypeVar("C")
WRITTEN = ("model", "checkpoints", "data")


def begin(run_dir: RunDir, recipe: str, config: C, *, resume: bool) -> C:
    """The settings that count: written down for a new run; on resuming those that the run began with.

    From now on the run says that it is alive. Raises UsageError where another process is carrying it out.
    """
    if resume:
        config = saved_config(type(config), run_dir.folder)
        _refuse_running(run_dir.folder)
    else:
        _refuse_foreign(run_dir.folder)
        run_dir.start(config)
    run_dir.tell_begin(recipe)
    return config


@contextmanager
def ending_told(run_dir: RunDir, recipe: str, reporter: Reporter) -> Iterator[None]:
    """However the run ends in here, its folder says so; what ends well has finished, unless it was told to have stopped.

    Ctrl-C outside of training, or a second one, ends it at once: the reporter hears how to go on.
    """
    try:
        yield
        run_dir.tell_end("finished")
    except KeyboardInterrupt:
        reporter.say(f"stopped; {_go_on(recipe, run_dir)}")
        raise
    except Exception as error:
        run_dir.tell_end("failed", f"{type(error).__name__}: {error}"[:1000])
        raise
    finally:
        run_dir.tell_end("interrupted")  # by Ctrl-C; after another end it says nothing


def _refuse_running(folder: Path) -> None:
    """Two processes in one folder would write over each other's checkpoints."""
    state = read_state(folder)
    if state is not None and status_of(state) == "running" and state.pid != os.getpid():
        raise UsageError(
            f"{folder}: process {state.pid} on {state.host} is carrying this run out; stop it first (Ctrl-C)"
        )


def _refuse_foreign(folder: Path) -> None:
    """A person's own folders of these names are not to be written into, let alone replaced."""
    for name in WRITTEN if not (folder / "config.json").exists() else ():
        if (folder / name).exists():
            raise UsageError(f"{folder / name} is there already; give the run a folder of its own (--out)")


def saved_config(kind: type[C], folder: Path) -> C:
    """The settings of the run in a folder. Raises UsageError where there is no run."""
    path = folder / "config.json"
    if not path.exists():
        raise UsageError(f"{folder} holds no run to resume; start one without --resume")
    return load_json(kind, path)


@contextmanager
def free_if_failed(run_dir: RunDir, *, resume: bool) -> Iterator[None]:
    """A new run that fails in here, making its data, has not begun: its folder is left free for the next try."""
    try:
        yield
    except LiaoError:
        if not resume:
            (run_dir.folder / "config.json").unlink(missing_ok=True)
            shutil.rmtree(
                run_dir.folder / "data", ignore_errors=True
            )  # `begin` has seen that it was not there
        raise


def model_shape(corpus: Corpus, depth: int, row_length: int) -> ModelConfig:
    """The model of that depth for the corpus's vocabulary; its context is as long as the rows it learns from."""
    shape = ModelConfig.from_depth(depth, corpus.tokenizer.vocab_size, max_position_embeddings=row_length)
    tokenizer, stops = corpus.tokenizer, corpus.template.stop_ids
    return replace(
        shape, bos_token_id=tokenizer.end_of_text_id, eos_token_id=stops, pad_token_id=tokenizer.pad_id
    )


def announce(stage: StageConfig, reporter: Reporter) -> None:
    """Say what a stage learns from."""
    streams = ", ".join(f"{name} {share:.0%}" for name, share in stage.streams.items() if share)
    reporter.say(f"{stage.name}: {streams}")


def say_stopped(recipe: str, result: StageResult, run_dir: RunDir, reporter: Reporter) -> None:
    """How to go on with a run that a person has stopped."""
    run_dir.tell_end("interrupted")
    reporter.say(f"stopped at step {result.state.step}; {_go_on(recipe, run_dir)}")


def _go_on(recipe: str, run_dir: RunDir) -> str:
    return f"go on with: liaoliao {recipe} --resume --out {run_dir.folder}"


def finish(
    run_dir: RunDir,
    model: Transformer,
    corpus: Corpus,
    lineage: Mapping[str, Any],
    *,
    title: str,
    story: Sequence[str],
    reporter: Reporter,
    generation: Mapping[str, Any] = SAMPLING,
) -> Sequence[TaskResult]:
    """Write `model`, `eval.json` with the bits per byte of the texts kept back, and `report.md`."""
    out = run_dir.folder
    save_checkpoint(
        out / "model", model, corpus.tokenizer, corpus.template, lineage=lineage, generation=generation
    )
    reporter.say("evaluating on the texts kept back")
    began = time.monotonic()
    results = held_out_results(Engine(model.eval(), max_running=1), corpus)
    tables.write_eval(results, out / "eval.json")
    write_report(
        run_dir,
        title=title,
        lines=[*story, f"evaluated in {time.monotonic() - began:.0f} s"],
        table=tables.markdown(results),
    )
    reporter.say(f"report: {out / 'report.md'}   model: {out / 'model'}")
    return results
