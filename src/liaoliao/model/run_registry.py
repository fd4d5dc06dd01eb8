"""Names for the runs of this installation, wherever their folders are.

    register_run(Path("/data/out"))    ->  "out"         RUNS/out.json: {"folder": "/data/out"}
    list_runs()                        ->  (RegisteredRun("out", Path("/data/out")), ...)

A run registers itself when it begins: one small file in `$LIAOLIAO_HOME/run-index`. Folders under `$LIAOLIAO_HOME/runs`
are found without. A name stays with its folder; the second "out" becomes "out-2".
"""

import itertools
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from liaoliao.config import home
from liaoliao.errors import CheckpointError
from liaoliao.text.folder_json import read_json


@dataclass(frozen=True, slots=True)
class RegisteredRun:
    """A name and the run's folder, which holds its `config.json`."""

    name: str
    folder: Path


def register_run(folder: Path) -> str:
    """The name of the run in this folder from now on; the one it has, if it has one."""
    folder = folder.absolute()
    for run in _entries():
        if run.folder == folder:
            return run.name
    _index().mkdir(parents=True, exist_ok=True)
    return next(name for name in _names(folder) if not _elsewhere(name, folder) and _claimed(name, folder))


def unregister_run(folder: Path) -> None:
    """Forget the run in this folder, if it is known."""
    for run in _entries():
        if run.folder == folder.absolute():
            (_index() / f"{run.name}.json").unlink(missing_ok=True)


def list_runs() -> tuple[RegisteredRun, ...]:
    """Every run whose folder is there, in order of name."""
    registered = [run for run in _entries() if is_run(run.folder)]
    names, folders = {run.name for run in registered}, {run.folder for run in registered}
    for folder in sorted((home() / "runs").glob("*")):
        if folder not in folders and is_run(folder):
            name = next(name for name in _names(folder) if name not in names)
            names.add(name)
            registered.append(RegisteredRun(name, folder))
    return tuple(sorted(registered, key=lambda run: run.name))


def find_run(name: str) -> RegisteredRun | None:
    """The run of this name, if there is one."""
    return next((run for run in list_runs() if run.name == name), None)


def is_run(folder: Path) -> bool:
    """Whether a run was begun in this folder."""
    return (folder / "config.json").is_file() and not (folder / "model.safetensors").exists()


def _index() -> Path:
    return home() / "run-index"


def _entries() -> Iterator[RegisteredRun]:
    for path in sorted(_index().glob("*.json")):
        try:
            folder = read_json(path).get("folder")
        except CheckpointError:  # half written at this moment, or by a kill
            continue
        if isinstance(folder, str):
            yield RegisteredRun(path.stem, Path(folder))


def _claimed(name: str, folder: Path) -> bool:
    """Write the entry, unless the name is another run's; two that begin at once get two names."""
    try:
        with (_index() / f"{name}.json").open("x", encoding="utf-8") as file:
            json.dump({"folder": str(folder)}, file)
    except FileExistsError:
        return False
    return True


def _elsewhere(name: str, folder: Path) -> bool:
    """Whether another folder, under `runs`, goes by this name without being registered."""
    own = home() / "runs" / name
    return own != folder and is_run(own)


def _names(folder: Path) -> Iterator[str]:
    """What a run in this folder may be called, the best first."""
    base = re.sub(r"[^\w.-]+", "-", folder.name).lstrip(".-")[:80] or "run"
    yield base
    yield from (f"{base}-{number}" for number in itertools.count(2))
