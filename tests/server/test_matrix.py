"""Who may what: every route and method there is, with every kind of key in either header. No hole."""

import asyncio
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.routing import Route

from liaoliao.server.app import create_app
from liaoliao.server.auth import OPEN_PATHS, make_key
from liaoliao.server.served import ServedModel
from liaoliao.server.settings import Settings

GOOD, RECORD = make_key("anna")
REVOKED, OLD_RECORD = make_key("old")
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
CARRIERS = ("authorization", "x-api-key", "cookie")
KEYS = {
    "none": None,
    "good": GOOD,
    "wrong": GOOD[:-1] + ("a" if GOOD[-1] != "a" else "b"),
    "revoked": REVOKED,
}


@pytest.fixture(scope="module")
def locked(served: ServedModel) -> FastAPI:
    return create_app(Settings(api_keys=(RECORD, replace(OLD_RECORD, revoked="2026-01-01"))), [served])


def paths(app: FastAPI) -> list[str]:
    """Every path of the app, with something in the place of its parameters, and one that is not there."""
    found = {route.path for route in app.routes if isinstance(route, Route | APIRoute)}
    found |= set(app.openapi()["paths"])
    return [*sorted(path.replace("{", "").replace("}", "") for path in found), "/nosuch"]


def headers(carrier: str, key: str | None) -> dict[str, str]:
    if key is None:
        return {}
    return {
        carrier: {"authorization": f"Bearer {key}", "x-api-key": key, "cookie": f"x-api-key={key}"}[carrier]
    }


def test_every_route_with_every_key(locked: FastAPI) -> None:
    async def ask_all() -> dict[tuple[str, str, str, str], int]:
        statuses = {}
        transport = httpx.ASGITransport(locked)
        async with httpx.AsyncClient(transport=transport, base_url="http://elsewhere.example") as client:
            for path in paths(locked):
                for method in METHODS:
                    for kind, key in KEYS.items():
                        for carrier in CARRIERS:
                            reply = await client.request(method, path, headers=headers(carrier, key))
                            statuses[path, method, kind, carrier] = reply.status_code
        return statuses

    statuses = asyncio.run(ask_all())
    assert len({path for path, *_ in statuses}) >= 15
    assert all(status < 500 for status in statuses.values())
    for (path, method, kind, carrier), status in statuses.items():
        opens = path in OPEN_PATHS or (kind == "good" and carrier != "cookie")
        assert (status != 401) == opens, f"{method} {path} with a {kind} key in {carrier}: {status}"


def test_a_refusal_is_in_the_words_of_the_clients_own_api(locked: FastAPI) -> None:
    async def ask_both() -> tuple[httpx.Response, httpx.Response]:
        transport = httpx.ASGITransport(locked)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            openai = await client.post("/v1/chat/completions", headers={"x-api-key": "wrong"})
            return openai, await client.post("/v1/messages", headers={"x-api-key": "wrong"})

    openai, anthropic = asyncio.run(ask_both())
    assert openai.json()["error"]["code"] == "invalid_api_key"
    assert anthropic.json() == {
        "type": "error",
        "error": {"type": "authentication_error", "message": openai.json()["error"]["message"]},
    }
