"""The command that runs a server.

$ liaoliao serve --open
$ liaoliao serve --host 0.0.0.0 --api-keys ~/.liaoliao/keys.jsonl
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

import typer

from liaoliao.cli.group import require
from liaoliao.cli.keys import MaxConcurrent, RequestsPerMinute, TokensPerMinute
from liaoliao.cli.options import Dtype, settings
from liaoliao.cli.talk import trained_first

if TYPE_CHECKING:
    from fastapi import FastAPI

    from liaoliao.server.retrieval import RetrievalModel
    from liaoliao.server.served import ServedModel
    from liaoliao.server.settings import Settings
    from liaoliao.store import Store

ENV_KEY = "LIAOLIAO_API_KEY"
_NO_PAGE = (
    "there is no page with --no-page, nor with API keys alone, as nobody could log in to it; --multi-user gives people "
    "accounts"
)

Database: TypeAlias = Annotated[
    str | None,
    typer.Option(
        help="Where accounts and conversations are: a folder's file as sqlite:///PATH, or postgresql+psycopg://…",
        metavar="URL",
        show_default="liaoliao.db in LIAOLIAO_HOME",
    ),
]
Replicas: TypeAlias = Annotated[
    int | None,
    typer.Option(
        help="Run the model in so many processes of their own, on Ray Serve: docs/guides/replicas.md.",
        min=1,
        show_default="in this process",
    ),
]
Backend: TypeAlias = Annotated[
    Literal["own", "vllm"],
    typer.Option(help="What computes the model: our own engine, or vLLM, where it is installed."),
]
Embeddings: TypeAlias = Annotated[
    Path | None,
    typer.Option(
        help="Answer /v1/embeddings also with the sentence-transformers model in this folder, under the folder's name.",
        metavar="FOLDER",
        show_default="the model alone",
    ),
]


def serve(
    model: Annotated[str, typer.Argument(help="A model folder or a registered name.")] = "current",
    host: Annotated[
        str | None,
        typer.Option(
            help="The address to listen on; one that other machines can reach needs API keys or --multi-user.",
            show_default="127.0.0.1",
        ),
    ] = None,
    port: Annotated[
        int | None, typer.Option(help="The port; 0: any free one.", min=0, max=65535, show_default="8000")
    ] = None,
    dtype: Dtype = "auto",
    replicas: Replicas = None,
    backend: Backend = "own",
    embeddings: Embeddings = None,
    multi_user: Annotated[
        bool,
        typer.Option(
            "--multi-user",
            help="People log in to the page and make keys of their own for /v1; `liaoliao accounts` manages them. Without "
            "it the page belongs to the one person at this machine.",
        ),
    ] = False,
    behind_https: Annotated[
        bool,
        typer.Option(
            "--behind-https",
            help="A proxy in front speaks HTTPS with browsers and sets X-Forwarded-For: cookies go over HTTPS alone.",
        ),
    ] = False,
    database: Database = None,
    no_page: Annotated[
        bool, typer.Option("--no-page", help="Serve the API alone, without the page and its database.")
    ] = False,
    open_page: Annotated[
        bool, typer.Option("--open", help="Open the page in the browser as soon as it answers.")
    ] = False,
    train: Annotated[
        bool,
        typer.Option(
            "--train", help="Where there is no model yet, train one first, as `liaoliao chat` does."
        ),
    ] = False,
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
    speculate: Annotated[
        int | None,
        typer.Option(
            help="Tokens guessed ahead in each step for a reply at temperature 0, from what was said before. That changes "
            "no word and saves steps where a reply repeats something; 0: none.",
            min=0,
            show_default="4",
        ),
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
    """Serve a model: a page to talk to it, and the OpenAI and Anthropic APIs.

    Ctrl-C or SIGTERM: nothing new is accepted and running replies are finished (30 s at most); a second one ends it at
    once.
    """
    from liaoliao.model.registry import CURRENT
    from liaoliao.server.settings import Settings

    given = {
        "host": host, "port": port, "api_key_file": api_keys, "requests_per_minute": requests_per_minute,
        "tokens_per_minute": tokens_per_minute, "max_concurrent": max_concurrent, "max_running": max_running,
        "max_waiting": max_waiting, "speculate": speculate,
        "cors_origins": tuple(cors_origin) if cors_origin else None,
        "allowed_hosts": tuple(allow_host) if allow_host else None, "log_level": log_level,
        "page": False if no_page else None, "multi_user": multi_user or None, "database": database,
        "behind_https": behind_https or None,
    }  # fmt: skip
    chosen = _with_env_key(settings(Settings(), given, overrides))
    require(chosen.shows_page or not (open_page or chosen.database), _NO_PAGE)
    require(model == CURRENT or not train, "--train makes the model called current: name no other")
    require(replicas is None or backend == "own", "--replicas are of our own engine: leave --backend away")
    load = partial(_load, model, dtype, chosen, replicas, backend)
    _serve(model, dtype, chosen, load, embeddings=embeddings, train=train, open_page=open_page)


def _with_env_key(chosen: "Settings") -> "Settings":
    """The settings with the key of the environment, which nothing that we start gets to see."""
    from liaoliao.server.auth import given_key

    if (key := os.environ.pop(ENV_KEY, None)) is None:
        return chosen
    return replace(chosen, api_keys=(*chosen.api_keys, given_key(ENV_KEY, key)))


def _load(
    model: str, dtype: Dtype, chosen: "Settings", replicas: int | None, backend: Backend
) -> "ServedModel":
    """The model, in this process or wherever else it is to be computed."""
    options: dict[str, Any] = {
        "dtype": dtype, "max_running": chosen.max_running, "max_waiting": chosen.max_waiting,
        "speculate": chosen.speculate, "on_progress": _say,
    }  # fmt: skip
    if backend == "vllm":
        from liaoliao.server.vllm_engine import served_vllm

        return served_vllm(model, **options)
    if replicas is not None:
        from liaoliao.server.replicas.serving import served_replicas

        return served_replicas(model, replicas, **options)
    from liaoliao.server.served import served_model

    return served_model(model, **options)


def _serve(
    model: str,
    dtype: Dtype,
    chosen: "Settings",
    load: Callable[[], "ServedModel"],
    *,
    embeddings: Path | None,
    train: bool,
    open_page: bool,
) -> None:
    """The cheap ways to fail come first: address, keys, the models' names, the database."""
    from liaoliao.model.registry import resolve
    from liaoliao.server.keyfile import read_keys
    from liaoliao.server.logs import logging_to
    from liaoliao.server.retrieval import check_retrieval
    from liaoliao.server.serve import bind

    if embeddings is not None:
        check_retrieval(embeddings)
    if chosen.api_key_file is not None:
        read_keys(chosen.api_key_file)
    if train:
        bind(chosen).close()  # training takes minutes, and nobody should wait on an open port meanwhile
        trained_first()
    resolve(model)
    with (
        bind(chosen) as listener,
        logging_to(sys.stdout, chosen.log_level),
        _store(chosen) as store,
        _retrieval(embeddings, chosen) as retrieval,
    ):
        _say(f"loading {model}")
        from liaoliao.server.app import create_app
        from liaoliao.server.page.loading import LoadOptions
        from liaoliao.server.serve import serve as run_server

        served = load()
        try:
            loading = LoadOptions(
                dtype,
                max_running=chosen.max_running,
                max_waiting=chosen.max_waiting,
                speculate=chosen.speculate,
            )
            app = create_app(chosen, [served], retrieval=retrieval, store=store, loading=loading)

            def welcome(url: str) -> None:
                _welcome(app, url, open_page=open_page)

            run_server(app, chosen, listener, say=_say, on_ready=welcome if store is not None else None)
        finally:
            served.engine.close()


@contextmanager
def _store(chosen: "Settings") -> Iterator["Store | None"]:
    """The database of the page, where there is a page."""
    if not chosen.shows_page:
        if chosen.page:
            _say(_NO_PAGE)
        yield None
        return
    from liaoliao.store import Store

    store = Store.open(chosen.database)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _retrieval(folder: Path | None, chosen: "Settings") -> Iterator["RetrievalModel | None"]:
    """The model of --embeddings. It comes before the one that talks, which takes of a GPU's memory what is left."""
    if folder is None:
        yield None
        return
    from liaoliao.server.retrieval import load_retrieval

    _say(f"loading {folder}")
    model = load_retrieval(folder, max_waiting=chosen.max_waiting)
    try:
        yield model
    finally:
        model.close()


def _welcome(app: "FastAPI", url: str, *, open_page: bool) -> None:
    """Tell how to get in; called once the server answers."""
    path = ""
    if not app.state.page_files.is_built:
        _say("the page itself is not built yet: `make page`")
    if app.state.settings.multi_user and app.state.store.needs_setup():
        path = f"/setup#{app.state.setup_code}"
        _say(f"nobody has an account yet; the first one, an admin's, is made at {url}{path}")
    if open_page and not open_in_browser(url + path):
        _say(f"there is no browser to open here; visit {url}{path}")


def open_in_browser(url: str) -> bool:
    """Show a page to the person at this machine, if there is a screen. A browser of the terminal is not used: it would
    take the place of what the server says.
    """
    import threading
    import webbrowser

    if not (sys.platform in ("darwin", "win32") or {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ)):
        return False
    # some of them return only when the browser is closed
    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
    return True


def _say(line: str) -> None:
    typer.echo(line, err=True)
