"""The commands of a server: serve and keys.

$ liaoliao keys new anna > anna.key
$ liaoliao serve --host 0.0.0.0 --api-keys ~/.liaoliao/keys.jsonl
"""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias

import typer

from liaoliao.cli.group import require
from liaoliao.cli.options import Dtype, settings

if TYPE_CHECKING:
    from liaoliao.server.settings import ApiKey, Settings

ENV_KEY = "LIAOLIAO_API_KEY"

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


def serve(
    model: Annotated[str, typer.Argument(help="A model folder or a registered name.")] = "current",
    host: Annotated[
        str | None,
        typer.Option(
            help="The address to listen on; one that other machines can reach needs an API key.",
            show_default="127.0.0.1",
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="The port; 0: any free one.", min=0, max=65535, show_default="8000")
    ] = None,
    dtype: Dtype = "auto",
    api_keys: Annotated[
        Path | None,
        typer.Option(
            help=f"Ask for a key of this file, made by `liaoliao keys`; read again when it changes. The environment "
            f"variable {ENV_KEY} may hold one key more.",
            metavar="FILE",
        ),
    ] = None,
    requests_per_minute: RequestsPerMinute = None,
    tokens_per_minute: TokensPerMinute = None,
    max_concurrent: MaxConcurrent = None,
    max_running: Annotated[
        int | None, typer.Option(help="Replies that are made at the same time.", min=1, show_default="64")
    ] = None,
    max_waiting: Annotated[
        int | None,
        typer.Option(help="Requests that may wait for one; more get 503.", min=1, show_default="256"),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(
            help="Let web pages of this origin ask, such as https://chat.example; repeatable.", metavar="URL"
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Besides localhost, a name by which a server without keys may be called; repeatable.",
            metavar="NAME",
        ),
    ] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None,
        typer.Option(
            help="The least of what is logged on stdout, a line of JSON each; info: every request.",
            show_default="info",
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change any setting of the server, such as read_timeout_s=10; repeatable. "
            "docs/guides/serving-safely.md lists them.",
        ),
    ] = None,
) -> None:
    """Serve a model to clients of the OpenAI and Anthropic APIs.

    Ctrl-C or SIGTERM: nothing new is accepted and running replies are finished (30 s at most); a second one ends it at
    once.
    """
    from liaoliao.server.settings import Settings

    given = {
        "host": host, "port": port, "api_key_file": api_keys, "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute, "max_concurrent": max_concurrent, "max_running": max_running,
        "max_waiting": max_waiting, "cors_origins": tuple(cors_origin) if cors_origin else None,
        "allowed_hosts": tuple(allow_host) if allow_host else None, "log_level": log_level,
    }  # fmt: skip
    _serve(model, dtype, _with_env_key(settings(Settings(), given, overrides)))


def _with_env_key(chosen: "Settings") -> "Settings":
    """The settings with the key of the environment, which nothing that we start gets to see."""
    from liaoliao.server.auth import given_key

    if (key := os.environ.pop(ENV_KEY, None)) is None:
        return chosen
    return replace(chosen, api_keys=(*chosen.api_keys, given_key(ENV_KEY, key)))


def _serve(model: str, dtype: Dtype, chosen: "Settings") -> None:
    """The cheap ways to fail come first: address, keys, the model's name."""
    from liaoliao.model.registry import resolve
    from liaoliao.server.keyfile import read_keys
    from liaoliao.server.logs import logging_to
    from liaoliao.server.serve import bind
    from liaoliao.server.serve import serve as run_server

    if chosen.api_key_file is not None:
        read_keys(chosen.api_key_file)
    resolve(model)
    with bind(chosen) as listener, logging_to(sys.stdout, chosen.log_level):
        _say(f"loading {model}")
        from liaoliao.server.app import create_app
        from liaoliao.server.served import served_model

        served = served_model(
            model,
            dtype=dtype,
            max_running=chosen.max_running,
            max_waiting=chosen.max_waiting,
            on_progress=_say,
        )
        try:
            run_server(create_app(chosen, [served]), chosen, listener, say=_say)
        finally:
            served.engine.close()


def _say(line: str) -> None:
    typer.echo(line, err=True)


# Keys


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
    _say(f"the key of {name}, which is shown this once; use it with: liaoliao serve --api-keys {file}")
    typer.echo(key)


def _revoke(name: str, file: Path) -> None:
    from liaoliao.server.keyfile import revoke_key

    revoke_key(file, name)
    _say(f"the key of {name} is good no longer")


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
