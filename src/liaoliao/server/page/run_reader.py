"""A run as its folder tells it: state, curves, samples, checkpoints. Whoever trains writes the files, nobody else does.

    read_run(RegisteredRun("town", folder))         ->  RunView(name="town", state="running", step=400, ...)
    read_lines(folder, METRICS_FILE, after=None)    ->  Lines([{"stage": "sft", "step": 10, "loss": 2.1}], "1.2f.1840")
    read_lines(folder, METRICS_FILE, "1.2f.1840")   ->  only what has been written since

Everything here reads a disk, so it is called in threads. A line or a file that is half written at this moment is left
for the next time.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final, TypeAlias

from liaoliao.errors import CheckpointError
from liaoliao.model.checkpoint import LINEAGE_FILE, MANIFEST_FILE
from liaoliao.model.run_registry import RegisteredRun
from liaoliao.model.run_state import RunState, RunStatus, read_state, status_of
from liaoliao.text.folder_json import read_json

Json: TypeAlias = dict[str, Any]
METRICS_FILE: Final = "metrics.jsonl"
SAMPLES_FILE: Final = "samples.jsonl"
RUN_PREFIX: Final = "run:"  # of the id by which a run's newest checkpoint is talked to
MODEL: Final = "model"  # the folder of a finished run's model
_TAIL_BYTES: Final = 1 << 16
_MOST_TRAINING_LINES: Final = 2000
_MOST_SAMPLED_STEPS: Final = 200
_MOST_REPORT_CHARS: Final = 200_000
_FRESH_S: Final = 60.0  # a run that keeps no state is taken to run if it has just written something


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A model that a run has written: its folder, and what to call it ("pretrain/0000400", or "model" at the end)."""

    folder: Path
    label: str


@dataclass(frozen=True, slots=True)
class RunView:
    """A run in a list. Times are Unix seconds; `metrics` is the last logged step, `evaluation` the last measurement by
    the way if it is not long past. `model_id` talks to its newest checkpoint, which `version` names; None while there
    is none.
    """

    name: str
    kind: str
    state: RunStatus
    error: str | None
    folder: str
    started_at: float | None
    updated_at: float | None
    finished_at: float | None
    stage: str | None
    step: int | None
    num_steps: int | None
    metrics: Json | None
    evaluation: Json | None
    model_id: str | None
    version: str | None


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage that has begun. `num_steps` is known of the present one; `checkpoints` are those that are still there."""

    name: str
    step: int | None
    num_steps: int | None
    tokens: int | None
    checkpoints: list[str]


@dataclass(frozen=True, slots=True)
class RunDetails(RunView):
    """A run on its own page. `evals` are what was measured at the end, a file each:
    {"file": "eval.json", "tasks": [{"name", "metric", "value", "stderr", "n"}]}; `report` is Markdown.
    """

    config: Json
    stages: list[Stage]
    evals: list[Json]
    report: str | None


@dataclass(frozen=True, slots=True)
class Lines:
    """Lines of one of a run's files. `reset`: the file is not the one that the cursor is of (a resumed run has taken
    lines back), so these are all there are.
    """

    lines: list[Json]
    cursor: str
    reset: bool = False


def read_run(run: RegisteredRun) -> RunView:
    """How a run is doing."""
    state, found = read_state(run.folder), checkpoints(run.folder)
    last = _tail(run.folder / METRICS_FILE)
    step = next((line for line in reversed(last) if "loss" in line), None)
    measured = next((line for line in reversed(last) if _is_evaluation(line)), None)
    newest = found[0].label if found else None
    told = step or measured or {}
    return RunView(
        name=run.name,
        kind=state.recipe if state else _recipe(found),
        state=status_of(state) if state else _guess(run.folder),
        error=state.error if state else None,
        folder=str(run.folder),
        started_at=state.started_at if state else _changed_at(run.folder / "config.json"),
        updated_at=state.updated_at if state else _changed_at(run.folder / METRICS_FILE),
        finished_at=state.finished_at if state else None,
        stage=state.stage if state and state.stage else (told["stage"] if _has_stage(told) else None),
        step=state.step if state and state.stage else _whole(told.get("step")),
        num_steps=state.num_steps if state and state.stage else None,
        metrics=step,
        evaluation=measured,
        model_id=f"{RUN_PREFIX}{run.name}" if newest else None,
        version=newest,
    )


def read_details(run: RegisteredRun) -> RunDetails:
    """How a run is doing, and what it was told to do, has done and was found to be worth."""
    report = run.folder / "report.md"
    return RunDetails(
        **fields_of(read_run(run)),
        config=_json_or_none(run.folder / "config.json") or {},
        stages=_stages(run.folder),
        evals=read_evals(run.folder),
        report=_text(report) if report.is_file() else None,
    )


def fields_of(view: RunView) -> Json:
    """A view's own values by name, to make a larger one of it."""
    return {field.name: getattr(view, field.name) for field in fields(view)}


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[:_MOST_REPORT_CHARS]


# ---------------------------------------------------------------- checkpoints


def checkpoints(folder: Path) -> list[Checkpoint]:
    """The models of a run, newest first. A draft that is being written has no name yet, so it is not among them; one
    without a manifest is not whole.
    """
    state = read_state(folder)
    stage = state.stage if state else None
    found = sorted(_saved(folder), key=lambda path: _age(path, stage), reverse=True)
    labelled = [Checkpoint(path, f"{path.parent.name}/{path.name}") for path in found]
    final = folder / MODEL
    return [Checkpoint(final, MODEL), *labelled] if (final / MANIFEST_FILE).is_file() else labelled


def _saved(folder: Path) -> Iterator[Path]:
    for path in (folder / "checkpoints").glob("*/[0-9]*"):
        if path.name.isdecimal() and (path / MANIFEST_FILE).is_file():
            yield path


def _age(path: Path, stage: str | None) -> tuple[bool, float, int]:
    """Sorts checkpoints: the present stage's are the newest, by their steps; among earlier stages dates decide."""
    present = path.parent.name == stage
    return present, 0.0 if present else _changed_at(path / MANIFEST_FILE) or 0.0, int(path.name)


# ---------------------------------------------------------------- lines


def read_lines(folder: Path, name: str, after: str | None) -> Lines:
    """The lines of a run's file from a cursor on, or all. They are thinned where they are more than anyone can look at."""
    state = read_state(folder)
    attempt = state.attempt if state else 0
    try:
        with (folder / name).open("rb") as file:
            place = f"{attempt}.{os.fstat(file.fileno()).st_ino:x}"
            start = _offset(after, place, os.fstat(file.fileno()).st_size)
            file.seek(start or 0)
            data = file.read()
    except FileNotFoundError:
        place, start, data = f"{attempt}.0", _offset(after, f"{attempt}.0", 0), b""
    whole = data[: data.rfind(b"\n") + 1]
    lines = _thinned(_parsed(whole), name)
    return Lines(lines, f"{place}.{(start or 0) + len(whole)}", reset=after is not None and start is None)


def end_of_lines(folder: Path, name: str) -> str:
    """The cursor behind everything that is there."""
    return read_lines(folder, name, None).cursor


def _offset(after: str | None, place: str, size: int) -> int | None:
    """Where in the file a cursor points; None if it is of another file, or none."""
    before, _, offset = (after or "").rpartition(".")
    if before != place or not (offset.isascii() and offset.isdecimal() and len(offset) < 16):
        return None
    return int(offset) if int(offset) <= size else None


def _parsed(data: bytes) -> list[Json]:
    lines = []
    for line in data.split(b"\n"):
        try:
            value = json.loads(line, parse_constant=lambda name: None) if line else None
        except ValueError:  # cut off by a kill
            continue
        if isinstance(value, dict):
            lines.append(value)
    return lines


def _thinned(lines: list[Json], name: str) -> list[Json]:
    return thin_samples(lines) if name == SAMPLES_FILE else thin_metrics(lines)


def thin_metrics(lines: list[Json], most: int = _MOST_TRAINING_LINES) -> list[Json]:
    """About `most` training lines, evenly; all evaluations, and the last step of each stage, stay."""
    every = -(-sum("loss" in line for line in lines) // most)
    if every <= 1:
        return lines
    last = set({line.get("stage"): i for i, line in enumerate(lines) if "loss" in line}.values())
    kept, count = [], 0
    for i, line in enumerate(lines):
        count += "loss" in line
        if "loss" not in line or i in last or count % every == 1:
            kept.append(line)
    return kept


def thin_samples(lines: list[Json], most: int = _MOST_SAMPLED_STEPS) -> list[Json]:
    """The samples of about `most` steps, evenly, the first and the last among them."""
    steps = list(dict.fromkeys((line.get("stage"), line.get("step")) for line in lines))
    if len(steps) <= most:
        return lines
    kept = {steps[round(i * (len(steps) - 1) / (most - 1))] for i in range(most)}
    return [line for line in lines if (line.get("stage"), line.get("step")) in kept]


def _tail(path: Path) -> list[Json]:
    """The last lines of a file."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_BYTES))
            data = file.read()
    except FileNotFoundError:
        return []
    if size > _TAIL_BYTES:
        data = data[data.find(b"\n") + 1 :]
    return _parsed(data[: data.rfind(b"\n") + 1])


def _is_evaluation(line: Mapping[str, Any]) -> bool:
    return any(key.startswith("bits_per_byte:") for key in line)


# ---------------------------------------------------------------- the rest of the folder


def read_evals(folder: Path) -> list[Json]:
    """What was measured at the end; see RunDetails."""
    found = []
    for path in sorted(folder.glob("eval*.json")):
        tasks = (_json_or_none(path) or {}).get("tasks")
        if isinstance(tasks, dict):
            rows = [{"name": name, **row} for name, row in tasks.items() if isinstance(row, dict)]
            found.append({"file": path.name, "tasks": rows})
    return found


def _stages(folder: Path) -> list[Stage]:
    """Every stage that has begun, in order."""
    state, saved = read_state(folder), checkpoints(folder)
    last = {line["stage"]: line for line in read_lines(folder, METRICS_FILE, None).lines if _has_stage(line)}
    present = state.stage if state is not None and state.stage else None
    names = [*last, *([present] if present and present not in last else [])]
    return [_stage(name, last.get(name, {}), state if name == present else None, saved) for name in names]


def _stage(name: str, last: Json, state: RunState | None, saved: Sequence[Checkpoint]) -> Stage:
    """`last` is its last logged line; `state` is the run's, where this stage is the present one."""
    there = [one.folder.name for one in saved if one.folder.parent.name == name]
    return Stage(
        name,
        step=state.step if state else _whole(last.get("step")),
        num_steps=state.num_steps if state else None,
        tokens=_whole(last.get("tokens")),
        checkpoints=sorted(there),
    )


def _has_stage(line: Json) -> bool:
    return isinstance(line.get("stage"), str)


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) else None


def _recipe(found: Sequence[Checkpoint]) -> str:
    """What made a run that keeps no state."""
    recipe = (_json_or_none(found[0].folder / LINEAGE_FILE) or {}).get("recipe") if found else None
    return recipe if isinstance(recipe, str) else "unknown"


def _guess(folder: Path) -> RunStatus:
    """How a run is that keeps no state."""
    if (folder / MODEL / MANIFEST_FILE).is_file():
        return "finished"
    changed = _changed_at(folder / METRICS_FILE) or _changed_at(folder / "config.json") or 0.0
    return "running" if time.time() - changed < _FRESH_S else "interrupted"


def _changed_at(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _json_or_none(path: Path) -> Json | None:
    """A JSON object; None for a file that is not there, or is being written."""
    try:
        return read_json(path)
    except CheckpointError:
        return None
