"""The command line: every command is a thin shell around a recipe, a task or an assistant.

    liaoliao chat                       talk; where there is no model yet, train one first
    liaoliao speedrun --minutes 10      from nothing to a model
    liaoliao --help

What a command needs is imported when it runs, so that help and mistakes are answered at once. An error of the
`LiaoError` tree, a wrong flag or a missing file is one sentence on stderr and exit code 2; Ctrl-C is exit code 1.
"""

import os
from typing import Annotated

import typer

from liaoliao.cli import accounts, export, keys, measure, talk, train
from liaoliao.cli import serve as server
from liaoliao.cli.group import Group

app = typer.Typer(
    name="liaoliao",
    cls=Group,
    add_completion=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="聊聊: your own ChatGPT from nothing. Train it, talk to it, measure it.",
)


def _show_version(wanted: bool) -> bool:
    if wanted:
        import liaoliao

        typer.echo(liaoliao.__version__)
        raise typer.Exit
    return wanted


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and leave.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """The program itself: `_show_version` has done all that can be asked of it."""


app.command()(talk.chat)
app.command()(train.speedrun)
app.command()(train.pretrain)
app.command()(train.sft)
app.command()(train.tokenizer)
app.command("eval")(measure.evaluate)
app.command()(measure.models)
app.command()(export.export)
app.command()(server.serve)
app.command()(keys.keys)
app.command()(accounts.accounts)


# How often a thread of PyTorch's looks whether the others have come, before it sleeps. libgomp's own number is 30 times
# this: where another program has one of the cores, training would then wait for most of the time (LOG.md).
_SPINS = "10000"


def _wait_briefly() -> None:
    """Unless the person has said how OpenMP is to wait. It is asked once, when PyTorch is loaded."""
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)


def main() -> None:
    """The entry point of the `liaoliao` script."""
    _wait_briefly()
    app(prog_name="liaoliao")
