"""The reference page of the command line, made from the commands themselves.

python -m liaoliao.cli.reference > docs/reference/cli.md
"""

import sys
from collections.abc import Iterator
from typing import Any

from typer.main import get_command

from liaoliao.cli import app


def reference() -> str:
    """The page as Markdown."""
    commands: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    lines = ["# The command line", "", "Made by `python -m liaoliao.cli.reference`.", ""]
    for name, command in commands.items():
        lines += _command(name, command)
    return "\n".join(lines).rstrip() + "\n"


def _command(name: str, command: Any) -> Iterator[str]:
    yield from (f"## liaoliao {name}", "", command.help, "", "| | | default |", "|---|---|---|")
    for parameter in command.params:
        spelled = (
            ", ".join(parameter.opts) if parameter.param_type_name == "option" else parameter.name.upper()
        )
        kind = "" if getattr(parameter, "is_flag", False) else f" {parameter.metavar or ''}"
        cells = (f"`{spelled}{kind.rstrip()}`", parameter.help, _default(parameter))
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
    yield ""


def _default(parameter: Any) -> str:
    told = parameter.show_default
    if isinstance(told, str):
        return told
    value = parameter.default
    return "" if parameter.required or value is None or value is False else str(value)


if __name__ == "__main__":
    sys.stdout.write(reference())
