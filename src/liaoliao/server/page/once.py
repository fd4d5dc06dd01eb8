"""Requests that are to be carried out once, however often they come: the header `Idempotency-Key`.

    POST /api/conversations/01K…/messages     Idempotency-Key: 3f6a…     {"text": "2+3?"}     ->  201, and an answer begins
    the same again, at once or within a day                                                   ->  201, the same messages
    the same key with other words, or for something else in this conversation                 ->  422

A page whose connection broke while it asked does not know whether it was heard; with a key it simply asks again. The
key is noted in the transaction that stores what came of the request, so neither a crash nor two requests at the same
moment, to one server or to two, do anything twice. What was refused stored nothing, and is tried anew.
"""

import asyncio
import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Final, TypeAlias
from weakref import WeakValueDictionary

from fastapi import Depends, Header, Request
from pydantic import BaseModel

from liaoliao.server.failures import ApiError
from liaoliao.store import Store
from liaoliao.store.records import AnsweredRequest, Node

HEADER: Final = "Idempotency-Key"
MAX_LENGTH: Final = 200
_VISIBLE: Final = rf"[!-~]{{1,{MAX_LENGTH}}}"
_KEY: Final = re.compile(_VISIBLE)


@dataclass(frozen=True, slots=True)
class Once:
    """A request as it is known again: by its sender's key; `digest` is that of all that it asks."""

    key: str
    digest: str


def idempotency_key(
    request: Request,
    key: Annotated[
        str | None,
        Header(
            alias=HEADER,
            description="Ask for this once: the same key again within a day gets the first request's answer.",
            json_schema_extra={"pattern": f"^{_VISIBLE}$"},
        ),
    ] = None,
) -> str | None:
    """The key of a request, None where it has none. Raises ApiError 400 for one that is none."""
    given = request.headers.getlist(HEADER)  # `key` is for the schema: it would hide that there are two
    if not given:
        return None
    if len(given) > 1 or _KEY.fullmatch(given[0]) is None:
        told = f"{HEADER} is 1 to {MAX_LENGTH} visible ASCII characters, and is given once."
        raise ApiError(told, param=HEADER, code="invalid_idempotency_key")
    return given[0]


KeyDep: TypeAlias = Annotated[str | None, Depends(idempotency_key)]


def once_of(request: Request, key: str | None, body: BaseModel | None = None) -> Once | None:
    """What tells this request from others; None where it has no key. An empty body and none are the same."""
    if key is None:
        return None
    asked = f"{request.scope['path']}\n{body.model_dump_json() if body is not None else '{}'}"
    digest = hashlib.blake2b(asked.encode(), digest_size=32, person=b"liaoliao-request")
    return Once(key, digest.hexdigest())


def carried_out(
    store: Store, account_id: str, scope: str, once: Once | None, *, alone: bool = False
) -> AnsweredRequest | None:
    """What came of the same request before; None where it is the first. `scope` and `alone` as for the store.

    Raises NotFoundError, and ApiError 422 for a key that stands for another request.
    """
    done = store.answered_request(account_id, scope, once.key, alone=alone) if once is not None else None
    if done is not None and once is not None and done.digest != once.digest:
        told = f"This {HEADER} was used for another request; take a new one for each."
        raise ApiError(told, status=422, param=HEADER, code="idempotency_key_reused")
    return done


def messages_of(store: Store, account_id: str, done: AnsweredRequest) -> tuple[Node, ...]:
    """The messages that came of a request. Raises NotFoundError where they were deleted just now."""
    return tuple(store.node(account_id, id) for id in done.message_ids)


class Turns:
    """Lets requests with one key wait for each other, so that a second one finds what the first has done."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    def of(self, conversation_id: str, once: Once | None) -> asyncio.Lock:
        """What to hold while one is carried out; nobody else's where a request has no key."""
        if once is None:
            return asyncio.Lock()
        return self._locks.setdefault((conversation_id, once.key), asyncio.Lock())
