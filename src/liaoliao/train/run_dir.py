"""The folder of a run: what was asked for, what happened, and where to go on.

    RUN/config.json            the resolved recipe
    RUN/state.json             whether it is alive, and how far (model/run_state.py)
    RUN/time.json              the seconds it has taken, all its processes together (run_clock.py)
    RUN/metrics.jsonl          one line a logged step, one an evaluation
    RUN/samples.jsonl          what the model says to the same few prompts, from time to time
    RUN/checkpoints/000400/    a whole model (talk to it!) with `training.json` and `training.safetensors` beside it

A resumed run continues bit for bit: weights and optimizer state are kept in fp32, the source's place is part of the
checkpoint. Of a damaged newest checkpoint the one before it is used, and the user is told.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from liaoliao.config import save_json
from liaoliao.errors import CheckpointError, DataError, TrainingError
from liaoliao.model.checkpoint import SavesTemplate, SavesTokenizer, save_checkpoint, verify
from liaoliao.model.convert import load_weights
from liaoliao.model.run_registry import register_run, unregister_run
from liaoliao.model.run_state import STATE_FILE as RUN_STATE_FILE
from liaoliao.model.run_state import RunState, new_state, read_state, write_state
from liaoliao.train.loop import TrainState
from liaoliao.train.run_clock import RunClock

STATE_FILE, TENSORS_FILE = "training.json", "training.safetensors"
METRICS_FILE, SAMPLES_FILE = "metrics.jsonl", "samples.jsonl"
BEAT_S = 2.0  # how often a run says how far it is


class RunDir:
    """Reads and writes one run's folder; `start` refuses one that already holds a run. `clock` is its time, in all."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, RunClock(folder)
        self._state: RunState | None = None  # of the run that this object is carrying out
        self._told = 0.0

    def start(self, config: Any) -> None:
        """Begin a new run here: the folder must not hold one already."""
        if (self.folder / "config.json").exists():
            raise TrainingError(
                f"{self.folder} already holds a run; go on with it (--resume) or name another folder (--out)"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        self.clock.forget()
        save_json(config, self.folder / "config.json")

    # ------------------------------------------------------------ how it is going

    def tell_begin(self, recipe: str) -> None:
        """Say that this process carries the run out from now on, and make it known to this user's liaoliao."""
        self._state = new_state(recipe, read_state(self.folder))
        write_state(self.folder, self._state)
        self.clock.start()
        with suppress(OSError):  # a home that cannot be written to costs the run its place in a list, no more
            register_run(self.folder)

    def tell_step(self, stage: str, step: int, num_steps: int, *, at_once: bool = False) -> None:
        """Say how far it is: every two seconds or so, or `at_once`."""
        if self._state is None or (time.monotonic() - self._told < BEAT_S and not at_once):
            return
        self._told = time.monotonic()
        self._state = replace(
            self._state, stage=stage, step=step, num_steps=num_steps, updated_at=time.time()
        )
        self.clock.save()
        with suppress(OSError):  # if the disk is full the next checkpoint will say so
            write_state(self.folder, self._state)

    def tell_end(
        self, status: Literal["finished", "interrupted", "failed"], error: str | None = None
    ) -> None:
        """Say how it ended, once. A run that failed before it began (its folder was left free) is forgotten."""
        if self._state is None:
            return
        state, self._state = self._state, None
        if not (self.folder / "config.json").exists():
            (self.folder / RUN_STATE_FILE).unlink(missing_ok=True)
            self.clock.forget()
            unregister_run(self.folder)
            return
        now = time.time()
        self.clock.save()
        with suppress(OSError):
            write_state(
                self.folder, replace(state, status=status, error=error, updated_at=now, finished_at=now)
            )

    def log(self, **values: Any) -> None:
        """Append one line to metrics.jsonl."""
        self._append(METRICS_FILE, values)

    def log_sample(self, **values: Any) -> None:
        """Append one line to samples.jsonl."""
        self._append(SAMPLES_FILE, values)

    def metrics(self) -> Iterator[dict[str, Any]]:
        """The logged lines; a line cut off by a kill is left out."""
        return self._lines(METRICS_FILE)

    def samples(self) -> Iterator[dict[str, Any]]:
        """The samples, oldest first; a line cut off by a kill is left out."""
        return self._lines(SAMPLES_FILE)

    def forget_after(self, stage: str, step: int) -> None:
        """Drop the lines of steps that a resumed run is about to repeat."""
        for name in (METRICS_FILE, SAMPLES_FILE):
            if not (self.folder / name).exists():
                continue
            lines = self._lines(name)
            kept = [line for line in lines if line.get("stage") != stage or line.get("step", 0) <= step]
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept)
            draft = self.folder / f"{name}.draft"
            draft.write_text(text, encoding="utf-8")
            draft.replace(self.folder / name)

    def _append(self, name: str, values: Mapping[str, Any]) -> None:
        with (self.folder / name).open("a", encoding="utf-8") as file:
            file.write(json.dumps(values, ensure_ascii=False) + "\n")

    def _lines(self, name: str) -> Iterator[dict[str, Any]]:
        path = self.folder / name
        text = path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""
        for line in text.split("\n"):  # what people write may hold other line ends
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue

    # ------------------------------------------------------------ checkpoints

    def checkpoints(self, stage: str) -> list[Path]:
        """Training checkpoints of a stage, oldest first."""
        return sorted(path for path in (self.folder / "checkpoints" / stage).glob("[0-9]*") if path.is_dir())

    def save(
        self,
        stage: str,
        state: TrainState,
        tokenizer: SavesTokenizer,
        template: SavesTemplate,
        lineage: Mapping[str, Any],
        *,
        generation: Mapping[str, Any] | None = None,
        keep: int = 2,
    ) -> Path:
        """Write the state of a run as a checkpoint, and drop all but the newest `keep`.

        `generation` are sampling defaults, for whoever talks to it.
        """
        folder = self.folder / "checkpoints" / stage / f"{state.step:07d}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(
            folder,
            state.model,
            tokenizer,
            template,
            lineage=lineage,
            generation=generation,
            attach=lambda draft: _write(draft, state),
        )
        for old in self.checkpoints(stage)[:-keep]:
            shutil.rmtree(old)
        return folder

    def resume(self, stage: str, state: TrainState, warn: Callable[[str], None]) -> bool:
        """Bring `state` to the newest intact checkpoint of the stage; False if there is none."""
        for folder in reversed(self.checkpoints(stage)):
            try:
                _read(verify(folder), state)
            except CheckpointError as error:
                warn(f"{error}; trying the checkpoint before it")
                continue
            self.forget_after(stage, state.step)
            return True
        self.forget_after(stage, 0)
        return False


def _write(folder: Path, state: TrainState) -> None:
    record = {
        "step": state.step,
        "num_steps": state.num_steps,
        "num_tokens": state.num_tokens,
        "elapsed_s": state.elapsed_s,
        "source": state.source.state_dict(),
        "torch": torch.__version__,
        "num_threads": torch.get_num_threads(),
    }
    (folder / STATE_FILE).write_text(json.dumps(record), encoding="utf-8")
    save_file({name: t.contiguous() for name, t in state.optimizers.tensors().items()}, folder / TENSORS_FILE)


def _read(folder: Path, state: TrainState) -> None:
    try:
        record = json.loads((folder / STATE_FILE).read_text(encoding="utf-8"))
        tensors = load_file(folder / TENSORS_FILE)
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{folder} is not a training checkpoint: {error}") from error
    load_weights(state.model, folder)
    state.optimizers.load_tensors(tensors)
    try:
        state.source.load_state_dict(record["source"])
    except DataError as error:
        raise TrainingError(str(error)) from error
    state.step, state.num_steps = record["step"], record["num_steps"]
    state.num_tokens, state.elapsed_s = record["num_tokens"], record["elapsed_s"]
