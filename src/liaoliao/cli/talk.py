"""The chat command: a conversation in the terminal, or one reply to a prompt."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from liaoliao.cli.options import Dtype


def chat(
    model: Annotated[
        str | None,
        typer.Argument(
            help="A model folder or a registered name.",
            show_default="current; where there is none it is trained first",
        ),
    ] = None,
    prompt: Annotated[
        str | None,
        typer.Option(help="Answer this on stdout and leave, instead of a conversation.", metavar="TEXT"),
    ] = None,
    system: Annotated[
        str | None, typer.Option(help="A system message to begin with.", metavar="TEXT")
    ] = None,
    temperature: Annotated[
        float | None,
        typer.Option(
            help="0 takes the likeliest token; 1 samples as the model was trained.",
            show_default="the model's",
        ),
    ] = None,
    top_p: Annotated[
        float | None,
        typer.Option(
            help="Sample from the likeliest tokens that together have this mass.", show_default="the model's"
        ),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(help="Sample from so many tokens at most; 0: all.", show_default="the model's"),
    ] = None,
    min_p: Annotated[
        float | None,
        typer.Option(
            help="Leave out tokens less likely than this share of the likeliest.", show_default="the model's"
        ),
    ] = None,
    repetition_penalty: Annotated[
        float | None,
        typer.Option(
            help="Above 1: tokens that were there already become less likely.", show_default="the model's"
        ),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(help="Tokens of a reply at most.", show_default="until the context is full")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="The same seed and words, the same replies.", show_default="a new one")
    ] = None,
    dtype: Dtype = "auto",
) -> None:
    """Talk to a model.

    Where no MODEL is named and none has been trained yet, the default speedrun (10 minutes, the town) comes first.
    In a conversation /help tells more; Ctrl-C stops an answer, Ctrl-D leaves.
    """
    sampling = {
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "max_tokens": max_tokens,
        "seed": seed,
    }
    from liaoliao.chat.assistant import load
    from liaoliao.cli.terminal import TerminalChat
    from liaoliao.engine.request import SamplingParams
    from liaoliao.train.machine import prepare_machine

    chosen = {name: value for name, value in sampling.items() if value is not None}
    SamplingParams(**chosen)  # type: ignore[arg-type]  # a bad value is told before anything is done
    model = model or trained_first()
    prepare_machine()
    assistant = load(model, dtype=dtype, max_running=1, on_progress=lambda line: typer.echo(line, err=True))
    talk = TerminalChat(assistant, system=system, sampling=chosen)
    if prompt is not None:
        talk.answer_once(prompt)
    else:
        talk.run(model)


def trained_first() -> str:
    """The name "current", which stands for a model afterwards: if there is none, it is trained now, and a training that was
    interrupted is gone on with.
    """
    from liaoliao.model.registry import CURRENT, list_models

    if not any(entry.name == CURRENT and entry.exists for entry in list_models()):
        from liaoliao.cli.train import run_speedrun

        if (begun := _interrupted()) is not None:
            typer.echo(f"There is no model yet, so I go on with its training in {begun}.", err=True)
            run_speedrun(begun, resume=True, aside=True)
        else:
            typer.echo(
                "There is no model yet, so I train one first: 10 minutes on the town, and then we talk.",
                err=True,
            )
            run_speedrun(aside=True)
    return CURRENT


def _interrupted() -> Path | None:
    """The folder of the newest default speedrun that did not come to its end, by Ctrl-C or because it was killed."""
    from liaoliao.errors import LiaoError
    from liaoliao.model.run_registry import list_runs
    from liaoliao.model.run_state import read_state, status_of
    from liaoliao.recipes.run import saved_config
    from liaoliao.recipes.speedrun import SpeedrunConfig

    found: list[tuple[float, Path]] = []
    for run in list_runs():
        state = read_state(run.folder)
        if state is None or state.recipe != "speedrun" or status_of(state) != "interrupted":
            continue
        with suppress(LiaoError):  # settings of another version
            if saved_config(SpeedrunConfig, run.folder) == SpeedrunConfig():
                found.append((state.updated_at, run.folder))
    return max(found)[1] if found else None
