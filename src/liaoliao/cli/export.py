"""The export command: a model for other programs."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from liaoliao.errors import UsageError


def export(
    model: Annotated[str, typer.Argument(help="A model folder or a registered name.")],
    to: Annotated[
        Literal["gguf", "hf"],
        typer.Option(
            help="gguf: one file for llama.cpp and Ollama, with a Modelfile. hf: a folder for transformers and vLLM.",
            metavar="gguf|hf",
        ),
    ],
    dtype: Annotated[
        Literal["f32", "bf16", "q8_0"] | None,
        typer.Option(
            help="Precision of the weights; q8_0 is for gguf only.",
            metavar="f32|bf16|q8_0",
            show_default="gguf: bf16, hf: as stored",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="The file or folder to write.", metavar="PATH", show_default="NAME-DTYPE.gguf, NAME-hf"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there under that name.")] = False,
) -> None:
    """Write a model in a form that other programs load."""
    from liaoliao.model.registry import resolve

    folder, name = resolve(model), _name(model)
    if to == "gguf":
        _to_gguf(folder, name, dtype or "bf16", out, force)
    elif dtype == "q8_0":
        raise UsageError("--dtype q8_0 is of GGUF files; --to hf takes f32 or bf16")
    else:
        _to_hf(folder, name, dtype, out, force)


def _to_gguf(
    folder: Path, name: str, dtype: Literal["f32", "bf16", "q8_0"], out: Path | None, force: bool
) -> None:
    try:
        from liaoliao.model.gguf import export_gguf
    except ModuleNotFoundError as error:
        if error.name != "gguf":
            raise
        raise UsageError("--to gguf needs one more package: pip install 'liaoliao[gguf]'") from error
    out = out or Path(f"{name}-{dtype}.gguf")
    written = export_gguf(folder, out, name=name, dtype=dtype, overwrite=force)
    for note in written.notes:
        typer.echo(f"note: {note}", err=True)
    typer.echo(f"{written.path}  {_megabytes(written.size_bytes)}")
    typer.echo(f"{written.modelfile}")


def _to_hf(
    folder: Path, name: str, dtype: Literal["f32", "bf16"] | None, out: Path | None, force: bool
) -> None:
    from liaoliao.model.hf_folder import export_folder

    out = out or Path(f"{name}-hf")
    size_bytes = export_folder(folder, out, dtype=dtype, overwrite=force)
    typer.echo(f"{out}  {_megabytes(size_bytes)}")


def _name(model: str) -> str:
    """A registered name as it is; of a folder its own name, or its parent's where it is just called "model"."""
    from liaoliao.cli.options import name_for

    folder = Path(model).absolute()
    return name_for(folder.parent if folder.name == "model" else folder)


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:,.1f} MB"
