"""Names for model folders: `town-10m` or `current` instead of a path.

One small JSON file per name under `$LIAOLIAO_HOME/models` (default `~/.liaoliao/models`), replaced
atomically, so two programs can move different names at once and a reader never sees half an entry. `current`
is the name that a server follows; moving it is `register("current", folder)`.

    register("town-10m", Path("runs/7/model"));  resolve("town-10m")  ->  /…/runs/7/model
"""

import difflib
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path

from liaoliao.config import home as home  # the folder of names lies there; callers of names ask for both here
from liaoliao.errors import CheckpointError, UsageError
from liaoliao.model.checkpoint import locate
from liaoliao.text.folder_json import read_json

CURRENT = "current"
_NAME = re.compile(r"\w[\w.-]{0,99}")


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A name and the folder it stands for, which may have been deleted since."""

    name: str
    folder: Path

    @property
    def exists(self) -> bool:
        """Whether the folder is still there."""
        return _is_model(self.folder)


def register(name: str, folder: Path) -> RegisteredModel:
    """Let `name` stand for `folder` from now on. Raises UsageError for a bad name or a folder without a
    model.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} cannot name a model: use letters, digits, '.', '-' and '_' (at most 100)")
    entry = RegisteredModel(name, Path(folder).absolute())
    if not entry.exists:
        raise UsageError(
            f"{folder} is not a model folder (it has no config.json), so {name!r} cannot stand for it"
        )
    path = _entry_path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(json.dumps({"folder": str(entry.folder)}), encoding="utf-8")
    draft.replace(path)
    return entry


def unregister(name: str) -> None:
    """Forget a name; its folder stays. Raises UsageError for a name that is not registered."""
    if not _NAME.fullmatch(name) or not _entry_path(name).is_file():
        raise UsageError(_unknown(name))
    _entry_path(name).unlink()


def list_models() -> tuple[RegisteredModel, ...]:
    """Every registered name, in order of name."""
    paths = sorted((home() / "models").glob("*.json"), key=lambda path: path.stem)
    return tuple(_read(path) for path in paths if not path.name.startswith("."))


def resolve(name_or_path: str | Path) -> Path:
    """The folder meant by a registered name or a path; a name wins over a folder of the same name (`./name`
    is the folder).

    Raises UsageError that names the nearest registered name.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, str) and _NAME.fullmatch(text) and _entry_path(text).is_file():
        entry = _read(_entry_path(text))
        if not entry.exists:
            raise UsageError(
                f"the model {text!r} stood for {entry.folder}, which is no longer there; register it anew"
            )
        return locate(entry.folder)
    try:
        return locate(Path(text).expanduser())
    except (CheckpointError, OSError, RuntimeError) as error:  # too long for a path, or "~" and nobody's name
        raise UsageError(_unknown(text)) from error


def _is_model(folder: Path) -> bool:
    try:
        return (locate(folder) / "config.json").is_file()
    except (CheckpointError, OSError):
        return False


def _entry_path(name: str) -> Path:
    return home() / "models" / f"{name}.json"


def _read(path: Path) -> RegisteredModel:
    folder = read_json(path).get("folder")
    if not isinstance(folder, str):
        raise UsageError(
            f"{path} does not say which folder it stands for; delete it and register the name anew"
        )
    return RegisteredModel(path.stem, Path(folder))


def _unknown(name: str) -> str:
    names = [entry.name for entry in list_models()]
    near = difflib.get_close_matches(name, names, n=1)
    known = (
        f"registered: {', '.join(names)}"
        if names
        else "no model is registered yet; `liaoliao speedrun` makes one"
    )
    return f"no model folder or registered name {name!r}" + (
        f"; did you mean {near[0]}?" if near else f" ({known})"
    )
