"""Who may what in an installation of several: every route there is x everyone x every carrier. No hole.

The routes are found in the app, the bodies they take are made of its schema: a route that is added is asked as well.
"""

import asyncio
import itertools
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.routing import Route

from liaoliao.messages import Message
from liaoliao.server.auth import OPEN_PATHS
from liaoliao.server.page.access import admin, caller
from liaoliao.server.page.door import OPEN_TO_ALL, is_api
from liaoliao.server.served import ServedModel
from liaoliao.store import Store
from tests.server.page.people import OWN, Person, page

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS")
CARRIERS = ("authorization", "x-api-key", "cookie")
LIVE = ("anna", "berta", "admin")
SECRET = "ferry-to-the-moon"


@dataclass(frozen=True, slots=True)
class Found:
    """A route: its path with names in it, its methods, and whom it asks for."""

    path: str
    methods: frozenset[str]
    wants: frozenset[Any] = frozenset()


def found(app: FastAPI) -> list[Found]:
    """All routes of an app, those of its routers included."""
    return list(_found(app.routes))


def _found(routes: Any) -> Iterator[Found]:
    for route in routes:
        if hasattr(route, "effective_candidates"):
            yield from _found(route.effective_candidates())
        elif (dependant := getattr(route, "dependant", None)) is not None:
            yield Found(route.path, frozenset(route.methods), frozenset(_calls(dependant)))
        elif isinstance(route, Route):
            yield Found(route.path, frozenset(route.methods or ()))


def _calls(dependant: Any) -> Iterator[Any]:
    for one in dependant.dependencies:
        yield one.call
        yield from _calls(one)


def example(schema: Mapping[str, Any], parts: Mapping[str, Any]) -> Any:
    """A small value that a schema allows."""
    if "$ref" in schema:
        return example(parts[schema["$ref"].rpartition("/")[2]], parts)
    if options := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
        return example(options[0], parts)
    if "enum" in schema or "const" in schema:
        return schema.get("const", next(iter(schema.get("enum", [None]))))
    match schema.get("type"):
        case "object":
            properties = schema.get("properties", {})
            names = schema.get("required") or list(properties)[:1]  # a change of nothing is none
            return {name: example(properties[name], parts) for name in names}
        case "array":
            return [example(schema["items"], parts)] * schema.get("minItems", 0)
        case "string":
            return "x" * max(1, schema.get("minLength", 0))
        case "integer" | "number":
            return int(schema.get("minimum", 1))
    return True


@dataclass(frozen=True, slots=True)
class Stand:
    """An app with people, and what is anna's: ids by the collection that they are in."""

    app: FastAPI
    people: Mapping[str, Person]
    annas: Mapping[str, str]

    def headers(self, who: str, carrier: str) -> dict[str, str]:
        """What one sends to show who it is: the same secret in every carrier."""
        if who == "none":
            return OWN
        person = self.people[who]
        secret = person.token if carrier == "cookie" else person.key
        shown = {
            "authorization": f"Bearer {secret}",
            "x-api-key": secret,
            "cookie": f"liaoliao_session={secret}",
        }
        return {carrier: shown[carrier], **OWN}

    def filled(self, path: str) -> str:
        """A path with anna's ids in it."""
        pieces = path.strip("/").split("/")
        for i, piece in enumerate(pieces):
            if piece.startswith("{"):
                pieces[i] = self.annas.get(pieces[i - 1], "1")
        return "/" + "/".join(pieces)

    def body(self, path: str, method: str) -> dict[str, Any]:
        """What a route takes, by the schema: arguments of a request."""
        schema = self.app.openapi()
        operation = schema["paths"].get(re.sub(r":\w+}", "}", path), {}).get(method.lower(), {})
        content = operation.get("requestBody", {}).get("content", {})
        parts = schema.get("components", {}).get("schemas", {})
        if "application/json" in content:
            return {"json": example(content["application/json"]["schema"], parts)}
        if "multipart/form-data" in content:
            return {"files": {"file": ("x.txt", b"x")}}
        return {}


@pytest.fixture(scope="module")
def stand(served: ServedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    with page(served, tmp_path_factory.mktemp("matrix"), multi_user=True) as app:
        people = {"admin": Person.join(app, "boss", "admin")}
        people |= {name: Person.join(app, name) for name in ("anna", "berta", "revoked", "disabled")}
        store: Store = app.state.store
        store.end_session(people["revoked"].token)
        [key] = store.account_keys(people["revoked"].id)
        store.revoke_account_key(people["revoked"].id, key.id)
        store.set_disabled(people["disabled"].id, True)
        yield Stand(app, people, belongings(store, people["anna"]))


def belongings(store: Store, anna: Person) -> dict[str, str]:
    """One of everything that can be somebody's."""
    conversation = store.create_conversation(anna.id, title=SECRET)
    note = store.add_attachment(anna.id, "note.txt", "text/plain", SECRET.encode())
    said = store.add_message(
        anna.id, conversation.id, Message.user(SECRET), None, attachment_ids=(note.id,)
    )  # fmt: skip
    answer = store.add_message(anna.id, conversation.id, Message.assistant(SECRET), said.id)
    persona = store.add_persona(anna.id, name=SECRET, description="", system_prompt=SECRET, greeting="")
    [key] = store.account_keys(anna.id)
    return {
        "conversations": conversation.id, "messages": answer.id, "attachments": note.id, "personas": persona.id,
        "keys": key.id, "accounts": anna.id,
    }  # fmt: skip


def everything(store: Store, person: Person) -> str:
    """All that somebody has, as text."""
    exported = {**store.export_account(person.id), "exported_at": None}
    return json.dumps(
        [exported, store.account_keys(person.id), store.account(person.id)], sort_keys=True, default=str
    )


async def _answers(
    stand: Stand, asked: list[tuple[Any, ...]], requests: list[dict[str, Any]]
) -> dict[Any, httpx.Response]:
    transport = httpx.ASGITransport(stand.app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        return {name: await client.request(**request) for name, request in zip(asked, requests, strict=True)}


def answers(stand: Stand, asked: Mapping[tuple[Any, ...], dict[str, Any]]) -> dict[Any, httpx.Response]:
    """The replies to some requests, one after the other."""
    return asyncio.run(_answers(stand, list(asked), list(asked.values())))


def test_every_route_of_the_page_asks_for_somebody(stand: Stand) -> None:
    routes = [route for route in found(stand.app) if is_api(route.path)]
    assert len(routes) >= 12
    assert {route.path for route in routes} >= set(OPEN_TO_ALL)
    for route in routes:
        assert route.path in OPEN_TO_ALL or caller in route.wants, f"{route.path} takes no CallerDep"
        assert ("accounts" in route.path or "runs" in route.path) <= (admin in route.wants), route.path


def test_nobody_gets_in_where_nobody_should(stand: Stand) -> None:
    """Neither bodies nor ids of anything are sent, so that whoever is let in changes nothing: the answer tells who was."""
    routes = [
        *found(stand.app),
        *(Found(path, frozenset({"GET"})) for path in ("/nosuch", "/api/nosuch", "/api", "/v1")),
    ]
    kinds = [("none", ""), *itertools.product((*LIVE, "revoked", "disabled"), CARRIERS)]
    asked = {
        (path, method, who, carrier): {"method": method, "url": path, "headers": stand.headers(who, carrier)}
        for route, (who, carrier) in itertools.product(routes, kinds)
        for path, method in itertools.product([re.sub(r"{[\w:]+}", "1", route.path)], route.methods | {"OPTIONS"})
        if path != "/api/logout"  # which ends the session; it is asked for elsewhere
    }  # fmt: skip
    statuses = {name: reply.status_code for name, reply in answers(stand, asked).items()}
    assert len(statuses) > 1000 and all(status < 500 for status in statuses.values())
    for (path, method, who, carrier), status in statuses.items():
        assert (status != 401) == lets_in(stand, method, path, who, carrier), (
            f"{method} {path}: {who} by {carrier}: {status}"
        )


def lets_in(stand: Stand, method: str, path: str, who: str, carrier: str) -> bool:
    """The rule, as the guide tells it."""
    live = who in LIVE
    if path in OPEN_PATHS or (not is_api(path) and stand.app.state.page_files.has(path)):
        return True
    if not is_api(path):
        return live and carrier != "cookie"
    open_to_all = path in OPEN_TO_ALL and (method, path) != ("DELETE", "/api/me")
    return carrier in ("cookie", "") and (live or open_to_all)


def test_what_is_annas_is_not_there_for_anybody_else(stand: Stand) -> None:
    """With bodies that the routes take: neither a member nor an admin reads, changes or learns anything of it."""
    store: Store = stand.app.state.store
    before = everything(store, stand.people["anna"])
    routes = [
        route
        for route in found(stand.app)
        if is_api(route.path) and "{" in route.path and admin not in route.wants
    ]
    asked = {
        (route.path, method, who): {
            "method": method, "url": stand.filled(route.path), "headers": stand.headers(who, "cookie"),
            **stand.body(route.path, method),
        }
        for route in routes for method in sorted(route.methods) for who in ("berta", "admin")
    }  # fmt: skip
    replies = answers(stand, asked)
    owned = [name for name in replies if stand.filled(name[0]) != re.sub(r"{[\w:]+}", "1", name[0])]
    assert len(owned) >= 2
    for name in owned:
        assert replies[name].status_code == 404, (
            f"{name}: {replies[name].status_code} {replies[name].text[:200]}"
        )
    assert all(SECRET not in reply.text for reply in replies.values())
    mine = {
        name: {"method": "GET", "url": stand.filled(name[0]), "headers": stand.headers("anna", "cookie")}
        for name in owned if name[1] == "GET"
    }  # fmt: skip
    assert sum(reply.status_code == 200 for reply in answers(stand, mine).values()) >= 4, "to her it is there"
    assert everything(store, stand.people["anna"]) == before


def test_lists_hold_what_is_ones_own(stand: Stand) -> None:
    lists = [
        r
        for r in found(stand.app)
        if is_api(r.path) and "{" not in r.path and "GET" in r.methods and admin not in r.wants
    ]
    asked = {
        (route.path, who): {"method": "GET", "url": route.path, "headers": stand.headers(who, "cookie")}
        for route in lists for who in LIVE
    }  # fmt: skip
    replies = answers(stand, asked)
    hers = {path for (path, who), reply in replies.items() if SECRET in reply.text}
    assert hers >= {"/api/conversations", "/api/personas", "/api/export"}
    assert all(SECRET not in reply.text for (_, who), reply in replies.items() if who != "anna")


def test_a_member_does_nothing_that_is_an_admins(stand: Stand) -> None:
    routes = [route for route in found(stand.app) if admin in route.wants]
    asked = {
        (route.path, method): {
            "method": method, "url": stand.filled(route.path), "headers": stand.headers("berta", "cookie"),
            **stand.body(route.path, method),
        }
        for route in routes for method in sorted(route.methods)
    }  # fmt: skip
    replies = answers(stand, asked)
    assert len(replies) >= 4 and {reply.status_code for reply in replies.values()} == {403}
