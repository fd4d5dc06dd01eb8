"""/api/personas: who the model can be asked to be, our own and imported character cards.

POST /api/personas  {"name": "Anna", "system_prompt": "You are {{char}}, a pirate.", "greeting": "Ahoy, {{user}}!"}
POST /api/personas/import  (multipart "file": JSON or PNG)   ->  201 {"persona": {...}, "unused": ["character_book"]}
"""

from typing import Annotated, Final, TypeAlias

from fastapi import APIRouter, File, Request, Response, UploadFile
from pydantic import Field

from liaoliao.chat.persona import MAX_CARD_BYTES, MAX_NAME_CHARS, MAX_TEXT_CHARS, read_card
from liaoliao.errors import NotFoundError
from liaoliao.server.body import StrictRoute
from liaoliao.server.failures import ApiError
from liaoliao.server.openai import Wire
from liaoliao.server.openai_shapes import FAILURES, Shape
from liaoliao.server.page.access import CallerDep
from liaoliao.server.page.attachments import read_upload
from liaoliao.server.page.views import PersonaView, persona_view
from liaoliao.server.page.work import in_store
from liaoliao.store import Store
from liaoliao.store.records import Persona

router = APIRouter(prefix="/api", tags=["page"], route_class=StrictRoute, responses=FAILURES)

Name: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS, pattern=r"\S")]
Words: TypeAlias = Annotated[str, Field(max_length=MAX_TEXT_CHARS)]
_MEDIA_TYPES: Final = ((b"\x89PNG", "image/png"), (b"\xff\xd8\xff", "image/jpeg"), (b"RIFF", "image/webp"))


class NewPersona(Wire):
    """A character. All texts but the name may be empty, and hold {{char}} and {{user}}."""

    name: Name
    description: Words = ""
    system_prompt: Words = ""
    greeting: Words = ""
    example: Words = ""


class Change(Wire):
    """What is to be different; fields that are not named stay as they are, whatever stands for them here."""

    name: Name = "?"
    description: Words = ""
    system_prompt: Words = ""
    greeting: Words = ""
    example: Words = ""


class Personas(Shape):
    """All characters of an account."""

    personas: list[PersonaView]


class Imported(Shape):
    """A character from a card; `unused` names the parts of it that have no effect here."""

    persona: PersonaView
    unused: list[str]


def _store(request: Request) -> Store:
    store: Store = request.app.state.store
    return store


@router.get("/personas")
async def personas(caller: CallerDep, request: Request) -> Personas:
    """One's characters."""
    found = await in_store(_store(request).personas, caller.account.id)
    return Personas(personas=[persona_view(persona) for persona in found])


@router.post("/personas", status_code=201)
async def new_persona(body: NewPersona, caller: CallerDep, request: Request) -> PersonaView:
    """Invent one."""
    fields = body.model_dump()
    return persona_view(await in_store(_store(request).add_persona, caller.account.id, **fields))


@router.post("/personas/import", status_code=201)
async def import_persona(
    file: Annotated[UploadFile, File()], caller: CallerDep, request: Request
) -> Imported:
    """Take one over from a character card."""
    data = await read_upload(file, MAX_CARD_BYTES)
    persona, unused = await in_store(_import, _store(request), caller.account.id, data)
    return Imported(persona=persona_view(persona), unused=list(unused))


@router.get("/personas/{persona_id}")
async def persona(persona_id: str, caller: CallerDep, request: Request) -> PersonaView:
    """One of them."""
    return persona_view(await in_store(_store(request).persona, caller.account.id, persona_id))


@router.patch("/personas/{persona_id}")
async def change(persona_id: str, body: Change, caller: CallerDep, request: Request) -> PersonaView:
    """Make it another; conversations with it go on with what it is then."""
    changes = {name: getattr(body, name) for name in body.model_fields_set}
    if not changes:
        raise ApiError("Nothing is to be changed; name a field.", code="no_change")
    update = _store(request).update_persona
    return persona_view(await in_store(update, caller.account.id, persona_id, **changes))


@router.delete("/personas/{persona_id}", status_code=204)
async def delete(persona_id: str, caller: CallerDep, request: Request) -> Response:
    """Forget it; conversations with it stay, and go on without it."""
    await in_store(_store(request).delete_persona, caller.account.id, persona_id)
    return Response(status_code=204)


@router.get("/personas/{persona_id}/avatar", response_class=Response)
async def avatar(persona_id: str, caller: CallerDep, request: Request) -> Response:
    """Its picture; 404 for one without."""
    picture = (await in_store(_store(request).persona, caller.account.id, persona_id)).avatar
    media_type = next((kind for magic, kind in _MEDIA_TYPES if picture and picture.startswith(magic)), None)
    if picture is None or media_type is None:
        raise NotFoundError("this persona has no picture")
    return Response(picture, media_type=media_type, headers={"content-disposition": "inline"})


def _import(store: Store, account_id: str, data: bytes) -> tuple[Persona, tuple[str, ...]]:
    card = read_card(data)
    kept = store.add_persona(
        account_id, name=card.name, description=card.description, system_prompt=card.system_prompt,
        greeting=card.greeting, example=card.example, avatar=card.avatar, source=card.source,
    )  # fmt: skip
    return kept, card.unused
