"""/api/messages/{id}/xray: what happened inside while an answer was made.

    GET /api/messages/{id}/xray             ->  the prompt token by token, and the answer's tokens with their probabilities
    GET /api/messages/{id}/xray/7           ->  what else could have come in place of token 7, what each layer would have
                                                said, and where each head looked
    GET /api/messages/{id}/xray/7?at=prompt     the same for a token of the prompt

    stored answer ──slide──> model, prompts, tokens ──glass──> an Inspector's figures ──xray_views──> JSON

All figures are the bare model's, before temperature and penalties, computed anew from its weights; so the model that
made the answer must be the one that answers now. An answer that no model here made is looked at as the template would
write it: how likely the model finds these words.
"""

import time
from typing import Annotated, Final, Literal

from fastapi import APIRouter, Path, Query, Request

from liaoliao.model.inspect import Inspector, Scored
from liaoliao.server.body import StrictRoute
from liaoliao.server.openai_shapes import FAILURES
from liaoliao.server.page.access import Caller, CallerDep
from liaoliao.server.page.answering import current_model
from liaoliao.server.page.glass import glass_of
from liaoliao.server.page.slide import Slide, slide_of
from liaoliao.server.page.trace import Trace
from liaoliao.server.page.work import in_store
from liaoliao.server.page.xray_views import LookView, XRayView, look_view, xray_view

router = APIRouter(prefix="/api", tags=["page"], route_class=StrictRoute)

_MOST: Final = 2**31 - 1


@router.get("/messages/{message_id}/xray", responses=FAILURES)
async def xray(message_id: str, caller: CallerDep, request: Request) -> XRayView:
    """An answer, token by token, with the prompt that the model really saw."""
    began, glass = time.perf_counter(), glass_of(request.app)
    slide = await _slide(request, caller, message_id)
    scored = await glass.ask(slide.served, lambda inspector: _scored(inspector, slide.trace))
    return xray_view(slide, scored, dtype=glass.dtype, took_ms=_since(began))


@router.get("/messages/{message_id}/xray/{index}", responses=FAILURES)
async def look(
    message_id: str,
    index: Annotated[int, Path(ge=0, le=_MOST)],
    caller: CallerDep,
    request: Request,
    at: Annotated[Literal["answer", "prompt"], Query()] = "answer",
) -> LookView:
    """One token: what else could have come, what each layer would have said, and where the model looked."""
    began, glass = time.perf_counter(), glass_of(request.app)
    slide = await _slide(request, caller, message_id)
    place = slide.in_answer(index) if at == "answer" else slide.in_prompt(index)
    found = await glass.ask(slide.served, lambda inspector: inspector.look(place.token_ids, place.position))
    context = place.token_ids[: place.position]
    return look_view(slide, found, context, dtype=glass.dtype, took_ms=_since(began))


async def _slide(request: Request, caller: Caller, message_id: str) -> Slide:
    state = request.app.state
    models, current = dict(state.models), current_model(request)
    return await in_store(slide_of, state.store, caller.account, message_id, models, current)


def _scored(inspector: Inspector, trace: Trace) -> list[Scored]:
    """The figures of all tokens of an answer; a later round has read most of its prompt with the one before."""
    rounds = [one for one in trace.rounds if one.made]
    return [scored for one in rounds for scored in inspector.score(one.token_ids, len(one.prompt))]


def _since(began: float) -> float:
    return round(1000 * (time.perf_counter() - began), 1)
