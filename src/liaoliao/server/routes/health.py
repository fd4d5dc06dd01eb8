"""GET /health: the process is up. GET /ready: it would take a request now.

    GET /ready  ->  200 {"status": "ready", "models": ["current"]}
                ->  503 {"status": "draining", "models": []}       it stops
                ->  503 {"status": "unavailable", "models": []}    no replica of any model is up, or its engine has ended

Both answer without a key.
"""

from collections.abc import Mapping
from typing import Literal, TypeAlias

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from liaoliao.server.served import ServedModel

router = APIRouter(tags=["service"])
Status: TypeAlias = Literal["ready", "loading", "unavailable", "draining"]


class Health(BaseModel):
    """The process is up."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether requests are taken, and for which models."""

    status: Status
    models: list[str]


@router.get("/health")
async def health() -> Health:
    """Whether the process answers."""
    return Health()


@router.get("/ready", responses={503: {"model": Readiness, "description": "Not now"}})
async def ready(request: Request, response: Response) -> Readiness:
    """Whether a request would be taken now. One model that takes it is enough: others may be those of runs."""
    state = request.app.state
    models: Mapping[str, ServedModel] = getattr(state, "models", {})
    accepting = sorted(name for name, served in models.items() if served.engine.accepting)
    status: Status = "ready" if accepting else "unavailable" if models else "loading"
    if state.draining:
        status, accepting = "draining", []
    response.status_code = 200 if status == "ready" else 503
    return Readiness(status=status, models=accepting)
