"""The keys of a server's API: make, list and revoke them.

$ liaoliao keys new anna > anna.key
$ liaoliao keys list
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from liaoliao.cli.group import require

if TYPE_CHECKING:
    from liaoliao.server.settings import ApiKey

RequestsPerMinute: TypeAlias = Annotated[
    int | None, typer.Option(help="Requests that a key may make in a minute.", min=1, show_default="no limit")
]
TokensPerMinute: TypeAlias = Annotated[
    int | None,
    typer.Option(
        help="Tokens, of prompts and replies, that a key may use in a minute.", min=1, show_default="no limit"
    ),
]
MaxConcurrent: TypeAlias = Annotated[
    int | None, typer.Option(help="Requests of a key at the same time.", min=1, show_default="no limit")
]


def keys(
    action: Annotated[
        Literal["new", "list", "revoke"],
        typer.Argument(help="new: make a key and print it. list: what there is. revoke: end one."),
    ],
    name: Annotated[str | None, typer.Argument(help="Whose key: shown in the log, never sent.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="The file that `serve --api-keys` reads. It holds no keys, only hashes of them.",
            metavar="FILE",
            show_default="keys.jsonl in LIAOLIAO_HOME",
        ),
    ] = None,
    requests_per_minute: RequestsPerMinute = None,
    tokens_per_minute: TokensPerMinute = None,
    max_concurrent: MaxConcurrent = None,
) -> None:
    """Make, list and revoke the API keys of a server.

    A server that runs notices within a second. Limits given here are this key's own.
    """
    from liaoliao.model.registry import home

    limits = {
        "requests_per_minute": requests_per_minute, "tokens_per_minute": tokens_per_minute,
        "max_concurrent": max_concurrent,
    }  # fmt: skip
    limited = any(value is not None for value in limits.values())
    require(action == "new" or not limited, "limits are given to a new key; there is no changing them")
    right = (action == "list") == (name is None)
    require(right, "name the key: liaoliao keys new NAME, or revoke NAME; list takes none")
    file = file or home() / "keys.jsonl"
    match action:
        case "new":
            _new_key(str(name), file, limits)
        case "revoke":
            _revoke(str(name), file)
        case "list":
            _list_keys(file)


def _new_key(name: str, file: Path, limits: dict[str, int | None]) -> None:
    from liaoliao.server.auth import make_key
    from liaoliao.server.keyfile import add_key

    key, record = make_key(name, **limits)
    add_key(file, record)
    typer.echo(
        f"the key of {name}, which is shown this once; use it with: liaoliao serve --api-keys {file}",
        err=True,
    )
    typer.echo(key)


def _revoke(name: str, file: Path) -> None:
    from liaoliao.server.keyfile import revoke_key

    revoke_key(file, name)
    typer.echo(f"the key of {name} is good no longer", err=True)


def _list_keys(file: Path) -> None:
    from liaoliao.server.keyfile import read_keys

    if not file.exists():
        typer.echo("there is no key yet; `liaoliao keys new NAME` makes one")
        return
    records = read_keys(file)
    width = max((len(record.name) for record in records), default=0)
    for record in records:
        typer.echo(f"{record.name:<{width}}  {'; '.join(_facts(record))}")


def _facts(record: "ApiKey") -> list[str]:
    facts = [f"made {record.created}"] if record.created else []
    for field in ("requests_per_minute", "tokens_per_minute", "max_concurrent"):
        if getattr(record, field) is not None:
            facts.append(f"{field.replace('_', ' ')} {getattr(record, field)}")
    return [*facts, f"revoked {record.revoked}"] if record.revoked else facts
