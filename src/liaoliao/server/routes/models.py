"""GET /v1/models and /v1/models/{id}: what is served here.

{"object": "list", "data": [{"id": "current", "object": "model", "created": 1763900000, ...}]}
"""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request

from liaoliao.server.openai_shapes import FAILURES, ModelList, ModelShape
from liaoliao.server.retrieval import RetrievalModel
from liaoliao.server.served import ServedModel, pick

router = APIRouter(prefix="/v1", tags=["openai"])


@router.get("/models", responses=FAILURES)
async def models(request: Request) -> ModelList:
    """All served models."""
    served = (*request.app.state.models.values(), *_retrieval(request).values())
    return ModelList(object="list", data=[ModelShape(**_wire(model)) for model in served])


@router.get("/models/{model:path}", responses=FAILURES)
async def model(model: str, request: Request) -> ModelShape:
    """One served model."""
    return ModelShape(**_wire(_retrieval(request).get(model) or pick(request, model)))


def _retrieval(request: Request) -> Mapping[str, RetrievalModel]:
    models: Mapping[str, RetrievalModel] = request.app.state.retrieval
    return models


def _wire(served: ServedModel | RetrievalModel) -> dict[str, Any]:
    return {
        "id": served.id, "object": "model", "created": served.created, "owned_by": "liaoliao",
        "max_model_len": served.max_length,
    }  # fmt: skip
