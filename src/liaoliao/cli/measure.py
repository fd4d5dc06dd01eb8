"""The commands that look: eval and models."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from liaoliao.cli.group import require
from liaoliao.cli.options import Dtype

if TYPE_CHECKING:
    from liaoliao.tasks.task import Task

QUESTIONS = 500


def evaluate(
    model: Annotated[str, typer.Argument(help="A model folder or a registered name.")],
    tasks: Annotated[
        list[str] | None,
        typer.Option(
            help="Tasks, with commas or repeated: town:facts:en, town:reading (both languages), town (all), "
            "choice:FILE (multiple choice).",
            metavar="NAME,...",
            show_default="town, unless there is a --text",
        ),
    ] = None,
    text: Annotated[
        Path | None,
        typer.Option(help="Measure bits per byte of this file of texts or conversations.", metavar="FILE"),
    ] = None,
    lang: Annotated[
        str | None, typer.Option(help="The language of --text: en or zh.", metavar="en|zh")
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            help="At most so many questions of each task, or documents of --text.",
            min=1,
            show_default=f"{QUESTIONS} questions, all documents",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws the questions.", min=0)] = 0,
    json_file: Annotated[
        Path | None,
        typer.Option("--json", help="Write the results to this file as JSON, too.", metavar="FILE"),
    ] = None,
    dtype: Dtype = "auto",
) -> None:
    """Measure a model: questions with exact graders, multiple choice, bits per byte of any text."""
    from liaoliao.chat.assistant import load
    from liaoliao.cli.progress import Progressing, results_console
    from liaoliao.tasks import report
    from liaoliao.train.machine import prepare_machine

    chosen = _tasks(tasks, text, lang)
    require(
        json_file is None or json_file.parent.is_dir(), f"{json_file}: there is no such folder to write into"
    )
    prepare_machine()
    with Progressing() as progress:
        assistant = load(model, dtype=dtype, on_progress=progress.say)
        results = []
        for task in chosen:
            most = QUESTIONS if limit is None and not task.name.startswith("text:") else limit
            bar = lambda done, total, name=task.name: progress.show(name, done, total)  # noqa: E731
            results.append(task.evaluate(assistant, limit=most, seed=seed, progress=bar))
            progress.say(report.line(results[-1]))
    if json_file is not None:
        report.write_eval(results, json_file)
    results_console().print(report.table(results))


def _tasks(names: list[str] | None, text: Path | None, lang: str | None) -> "list[Task]":
    from liaoliao.tasks.bits_per_byte import BitsPerByte
    from liaoliao.tasks.registry import get_tasks

    if text is None:
        require(lang is None, "--lang speaks of the file of --text, and there is none")
        return get_tasks(_names(names or ["town"]))
    require(lang is not None, f"say which language {text} is in: --lang en or --lang zh")
    require(text.is_file(), f"{text}: no such file")
    return [BitsPerByte(text, str(lang)), *get_tasks(_names(names or []))]


def _names(values: list[str]) -> list[str]:
    return [name for value in values for name in map(str.strip, value.split(",")) if name]


def models(
    add: Annotated[
        tuple[str, Path] | None,
        typer.Option(help="Let NAME stand for the model in FOLDER.", metavar="NAME FOLDER"),
    ] = None,
    remove: Annotated[str | None, typer.Option(help="Forget NAME; its folder stays.", metavar="NAME")] = None,
) -> None:
    """List the registered models; give a folder a name, or take one back."""
    from liaoliao.model.registry import list_models, register, unregister

    if add is not None:
        register(*add)
    if remove is not None:
        unregister(remove)
    known = list_models()
    if not known:
        typer.echo("no model is registered yet; `liaoliao speedrun` makes one")
    width = max((len(model.name) for model in known), default=0)
    for model in known:
        typer.echo(f"{model.name:<{width}}  {model.folder}{'' if model.exists else '  (no longer there)'}")
