"""The page's files: what is served, under which policy, for how long; and that nothing else is."""

import asyncio
import gzip
import re
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import httpx
import pytest
from fastapi import FastAPI

from liaoliao.server.failures import install_failures
from liaoliao.server.page.files import PLACES, PageFiles, install_files
from tests.server.plain import ask

SCRIPT = "console.log('liaoliao');" * 200
SECRET = "not for your eyes"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A build, with secrets around it."""
    static = tmp_path / "static"
    (static / "assets").mkdir(parents=True)
    files = {
        "index.html": "<!doctype html><title>one</title>", "robots.txt": "User-agent: *",
        "assets/index-9f3kQx2a.js": SCRIPT, "assets/theme-1.js": "1;", "assets/font-B2_x-9aQ.woff2": "font",
        ".env": SECRET, "assets/.hidden/x.js": SECRET,
    }  # fmt: skip
    for name, text in files.items():
        (static / name).parent.mkdir(exist_ok=True)
        (static / name).write_text(text, encoding="utf-8")
    (tmp_path / "secret.txt").write_text(SECRET, encoding="utf-8")
    (tmp_path / "static-secret").mkdir()
    (tmp_path / "static-secret" / "x.txt").write_text(SECRET, encoding="utf-8")
    return static


def app_of(folder: Path) -> FastAPI:
    app = FastAPI(redirect_slashes=False)
    install_failures(app)
    install_files(app, PageFiles(folder))
    return app


@pytest.fixture
def app(folder: Path) -> FastAPI:
    return app_of(folder)


def policy(response: httpx.Response) -> dict[str, str]:
    rules = response.headers["content-security-policy"].split("; ")
    return {name: sources for name, _, sources in (rule.partition(" ") for rule in rules)}


@pytest.mark.parametrize("place", [re.sub(r"\{\w+\}", "01K-x.y", place) for place in PLACES])
def test_every_place_shows_the_page(app: FastAPI, place: str) -> None:
    reply = ask(app, place)
    assert (reply.status_code, reply.text) == (200, "<!doctype html><title>one</title>")
    assert reply.headers["content-type"] == "text/html; charset=utf-8"
    assert reply.headers["cache-control"] == "no-cache"
    head = ask(app, place, method="HEAD")
    assert head.status_code == 200 and head.headers["etag"] == reply.headers["etag"]
    assert ask(app, place, method="POST").status_code == 405


def test_the_policy_lets_run_what_is_ours_and_nothing_else(app: FastAPI) -> None:
    for path in ("/", "/assets/theme-1.js"):
        reply = ask(app, path)
        rules = policy(reply)
        assert rules["default-src"] == rules["base-uri"] == rules["frame-ancestors"] == "'none'"
        assert (
            rules["script-src"] == rules["style-src"] == rules["connect-src"] == rules["font-src"] == "'self'"
        )
        assert "unsafe" not in reply.headers["content-security-policy"]
        assert "*" not in reply.headers["content-security-policy"]
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cross-origin-opener-policy"] == "same-origin"
        assert reply.headers["x-frame-options"] == "DENY"


def test_what_has_a_hash_in_its_name_is_kept_for_a_year(app: FastAPI) -> None:
    for name in ("index-9f3kQx2a.js", "font-B2_x-9aQ.woff2"):
        assert "immutable" in ask(app, f"/assets/{name}").headers["cache-control"]
    assert ask(app, "/assets/theme-1.js").headers["cache-control"] == "no-cache"
    assert ask(app, "/assets/index-9f3kQx2a.js").headers["content-type"] == "text/javascript; charset=utf-8"
    assert ask(app, "/assets/font-B2_x-9aQ.woff2").headers["content-type"] == "font/woff2"
    assert ask(app, "/robots.txt").text == "User-agent: *"


def test_what_is_there_already_is_not_sent_again(app: FastAPI) -> None:
    etag = ask(app, "/").headers["etag"]
    again = ask(app, "/", headers={"if-none-match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["content-security-policy"] == ask(app, "/").headers["content-security-policy"]
    assert ask(app, "/", headers={"if-none-match": '"other"'}).status_code == 200


@pytest.mark.parametrize(
    ("offered", "packed"),
    [
        ("gzip", True),
        ("br, GZIP;q=0.5", True),
        ("identity", False),
        ("gzip;q=0", False),
        ("", False),
        ("gzipped", False),
    ],
)
def test_a_large_text_is_packed_for_who_takes_it(app: FastAPI, offered: str, packed: bool) -> None:
    reply = ask(app, "/assets/index-9f3kQx2a.js", headers={"accept-encoding": offered})
    assert reply.text == SCRIPT and reply.headers["vary"] == "accept-encoding"
    assert ("content-encoding" in reply.headers) == packed
    if packed:
        assert int(reply.headers["content-length"]) == len(gzip.compress(SCRIPT.encode(), mtime=0))


STEPS = ("..", "%2e%2e", "%252e%252e", "..%2f", "..%5c", "%c0%ae%c0%ae", ".%00.", "....//", "..;")


def raw(app: FastAPI, target: str) -> tuple[int, str]:
    """The answer to a path sent as it is, decoded once as our server does; a client's library would mend it first."""
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "GET", "scheme": "http",
        "path": unquote(target), "raw_path": target.encode(), "query_string": b"", "root_path": "",
        "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1), "server": ("localhost", 80),
    }  # fmt: skip
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(message.get("body", b"") for message in sent).decode(
        "utf-8", "replace"
    )


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("goal", ["secret.txt", "static-secret/x.txt", "static/.env", "etc/passwd"])
def test_no_way_out_of_the_folder(app: FastAPI, folder: Path, step: str, goal: str) -> None:
    outside = str(folder.parent / goal) if goal != "etc/passwd" else "/etc/passwd"
    tails = [f"{step}/" * n + goal for n in range(5)]
    targets = [f"{base}{tail}" for base in ("/", "/assets/", "/c/", "/runs/") for tail in tails]
    for target in [
        *targets,
        outside,
        f"/assets/{outside}",
        f"/assets/{quote(outside, safe='')}",
        f"//{goal}",
    ]:
        status, text = raw(app, target)
        assert SECRET not in text and "root:" not in text, target
        assert status == 404 or text.startswith("<!doctype html><title>one"), target


def test_hidden_files_are_no_part_of_the_page(app: FastAPI) -> None:
    for path in (
        "/.env",
        "/assets/.hidden/x.js",
        "/assets/",
        "/assets",
        "/index",
        "/assets/index-9f3kQx2a.js/",
    ):
        assert ask(app, path).status_code == 404


def test_a_new_build_is_noticed(app: FastAPI, folder: Path) -> None:
    old = ask(app, "/").headers["etag"]
    (folder / "assets" / "index-00000000.js").write_text("new", encoding="utf-8")
    (folder / "index.html").write_text("<!doctype html><title>another</title>", encoding="utf-8")
    assert ask(app, "/").headers["etag"] != old
    assert ask(app, "/assets/index-00000000.js").text == "new"


def test_a_page_that_is_not_built_says_so(tmp_path: Path) -> None:
    app = app_of(tmp_path / "nosuch")
    for place in ("/", "/c/1"):
        reply = ask(app, place)
        assert reply.status_code == 503 and "make page" in reply.text and "尚未构建" in reply.text
        assert policy(reply)["default-src"] == "'none'" and reply.headers["cache-control"] == "no-store"
    assert ask(app, "/assets/x.js").status_code == 404
    assert not PageFiles(tmp_path / "nosuch").is_built


def test_what_belongs_to_the_page_is_open_and_nothing_beside_it(folder: Path) -> None:
    files = PageFiles(folder)
    for path in ("/", "/login", "/c/1", "/runs", "/runs/town", "/assets/nosuch.js", "/robots.txt"):
        assert files.has(path)
    for path in (
        "/v1/models",
        "/metrics",
        "/openapi.json",
        "/c/1/2",
        "/login/x",
        "//",
        "/c/",
        "/assets",
        "/secret.txt",
    ):
        assert not files.has(path)
