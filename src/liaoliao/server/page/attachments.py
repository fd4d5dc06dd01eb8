"""POST /api/attachments: a text file to be read by the model together with a message.

    multipart/form-data, field "file"  ->  201 {"id": "01K…", "name": "notes.txt", "size_bytes": 812}

Its text is kept apart from the words of the message that it is sent with (`prompts` puts the two together).
"""

import unicodedata
from pathlib import PurePosixPath, PureWindowsPath
from typing import Annotated, Final

from fastapi import APIRouter, File, Request, UploadFile

from liaoliao.server.body import StrictRoute
from liaoliao.server.failures import ApiError
from liaoliao.server.openai_shapes import FAILURES
from liaoliao.server.page.access import CallerDep
from liaoliao.server.page.views import AttachmentView, attachment_view
from liaoliao.server.page.work import in_store
from liaoliao.store import Store

router = APIRouter(prefix="/api", tags=["page"], route_class=StrictRoute, responses=FAILURES)

MAX_BYTES: Final = 1 << 20
_MAX_NAME: Final = 120
_MAX_TYPE: Final = 100


@router.post("/attachments", status_code=201)
async def attach(file: Annotated[UploadFile, File()], caller: CallerDep, request: Request) -> AttachmentView:
    """Give a text file."""
    store: Store = request.app.state.store
    name, media_type = file_name(file.filename), (file.content_type or "")[:_MAX_TYPE] or "text/plain"
    text = as_text(await read_upload(file, MAX_BYTES), name)
    kept = await in_store(store.add_attachment, caller.account.id, name, media_type, text.encode("utf-8"))
    return attachment_view(kept)


async def read_upload(file: UploadFile, most: int) -> bytes:
    """The bytes of a file that was sent. Raises ApiError 413 for more than `most`."""
    data = await file.read(most + 1)
    if len(data) > most:
        size = f"{most >> 20} MiB"
        raise ApiError(f"The file is larger than {size}.", status=413, param="file", code="file_too_large")
    return data


def file_name(given: str | None) -> str:
    """The last part of the name that a browser tells, without what cannot be seen; "file" for none."""
    last = PureWindowsPath(PurePosixPath(given or "").name).name
    shown = "".join(c for c in last if unicodedata.category(c)[0] != "C" and c not in "\u2028\u2029")
    return shown.strip()[:_MAX_NAME] or "file"


def as_text(data: bytes, name: str) -> str:
    """The text of a file: UTF-8, or UTF-16 that says so; lines end in LF. Raises ApiError 400 for anything else."""
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        text = data.decode("utf-16" if marked else "utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise ApiError(
            f"{name} is no text that can be read here; if it is one, save it as UTF-8.",
            param="file", code="not_text",
        )  # fmt: skip
    return text.replace("\r\n", "\n").replace("\r", "\n")
