"""The folder of a run: what was asked for, what happened, and where to go on.

    RUN/config.json            the resolved recipe
    RUN/metrics.jsonl          one line a logged step, one an evaluation
    RUN/checkpoints/000400/    a whole model (talk to it!) with `training.json` and `training.safetensors` beside it

A resumed run continues bit for bit: weights and optimizer state are kept in fp32, the source's place is part of the
checkpoint. Of a damaged newest checkpoint the one before it is used, and the user is told.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from liaoliao.config import save_json
from liaoliao.errors import CheckpointError, DataError, TrainingError
from liaoliao.model.checkpoint import SavesTemplate, SavesTokenizer, save_checkpoint, verify
from liaoliao.model.convert import load_weights
from liaoliao.train.loop import TrainState

STATE_FILE, TENSORS_FILE = "training.json", "training.safetensors"


class RunDir:
    """Reads and writes one run's folder. `fresh=True` refuses a folder that already holds a run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, config: Any) -> None:
        """Begin a new run here: the folder must not hold one already."""
        if (self.folder / "config.json").exists():
            raise TrainingError(
                f"{self.folder} already holds a run; go on with it (--resume) or name another folder (--out)"
            )
        self.folder.mkdir(parents=True, exist_ok=True)
        save_json(config, self.folder / "config.json")

    def log(self, **values: Any) -> None:
        """Append one line to metrics.jsonl."""
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(values, ensure_ascii=False) + "\n")

    def metrics(self) -> Iterator[dict[str, Any]]:
        """The logged lines; a line cut off by a kill is left out."""
        path = self.folder / "metrics.jsonl"
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue

    def forget_metrics_after(self, stage: str, step: int) -> None:
        """Drop the lines of steps that a resumed run is about to repeat."""
        kept = [line for line in self.metrics() if line.get("stage") != stage or line.get("step", 0) <= step]
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept)
        draft = self.folder / "metrics.jsonl.draft"
        draft.write_text(text, encoding="utf-8")
        draft.replace(self.folder / "metrics.jsonl")

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
        keep: int = 2,
    ) -> Path:
        """Write the state of a run as a checkpoint, and drop all but the newest `keep`."""
        folder = self.folder / "checkpoints" / stage / f"{state.step:07d}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        save_checkpoint(
            folder,
            state.model,
            tokenizer,
            template,
            lineage=lineage,
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
            self.forget_metrics_after(stage, state.step)
            return True
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
