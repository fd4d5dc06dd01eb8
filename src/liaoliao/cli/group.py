"""How mistakes are told: one sentence on stderr and an exit code, never a traceback.

$ liaoliao eval nosuch
error: no model folder or registered name 'nosuch' (registered: current)
"""

import errno
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import typer
from typer.core import TyperGroup

from liaoliao.errors import LiaoError, UsageError

WRONG, INTERRUPTED = 2, 1


class Group(TyperGroup):
    """The root command."""

    def main(self, args: Sequence[str] | None = None, *rest: Any, **options: Any) -> NoReturn:
        """Run a command and leave with its exit code; no command at all asks for help."""
        words = list(sys.argv[1:] if args is None else args) or ["--help"]
        try:
            code = super().main(words, *rest, **{**options, "standalone_mode": False})
        except typer.TyperException as error:
            _fail(error.format_message())
        except typer.Abort:
            raise SystemExit(INTERRUPTED) from None
        raise SystemExit(code if isinstance(code, int) else 0)

    def invoke(self, ctx: Any) -> Any:
        """Turn what a person can mend into a sentence."""
        try:
            return super().invoke(ctx)
        except LiaoError as error:
            _fail(str(error))
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of a pipe has left: no mistake
                raise
            _fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        except KeyboardInterrupt:
            typer.echo("\ninterrupted", err=True)
            raise SystemExit(INTERRUPTED) from None


def _fail(sentence: str) -> NoReturn:
    typer.echo(f"error: {sentence}", err=True)
    raise SystemExit(WRONG)


def require(condition: object, sentence: str) -> None:
    """Raise UsageError where the flags do not fit together."""
    if not condition:
        raise UsageError(sentence)
