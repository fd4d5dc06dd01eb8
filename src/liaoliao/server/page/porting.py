"""One's conversations out, and in again, here or elsewhere.

    GET  /api/export   ->  liaoliao-export.json: everything of the account but its password and keys
    POST /api/import   <-  such a file, or the conversations.json of a ChatGPT export

An import is read as a whole: a request is bounded (Settings.max_body_bytes), so the page sends a long list of
conversations in several.
"""

import json
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from liaoliao.server.failures import ApiError
from liaoliao.server.openai_shapes import FAILURES, Shape
from liaoliao.server.page.access import CallerDep
from liaoliao.server.page.work import in_store
from liaoliao.store import Store

router = APIRouter(prefix="/api", tags=["page"], responses=FAILURES)

_BODY: Final = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}


class Report(Shape):
    """What came of an import; `skipped` names what was left out, and why."""

    num_conversations: int
    num_messages: int
    skipped: list[str]


def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


@router.get("/export", response_class=Response)
async def export(caller: CallerDep, request: Request) -> Response:
    """All that one has here, as a file."""
    data = await in_store(_written, _store(request), caller.account.id)
    name = 'attachment; filename="liaoliao-export.json"'
    return Response(data, media_type="application/json", headers={"content-disposition": name})


@router.post("/import", openapi_extra=_BODY)
async def import_(caller: CallerDep, request: Request) -> Report:
    """Take over the conversations of a file, all of each or nothing."""
    data = await _uploaded(request)
    report = await in_store(_read, _store(request), caller.account.id, data)
    return Report(
        num_conversations=report.num_conversations,
        num_messages=report.num_messages,
        skipped=list(report.skipped),
    )


def _written(store: Store, account_id: str) -> bytes:
    return json.dumps(store.export_account(account_id), ensure_ascii=False, indent=1).encode("utf-8")


def _read(store: Store, account_id: str, data: bytes) -> Any:
    return store.import_conversations(account_id, _parsed(data))


def _parsed(data: bytes) -> Any:
    """The JSON of a file; it may be larger and deeper than what is said of bodies elsewhere. Raises ApiError 400."""
    try:
        return json.loads(data.decode("utf-8-sig"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        told = f"The file is no JSON that can be read: {error}"[:300]
        raise ApiError(told, param="file", code="no_json") from error


def _refuse(text: str) -> None:
    raise ValueError(f"{text} is no JSON")


async def _uploaded(request: Request) -> bytes:
    """The body, or the file in it. Raises ApiError 400 for a form without one."""
    if not request.headers.get("content-type", "").startswith("multipart/form-data"):
        return await request.body()
    try:
        form = await request.form(max_files=1, max_fields=1)
    except MultiPartException as error:
        raise ApiError(f"The form cannot be read: {error}", code="unreadable_form") from error
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise ApiError("Missing required parameter: 'file'.", param="file", code="missing_required_parameter")
    return await file.read()
