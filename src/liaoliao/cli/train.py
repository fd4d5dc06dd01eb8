"""The commands that make models: speedrun, pretrain, sft, tokenizer."""

import math
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from liaoliao.cli.group import require
from liaoliao.cli.options import (
    Minutes,
    Out,
    Resume,
    RowLength,
    Seed,
    Sets,
    Steps,
    chosen,
    name_for,
    new_folder,
    only_resume,
    settings,
)

Data = Annotated[
    list[str] | None,
    typer.Option(
        help="A file or folder to learn from: .jsonl, .json, .parquet or .txt, plain, .zst or .gz; repeatable.",
        metavar="PATH",
    ),
]


def speedrun(
    minutes: Annotated[
        float | None,
        typer.Option(help="Time for everything: data, tokenizer, training, evaluation.", show_default="10"),
    ] = None,
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="'town', the world that comes with this program, or your files and folders; repeatable.",
            metavar="town|PATH",
            show_default="town",
        ),
    ] = None,
    out: Out = None,
    seed: Seed = None,
    depth: Annotated[
        int | None,
        typer.Option(help="Layers of the model; its width follows.", show_default="what fits the minutes"),
    ] = None,
    resume: Resume = False,
    overrides: Sets = None,
) -> None:
    """From nothing to a model you can talk to, within a time budget.

    Tokenizer, pretraining, fine-tuning, evaluation and a report, one after the other. The model is registered as
    "current" and under the name of its folder.
    """
    run_speedrun(
        out,
        {"minutes": minutes, "data": tuple(data) if data else None, "seed": seed, "depth": depth},
        overrides,
        resume,
    )


def run_speedrun(
    out: Path | None = None,
    given: dict[str, object] | None = None,
    overrides: list[str] | None = None,
    resume: bool = False,
    *,
    aside: bool = False,
) -> None:
    """The speedrun command as a function. `aside` keeps stdout free, as `chat` wants it for the reply."""
    from liaoliao.cli.progress import Progressing, results_console
    from liaoliao.recipes import speedrun as recipe
    from liaoliao.recipes.run import saved_config
    from liaoliao.tasks.report import table

    given = given or {}
    if resume:
        out = only_resume(out, **given, set=overrides)
        config = saved_config(recipe.SpeedrunConfig, out)
    else:
        config = settings(recipe.SpeedrunConfig(), given, overrides)
    out = out or new_folder("speedrun")
    with Progressing() as reporter:
        result = recipe.speedrun(config, out, reporter, resume=resume, on_model=partial(_name_early, out=out))
    if result.model is None:
        raise typer.Exit(1)
    results_console(aside).print(table(result.results))
    _register(result.model, out, current=True, aside=aside)


def pretrain(
    data: Data = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="Folder with a tokenizer.json to use.", metavar="DIR", show_default="train one"),
    ] = None,
    vocab_size: Annotated[
        int | None, typer.Option(help="Tokens of a tokenizer that is trained.", show_default="8192")
    ] = None,
    depth: Annotated[
        int | None, typer.Option(help="Layers of the model; its width follows.", show_default="4")
    ] = None,
    steps: Steps = None,
    minutes: Minutes = None,
    row_length: RowLength = None,
    out: Out = None,
    seed: Seed = None,
    resume: Resume = False,
    overrides: Sets = None,
) -> None:
    """Train a base model on your own text (and talk), from nothing.

    Without --steps and --minutes it reads the data once.
    """
    from liaoliao.cli.progress import Progressing
    from liaoliao.recipes import pretrain as recipe
    from liaoliao.recipes.run import saved_config

    given = {
        "tokenizer": tokenizer,
        "vocab_size": vocab_size,
        "depth": depth,
        "steps": steps,
        "minutes": minutes,
        "row_length": row_length,
        "seed": seed,
    }
    if resume:
        out = only_resume(out, data=data, **given, set=overrides)
        config = saved_config(recipe.PretrainConfig, out)
    else:
        config = settings(recipe.PretrainConfig(_required(data)), given, overrides)
    out = out or new_folder("pretrain")
    with Progressing() as reporter:
        model = recipe.pretrain(config, out, reporter, resume=resume)
    _register(model, out)


def sft(
    model: Annotated[
        str | None,
        typer.Argument(
            help="The model to start from: a folder or a registered name.", show_default="current"
        ),
    ] = None,
    data: Data = None,
    epochs: Annotated[
        float | None,
        typer.Option(
            help="Length of the run in passes over the data.",
            show_default="2, unless another length is given",
        ),
    ] = None,
    steps: Steps = None,
    minutes: Minutes = None,
    row_length: Annotated[
        int | None,
        typer.Option(
            help="Tokens of a training row; longer conversations are learned from in several.",
            show_default="512, or 1024 for another's model; at most its context",
        ),
    ] = None,
    out: Out = None,
    seed: Seed = None,
    resume: Resume = False,
    overrides: Sets = None,
) -> None:
    """Fine-tune a model on conversations: yours, or any Qwen3, Qwen2.5 or Llama-3 folder.

    Reads OpenAI messages, ShareGPT and Alpaca records. Without --steps, --minutes and --epochs it reads them twice.
    """
    from liaoliao.cli.progress import Progressing
    from liaoliao.recipes import sft as recipe
    from liaoliao.recipes.run import saved_config

    given = {"epochs": epochs, "steps": steps, "minutes": minutes, "row_length": row_length, "seed": seed}
    if resume:
        out = only_resume(out, MODEL=model, data=data, **given, set=overrides)
        config = saved_config(recipe.SftConfig, out)
    else:
        suited = recipe.sft_config(model or "current", _required(data), **chosen(given))
        config = settings(suited, {}, overrides)
    out = out or new_folder("sft")
    with Progressing() as reporter:
        tuned = recipe.sft(config, out, reporter, resume=resume)
    _register(tuned, out)


def tokenizer(
    files: Annotated[
        list[str], typer.Argument(help="Files and folders of text and talk to learn from.", metavar="PATH...")
    ],
    vocab_size: Annotated[
        int, typer.Option(help="How many tokens to learn, bytes and special tokens included.")
    ] = 8192,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for tokenizer.json.",
            metavar="DIR",
            show_default="a new one under LIAOLIAO_HOME/runs",
        ),
    ] = None,
    limit_mb: Annotated[float, typer.Option(help="Learn from a sample of so many megabytes.")] = 50.0,
    seed: Annotated[int, typer.Option(help="Draws the sample.", min=0)] = 0,
) -> None:
    """Train a byte-level BPE tokenizer and say how many bytes a token holds in each language."""
    from liaoliao.cli.progress import Progressing
    from liaoliao.recipes.tokenizer import train_tokenizer

    require(0 < limit_mb < math.inf, f"--limit-mb must be a number above 0, not {limit_mb:g}")
    out = out or new_folder("tokenizer")
    with Progressing() as reporter:
        result = train_tokenizer(
            files, vocab_size, out, limit_bytes=int(1e6 * limit_mb), seed=seed, say=reporter.say
        )
    for lang, bytes_per_token in result.bytes_per_token.items():
        typer.echo(f"{lang}: {bytes_per_token:.2f} bytes per token")
    typer.echo(f"{result.tokenizer.vocab_size} tokens in {out}")


def _required(data: list[str] | None) -> tuple[str, ...]:
    if not data:
        raise typer.BadParameter("name at least one file or folder to learn from", param_hint="--data")
    return tuple(data)


def _register(model: Path | None, out: Path, *, current: bool = False, aside: bool = False) -> None:
    """Give the model of a finished run its names and tell them; a run that was stopped leaves with exit code 1."""
    if model is None:
        raise typer.Exit(1)
    names = _name(model, out, current=current)
    how = f"liaoliao chat {'' if current else names[0]}".rstrip()
    typer.echo(f"registered as {' and '.join(names)}; talk to it: {how}", err=aside)


def _name_early(model: Path, *, out: Path) -> None:
    """Before it is evaluated: whoever has no patience for that has the model all the same."""
    with suppress(OSError):  # at the end it is tried again, and told
        _name(model, out, current=True)


def _name(model: Path, out: Path, *, current: bool) -> list[str]:
    from liaoliao.model.registry import CURRENT, register

    names = [name_for(out), *([CURRENT] if current else [])]
    for name in names:
        register(name, model)
    return names
