"""An app with a page and two scripted models: "scripted" answers at once, "slow" takes its time for each token."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from fastapi import FastAPI

from liaoliao.server.app import create_app
from liaoliao.server.served import ServedModel
from liaoliao.server.settings import Settings
from liaoliao.store import Store
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.tokenizer import Tokenizer
from tests.server.conftest import Says, ScriptedEngine
from tests.server.page.people import database
from tests.store.postgres import new_database

TOKEN_S = 0.006


@pytest.fixture(scope="session")
def slow_model(
    served: ServedModel, tokenizer: Tokenizer, template: ChatTemplate
) -> Iterator[tuple[ServedModel, Says]]:
    says = Says(template, tokenizer)
    engine = ScriptedEngine(says, delay_s=TOKEN_S)
    yield replace(served, id="slow", engine=engine, version="v1"), says
    engine.close()


@pytest.fixture
def slow(slow_model: tuple[ServedModel, Says]) -> Says:
    """What the slow model says."""
    says = slow_model[1]
    says.ids([])
    return says


@pytest.fixture(scope="module")
def chat(
    served: ServedModel, slow_model: tuple[ServedModel, Says], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[FastAPI]:
    """The app, in single-user mode, on a database of this module's own."""
    store = Store.open(database(tmp_path_factory.mktemp("chat")))
    quick = replace(served, version="v1")
    yield create_app(Settings(), [quick, slow_model[0]], store=store)
    store.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty database, for servers to share."""
    if request.param == "sqlite":
        return database(tmp_path)
    return new_database(request.getfixturevalue("postgres"), "pages")


@pytest.fixture
def two(
    shared: str, served: ServedModel, slow_model: tuple[ServedModel, Says]
) -> Iterator[tuple[FastAPI, FastAPI]]:
    """Two servers on one database."""
    models = [replace(served, version="v1"), slow_model[0]]
    with ExitStack() as stack:
        stores = [stack.enter_context(Store.open(shared)) for _ in range(2)]
        first, second = (create_app(Settings(), models, store=store) for store in stores)
        yield first, second
