"""The flags that several commands share, and how flags become the settings of a recipe.

    settings(SpeedrunConfig, {"minutes": 5.0, "depth": None}, ["optim.matrix_lr=.01"])

A flag that is not given is None and leaves the recipe's own default alone; the defaults stand in one place.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import typer

from liaoliao.cli.group import require
from liaoliao.config import apply_overrides
from liaoliao.errors import UsageError

C = TypeVar("C")

Out: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="The run's folder: settings, log, checkpoints, report, and the model in DIR/model.",
        metavar="DIR",
        show_default="a new one under LIAOLIAO_HOME/runs",
    ),
]
Resume: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--resume",
        help="Go on with the run in --out from its newest intact checkpoint, with its own settings.",
    ),
]
Seed: TypeAlias = Annotated[
    int | None, typer.Option(help="Draws the data and the first weights.", show_default="0")
]
Sets: TypeAlias = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change any setting of the run, such as optim.matrix_lr=0.01; repeatable. "
        "config.json in a run's folder lists them.",
    ),
]
Steps: TypeAlias = Annotated[
    int | None, typer.Option(help="Length of the run in optimizer steps.", show_default="by the data")
]
Minutes: TypeAlias = Annotated[
    float | None,
    typer.Option(
        help="Length of the run in minutes of training, instead of steps.", show_default="by the data"
    ),
]
RowLength: TypeAlias = Annotated[
    int | None,
    typer.Option(help="Tokens of a training row: the longest context that is learned.", show_default="512"),
]
Dtype: TypeAlias = Annotated[
    Literal["auto", "fp32", "bf16", "int8", "int4"],
    typer.Option(
        help="The numbers the model is run in: fewer bits are faster on a CPU. auto: bf16 where this machine has a fast "
        "path for the model's shape, else fp32.",
    ),
]


def settings(config: C, given: Mapping[str, Any], overrides: Sequence[str] | None) -> C:
    """The recipe's settings with the flags that were given and every --set, checked together."""
    return apply_overrides(config, overrides or (), chosen(given))


def chosen(given: Mapping[str, Any]) -> dict[str, Any]:
    """The flags that were given."""
    return {name: value for name, value in given.items() if value is not None}


def only_resume(out: Path | None, **others: Any) -> Path:
    """The folder to resume in. Raises UsageError for flags that a resumed run would have to ignore."""
    flags = {name: name if name.isupper() else f"--{name.replace('_', '-')}" for name in others}
    given = [flags[name] for name, value in others.items() if value not in (None, [], ())]
    require(not given, f"--resume goes on with the run's own settings; leave out {', '.join(given)}")
    if out is None:
        raise UsageError("--resume needs --out DIR, the folder of the run to go on with")
    return out


def new_folder(command: str) -> Path:
    """Where a run goes that was given no folder."""
    from liaoliao.model.registry import home

    return home() / "runs" / f"{datetime.now().astimezone():%Y-%m-%d-%H%M%S}-{command}"


def name_for(folder: Path) -> str:
    """A folder's name as the name of a model."""
    return re.sub(r"[^\w.-]+", "-", folder.absolute().name).lstrip(".-") or "model"
