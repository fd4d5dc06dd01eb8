"""GET /health: the process is up. GET /ready: it would take a request now.

    GET /ready  ->  200 {"status": "ready", "models": ["current"]}, or 503 {"status": "draining", "models": [...]}

Both answer without a key.
"""

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

router = APIRouter(tags=["service"])


class Health(BaseModel):
    """The process is up."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether requests are taken, and for which models."""

    status: Literal["ready", "loading", "draining"]
    models: list[str]


@router.get("/health")
async def health() -> Health:
    """Whether the process answers."""
    return Health()


@router.get("/ready", responses={503: {"model": Readiness, "description": "Not now"}})
async def ready(request: Request, response: Response) -> Readiness:
    """Whether a request would be taken now."""
    state = request.app.state
    models = sorted(getattr(state, "models", {}))
    status: Literal["ready", "loading", "draining"] = "ready" if models else "loading"
    if state.draining:
        status = "draining"
    response.status_code = 200 if status == "ready" else 503
    return Readiness(status=status, models=models)
