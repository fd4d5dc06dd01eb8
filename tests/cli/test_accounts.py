"""The command accounts, and serve with a page: what they do, refuse, and say."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import Result

from liaoliao.cli import serve as serve_command
from liaoliao.store import Store
from tests.cli.test_serve import refused
from tests.cli.tiny_run import liaoliao
from tests.long.stand import make_model
from tests.server.plain import until

PASSWORD = "a long enough password"


def accounts(home: Path, *args: object, typed: str = "") -> Result:
    result = liaoliao("accounts", *args, home=home, typed=typed)
    assert result.exit_code == 0, result.output
    return result


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """The database of the home in tmp_path."""
    store = Store.open(f"sqlite:///{tmp_path / 'liaoliao.db'}")
    yield store
    store.close()


def test_accounts_are_made_changed_and_removed(tmp_path: Path, store: Store) -> None:
    home = tmp_path
    assert "no account yet" in accounts(home, "list").stdout
    assert "as admin" in accounts(home, "add", "boss", typed=f"{PASSWORD}\n").stderr
    assert "as member" in accounts(home, "add", "anna", typed=f"{PASSWORD}\n").stderr
    anna = store.verify_password("anna", PASSWORD)
    assert anna and anna.role == "member"
    accounts(home, "role", "anna", "--role", "admin")
    assert store.account(anna.id).role == "admin"
    token, _ = store.create_session(anna.id, 60.0)
    accounts(home, "logout", "anna")
    assert store.find_session(token) is None
    accounts(home, "password", "anna", typed="another long password\n")
    assert store.verify_password("anna", PASSWORD) is None
    accounts(home, "disable", "anna")
    assert store.verify_password("anna", "another long password") is None
    listed = accounts(home, "list").stdout
    assert re.fullmatch(r"boss  admin; made [\d-]+\nanna  admin; made [\d-]+; disabled\n", listed)
    accounts(home, "enable", "anna")
    assert store.verify_password("anna", "another long password")
    accounts(home, "remove", "anna", "--yes")
    assert [account.name for account in store.accounts()] == ["boss"]


def test_removing_asks_first(tmp_path: Path, store: Store) -> None:
    for name in ("boss", "anna"):
        store.create_account(name, PASSWORD)
    assert liaoliao("accounts", "remove", "anna", home=tmp_path, typed="n\n").exit_code == 1
    assert len(store.accounts()) == 2
    accounts(tmp_path, "remove", "anna", typed="y\n")
    assert len(store.accounts()) == 1


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["add"], "NAME"), (["list", "anna"], "list takes none"), (["disable", "ana"], "did you mean anna"),
        (["role", "anna"], "--role admin"), (["disable", "anna", "--role", "admin"], "--role goes with"),
        (["add", "anna"], "anna already"), (["add", "a b"], "a b"), (["disable", "anna"], "last admin"),
        (["enable", "anna", "--yes"], "--yes goes with"), (["make", "anna"], "make"),
        (["list", "--database", "nosuch://x"], "nosuch"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_word_is_one_sentence(tmp_path: Path, store: Store, args: list[object], word: str) -> None:
    store.create_account("anna", PASSWORD)
    refused(liaoliao("accounts", *args, home=tmp_path, typed=f"{PASSWORD}\n"), word)


def test_a_short_password_is_refused(tmp_path: Path) -> None:
    refused(liaoliao("accounts", "add", "anna", home=tmp_path, typed="short\n"), "password")


# serve


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["--no-page", "--open"], "there is no page"),
        (["--no-page", "--database", "sqlite:///x.db"], "there is no page"),
        (["--no-page", "--multi-user"], "multi_user needs the page"),
        (["--set", "session_lifetime_s=1"], "session_lifetime_s"),
        (["--train"], "--train makes the model called current"),
        (["--port", "0", "--database", "nosuch://x"], "nosuch"),
    ],
    ids=str,
)  # fmt: skip
def test_what_does_not_fit_together(tmp_path: Path, args: list[object], word: str) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}", encoding="utf-8")
    refused(liaoliao("serve", folder, *args, home=tmp_path), word)


def test_a_browser_is_opened_where_there_is_a_screen(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    monkeypatch.setattr("webbrowser.open", shown.append)
    monkeypatch.setattr(sys, "platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert not serve_command.open_in_browser("http://127.0.0.1:8000")
    monkeypatch.setenv("DISPLAY", ":0")
    assert serve_command.open_in_browser("http://127.0.0.1:8000")
    until(lambda: shown == ["http://127.0.0.1:8000"])


def test_a_whole_server_with_a_page_for_several(tmp_path: Path) -> None:
    folder, log = make_model(tmp_path, depth=1), tmp_path / "server.log"
    command = [
        sys.executable,
        "-m",
        "liaoliao",
        "serve",
        str(folder),
        "--port",
        "0",
        "--dtype",
        "fp32",
        "--multi-user",
    ]
    env = {**os.environ, "LIAOLIAO_HOME": str(tmp_path / "home")}
    with log.open("w", encoding="utf-8") as err:
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=err, env=env)
    try:
        until(lambda: "/setup#" in log.read_text(encoding="utf-8") or server.poll() is not None, 60.0)
        link = re.search(r"(http://127.0.0.1:\d+)/setup#(\S+)", log.read_text(encoding="utf-8"))
        assert link, log.read_text(encoding="utf-8")
        url, code = link.groups()
        with httpx.Client(base_url=url, headers={"origin": url}) as browser:
            assert browser.get("/api/conversations").status_code == 401
            body = {"name": "anna", "password": PASSWORD, "code": code}
            assert browser.post("/api/setup", json=body).status_code == 201
            assert browser.get("/api/me").json()["account"]["role"] == "admin"
            key = browser.post("/api/keys", json={"name": "laptop"}).json()["key"]
        assert httpx.get(f"{url}/v1/models", headers={"x-api-key": key}).status_code == 200
        assert httpx.get(f"{url}/v1/models").status_code == 401
        assert httpx.get(f"{url}/").headers["content-security-policy"].startswith("default-src 'none'")
        server.terminate()
        assert server.wait(30) == 0
    finally:
        server.kill()
    assert (tmp_path / "home" / "liaoliao.db").is_file()
