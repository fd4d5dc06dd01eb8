"""An app with a page and people in it, and what their browsers and programs send.

with page(served, tmp_path, multi_user=True) as app:
    anna = Person.join(app, "anna")
    anna.ask("/api/me")  ->  200;  anna.ask("/api/logout", method="POST")  ->  200
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from unittest.mock import patch

import httpx
from argon2 import PasswordHasher
from fastapi import FastAPI

from liaoliao.server.app import create_app
from liaoliao.server.served import ServedModel
from liaoliao.server.settings import Settings
from liaoliao.store import Store
from tests.server.plain import ask

PASSWORD = "a long enough password"
OWN = {"origin": "http://localhost"}  # where `ask` says that it is


def database(folder: Path) -> str:
    """The URL of a database in a folder."""
    return f"sqlite:///{folder / 'people.db'}"


@contextmanager
def page(
    served: ServedModel, folder: Path, *, settings: Settings | None = None, **more: Any
) -> Iterator[FastAPI]:
    """An app with a page on a database of its own, whose passwords are cheap to check; `more` are settings."""
    cheap = PasswordHasher(time_cost=1, memory_cost=64, parallelism=1)
    with patch("liaoliao.store.passwords._HASHER", cheap), Store.open(database(folder)) as store:
        yield create_app(settings or Settings(**more), [served], store=store)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account, a session in a browser and a key for programs."""

    app: FastAPI
    id: str
    name: str
    token: str
    key: str

    @classmethod
    def join(cls, app: FastAPI, name: str, role: Literal["admin", "member"] = "member") -> "Person":
        """Make an account, and log it in."""
        store: Store = app.state.store
        account = store.create_account(name, PASSWORD, role)
        token, _ = store.create_session(account.id, 3600.0)
        key, _ = store.create_account_key(account.id, "laptop")
        return cls(app, account.id, name, token, key)

    @property
    def cookie(self) -> dict[str, str]:
        """What the browser sends."""
        return {"cookie": f"liaoliao_session={self.token}", **OWN}

    def ask(self, path: str, *, method: str = "GET", **more: Any) -> httpx.Response:
        """A request of the browser's."""
        return ask(self.app, path, method=method, headers={**self.cookie, **more.pop("headers", {})}, **more)


def cookie_of(response: httpx.Response) -> str:
    """The token that a reply sets, "" where it takes it back."""
    [header] = response.headers.get_list("set-cookie")
    return str(header.partition(";")[0].partition("=")[2]).strip('"')
