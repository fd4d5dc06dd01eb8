"""GET /api/models: whom one can talk to here.

    {"models": [{"id": "current", "max_length": 2048, "parameters": 15000000, ...}], "current": "current"}

Beside the models that answer at once there are those of running and finished trainings, which are loaded when first
asked ("cold").
"""

from functools import lru_cache
from pathlib import Path
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import JsonValue

from liaoliao.errors import LiaoError
from liaoliao.model.checkpoint import load_config
from liaoliao.server.body import StrictRoute
from liaoliao.server.openai_shapes import FAILURES, Shape
from liaoliao.server.page.access import CallerDep
from liaoliao.server.page.answering import current_model
from liaoliao.server.page.following import available
from liaoliao.server.page.work import in_store
from liaoliao.server.served import ServedModel

router = APIRouter(prefix="/api", tags=["page"], route_class=StrictRoute, responses=FAILURES)


class ModelView(Shape):
    """A model. `max_length` tokens for a talk and its answer; `parameters` where that is known."""

    id: str
    max_length: int | None
    version: str
    parameters: int | None
    defaults: dict[str, JsonValue]
    state: Literal["ready", "cold"]


class Models(Shape):
    """All models, and which answers where none was chosen."""

    models: list[ModelView]
    current: str


@router.get("/models")
async def models(caller: CallerDep, request: Request) -> Models:
    """Whom one can talk to."""
    served = list(request.app.state.models.values())
    ready = await in_store(lambda: [_view(model) for model in served])
    runs = await in_store(available, request.app, may_load=caller.is_admin)
    names = {view.id for view in ready}
    cold = [_cold(run.id, run.version) for run in runs if run.id not in names]
    return Models(models=[*ready, *cold], current=current_model(request))


def _view(served: ServedModel) -> ModelView:
    return ModelView(
        id=served.id, max_length=served.max_length, version=served.version,
        parameters=_num_parameters(served.folder) if served.folder else None,
        defaults=dict(served.defaults), state="ready",
    )  # fmt: skip


def _cold(model_id: str, version: str | None) -> ModelView:
    return ModelView(
        id=model_id, max_length=None, version=version or "", parameters=None, defaults={}, state="cold"
    )


@lru_cache(maxsize=64)
def _num_parameters(folder: Path) -> int | None:
    """Weights of the model in a folder, by its config; None for a config that is no longer there."""
    try:
        return load_config(folder).num_parameters()
    except LiaoError:
        return None
