"""POST /v1/embeddings: the vectors of texts, by a model made for retrieval where that is asked for by its name.

    {"model": "current", "input": ["the cat", "猫"], "encoding_format": "float"}
        ->  {"data": [{"embedding": [0.03, ...], "index": 0, ...}, ...], ...}

A model that talks gives the mean of a text's last hidden states, at length 1. It was trained to write: near texts tend to
lie near each other, but a model made for retrieval (`server.retrieval`) does it better.
"""

import base64
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from liaoliao.server.body import StrictRoute, off_loop
from liaoliao.server.failures import ApiError
from liaoliao.server.openai import Label
from liaoliao.server.openai_completions import IdLists, Ids, Prompts, Texts, read_prompts, size_of_prompts
from liaoliao.server.openai_shapes import FAILURES, EmbeddingList
from liaoliao.server.reply import LARGE_CHARS
from liaoliao.server.retrieval import RetrievalModel
from liaoliao.server.served import Charge, ServedModel, charge_of, paid_ahead, pick
from liaoliao.server.sse import finish
from liaoliao.server.written import LARGE_VALUES, json_response

router = APIRouter(prefix="/v1", tags=["openai"], route_class=StrictRoute)


class EmbeddingRequest(Prompts):
    """The body of POST /v1/embeddings."""

    input: Annotated[str, Field(min_length=1)] | Texts | Ids | IdLists
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = Field(None, ge=1, description="The model's own number, or left out.")
    user: Label | None = Field(None, description="Accepted; it has no effect.")


@router.post(
    "/embeddings", responses={200: {"model": EmbeddingList, "description": "The vectors"}, **FAILURES}
)
async def embeddings(body: EmbeddingRequest, request: Request) -> Response:
    """Vectors that stand for texts."""
    if isinstance(body.input, list) and "" in body.input:
        raise ApiError("Invalid value for 'input': a text is empty", param="input")
    retrieval: Mapping[str, RetrievalModel] = request.app.state.retrieval
    charge = charge_of(request)
    if body.model in retrieval:
        work = retrieval[body.model].embed(_texts(body), charge=charge)
    else:
        work = _pooled(body, pick(request, body.model), charge)
    vectors, num_tokens = await finish(request, work)
    _check_dimensions(body.dimensions, vectors.shape[-1])
    large = vectors.numel() > LARGE_VALUES
    return await off_loop(large, _response, body, vectors, num_tokens, in_pieces=large)


def _response(
    body: EmbeddingRequest, vectors: Float[Tensor, "B D"], num_tokens: int, *, in_pieces: bool
) -> Response:
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(_written(vectors, as_base64=body.encoding_format == "base64"))
    ]
    usage = {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
    told = {"object": "list", "data": data, "model": body.model, "usage": usage}
    return json_response(told, in_pieces=in_pieces)


async def _pooled(
    body: EmbeddingRequest, served: ServedModel, charge: Charge
) -> tuple[Float[Tensor, "B D"], int]:
    """The mean hidden states of a model that talks, each at length 1, and the tokens they are of."""
    large = size_of_prompts(body.input) > LARGE_CHARS
    texts = await off_loop(large, read_prompts, body.input, served, parse_special=bool(body.parse_special))
    ids = [text.token_ids for text in texts]
    num_tokens = sum(map(len, ids))
    with paid_ahead(charge, num_tokens):
        vectors = (await served.engine.embed(ids)).float().cpu()
    return vectors / vectors.norm(dim=-1, keepdim=True).clamp(min=1e-12), num_tokens


def _texts(body: EmbeddingRequest) -> list[str]:
    """The texts for a model whose tokenizer is its own business."""
    if body.parse_special is not None:
        raise ApiError(
            "Invalid value for 'parse_special': this model reads a text in its own way; leave it out",
            param="parse_special",
        )
    several: Sequence[Any] = [body.input] if isinstance(body.input, str) else body.input
    if not all(isinstance(text, str) for text in several):
        raise ApiError(
            "Invalid value for 'input': this model reads texts, not token ids, which would be those of another one's "
            "vocabulary",
            param="input",
        )
    return list(several)


def _written(vectors: Float[Tensor, "B D"], *, as_base64: bool) -> list[Any]:
    """Each vector as numbers, or as base64 of little-endian float32."""
    if as_base64:
        return [base64.b64encode(row.numpy().astype("<f4").tobytes()).decode("ascii") for row in vectors]
    return [row.tolist() for row in vectors]  # not all at once: that, too, is one call into C


def _check_dimensions(wanted: int | None, own: int) -> None:
    if wanted not in (None, own):
        raise ApiError(
            f"Invalid value for 'dimensions': this model's vectors have {own} numbers, and parts of them mean "
            "nothing; leave it out",
            param="dimensions",
        )  # fmt: skip
