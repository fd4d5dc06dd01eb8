"""Where a model comes from: data and settings, the model it was made of, and that one's, back to the first.

    ancestry(Path("runs/mine/model"))  ->  [Ancestor(recipe="sft", run="mine", ...), Ancestor(recipe="speedrun", ...)]

A checkpoint's `lineage.json` names its parent by folder and by a digest of its weights; both are looked at, since
anything may lie in that folder today. Nothing large is read: the digests of files are in the manifests.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from liaoliao.errors import CheckpointError
from liaoliao.model.checkpoint import LINEAGE_FILE, MANIFEST_FILE, locate
from liaoliao.model.run_registry import list_runs
from liaoliao.server.page.run_reader import MODEL, read_evals
from liaoliao.text.folder_json import read_json

_MOST: Final = 50  # generations; a circle of folders that name each other is no ancestry
_TRAINING: Final = "training.safetensors"  # the optimizer's, beside the weights of a checkpoint

Standing = Literal["ok", "missing", "changed", "unverified"]


@dataclass(frozen=True, slots=True)
class Ancestor:
    """One model of an ancestry. `data` are digests of its streams of data, `sha256` is of its weights.

    `status`: "missing" where the folder is gone; "changed" where it holds other weights than those the child was made
    of; "unverified" where there is no manifest to tell.
    """

    folder: str | None
    run: str | None
    recipe: str | None
    stage: str | None
    step: int | None
    config: dict[str, Any] | None
    data: dict[str, str]
    sha256: str | None
    tools: list[str]
    evals: list[dict[str, Any]]
    status: Standing


def ancestry(folder: Path, *, private: bool = False) -> list[Ancestor]:
    """The model in a folder, its parent, its parent's parent, as far as they are known.

    `private` leaves out what tells of the machine: folders and settings (which name files).
    """
    found: list[Ancestor] = []
    place: Path | None = folder
    expected: str | None = None
    while place is not None and len(found) < _MOST:
        made = _read(place, LINEAGE_FILE)
        found.append(_ancestor(place, made, expected))
        place, expected = _parent(made)
    return [replace(one, folder=None, config=None) for one in found] if private else found


def _ancestor(folder: Path, made: Mapping[str, Any], expected: str | None) -> Ancestor:
    there = _located(folder)
    sha256 = _weights_digest(folder) if there else expected
    return Ancestor(
        folder=str(folder),
        run=_run_of(folder),
        recipe=_text(made.get("recipe")),
        stage=_text(made.get("stage")),
        step=made["step"] if isinstance(made.get("step"), int) else None,
        config=made["config"] if isinstance(made.get("config"), dict) else None,
        data=_texts(made.get("data")),
        sha256=sha256,
        tools=_names(made.get("tools")),
        evals=_evals(folder) if there else [],
        status=_standing(there, sha256, expected),
    )


def _standing(there: bool, sha256: str | None, expected: str | None) -> Standing:
    if not there:
        return "missing"
    if sha256 is None:
        return "unverified"
    return "ok" if expected in (None, sha256) else "changed"


def _parent(made: Mapping[str, Any]) -> tuple[Path | None, str | None]:
    parent = made.get("parent")
    if not isinstance(parent, dict) or not isinstance(parent.get("folder"), str):
        return None, None
    return Path(parent["folder"]), _text(parent.get("sha256"))


def _weights_digest(folder: Path) -> str | None:
    """sha256 over the digests of the weight files in order of name, as a lineage names a parent; from the manifest."""
    files = _read(folder, MANIFEST_FILE).get("files")
    if not isinstance(files, dict):
        return None
    whole = hashlib.sha256()
    for name in sorted(name for name in files if name.endswith(".safetensors") and name != _TRAINING):
        try:
            whole.update(bytes.fromhex(files[name]["sha256"]))
        except (KeyError, TypeError, ValueError):
            return None
    return whole.hexdigest()


def _evals(folder: Path) -> list[dict[str, Any]]:
    """A run measures its model and writes the figures beside it."""
    return read_evals(folder) + (read_evals(folder.parent) if folder.name == MODEL else [])


def _run_of(folder: Path) -> str | None:
    """The run that a model lies in."""
    inside = [run for run in list_runs() if folder.absolute().is_relative_to(run.folder)]
    return max(inside, key=lambda run: len(run.folder.parts)).name if inside else None


def _located(folder: Path) -> bool:
    try:
        return (locate(folder) / "config.json").is_file()
    except CheckpointError:
        return False


def _read(folder: Path, name: str) -> dict[str, Any]:
    """A JSON file of a model's folder; {} where there is none."""
    try:
        return read_json(locate(folder) / name)
    except CheckpointError:
        return {}


def _names(value: object) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _texts(value: object) -> dict[str, str]:
    return (
        {name: text for name, text in value.items() if isinstance(text, str)}
        if isinstance(value, dict)
        else {}
    )
