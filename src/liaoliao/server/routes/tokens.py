"""POST /tokenize and /detokenize, GET /tokenizer_info: the tokenizer for clients that count or score.

    POST /tokenize {"prompt": "the cat<|im_end|>"}  ->  {"count": 3, "tokens": [5, 6, 329], ...}
    POST /tokenize {"messages": [{"role": "user", "content": "hi"}]}  ->  the ids of the prompt that a chat sends
    POST /detokenize {"tokens": [5, 6, 329]}  ->  {"prompt": "the cat<|im_end|>"}

Names and forms are vLLM's, as lm-evaluation-harness speaks them. Here the name of a special token in a text
stands for the token (`"parse_special": false` reads it as a message's words would be); `model` may be left out
where one is served.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field
from starlette.responses import JSONResponse

from liaoliao.messages import Message, Tool
from liaoliao.server.body import StrictRoute, off_loop
from liaoliao.server.failures import ApiError
from liaoliao.server.logprobs import token_name
from liaoliao.server.openai import TokenId, Wire
from liaoliao.server.openai_chat import ChatMessage, ToolDefinition, to_messages, to_tool
from liaoliao.server.openai_shapes import FAILURES, Detokenized, TokenList
from liaoliao.server.reply import LARGE_CHARS, num_chars
from liaoliao.server.served import ServedModel, pick
from liaoliao.server.written import LARGE_VALUES, json_response

MAX_SIZE = 1 << 20  # characters or tokens of one request
router = APIRouter(tags=["tokens"], route_class=StrictRoute)


class TokenizeRequest(Wire):
    """A text, or messages as the chat template lays them out."""

    model: str | None = None
    prompt: str | None = Field(None, max_length=MAX_SIZE)
    messages: Annotated[list[ChatMessage], Field(min_length=1)] | None = None
    add_special_tokens: bool | None = Field(None, description="True: what the vocabulary puts before a text.")
    parse_special: bool | None = None
    return_token_strs: bool | None = None
    tools: Annotated[list[ToolDefinition], Field(max_length=128)] | None = None
    chat_template_kwargs: Annotated[dict[str, Any], Field(max_length=32)] | None = None
    add_generation_prompt: bool | None = Field(None, description="True, unless continue_final_message is.")
    continue_final_message: bool | None = None


class DetokenizeRequest(Wire):
    """Token ids."""

    model: str | None = None
    tokens: Annotated[list[TokenId], Field(max_length=MAX_SIZE, fail_fast=True)]


@router.post("/tokenize", responses={200: {"model": TokenList, "description": "The tokens"}, **FAILURES})
async def tokenize(body: TokenizeRequest, request: Request) -> Response:
    """The token ids of a text or of a conversation."""
    served = _pick(request, body.model)
    if (body.prompt is None) == (body.messages is None):
        raise ApiError("Give either 'prompt' or 'messages'.", param="prompt")
    large = body.prompt is None or len(body.prompt) > LARGE_CHARS
    return await off_loop(large, _tokenized, body, served)


@router.post("/detokenize", responses={200: {"model": Detokenized, "description": "The text"}, **FAILURES})
async def detokenize(body: DetokenizeRequest, request: Request) -> Response:
    """The text of token ids."""
    served = _pick(request, body.model)
    text = await off_loop(len(body.tokens) > LARGE_CHARS, served.tokenizer.decode, body.tokens)
    return JSONResponse({"prompt": text})


@router.get("/tokenizer_info", responses=FAILURES)
async def tokenizer_info(request: Request, model: str | None = None) -> dict[str, Any]:
    """What tokenizer_config.json says, with the chat template. The opening token is the one that a document
    begins after, so that what is scored from its first token on is scored as a document.
    """
    served = _pick(request, model)
    tokenizer, names = served.tokenizer, {i: name for name, i in served.tokenizer.special_ids.items()}
    config: Mapping[str, Any] = tokenizer.config
    return {
        **config,
        "bos_token": names.get(tokenizer.opening_id),
        "eos_token": names.get(tokenizer.eos_id),
        "pad_token": names.get(tokenizer.pad_id),
        "chat_template": served.template.jinja,
        "model_max_length": served.max_length,
        "vocab_size": tokenizer.vocab_size,
    }


def _pick(request: Request, model: str | None) -> ServedModel:
    """The model of this name; where one is served it may go without."""
    models: Mapping[str, ServedModel] = request.app.state.models
    if model is None and len(models) == 1:
        return next(iter(models.values()))
    if model is None:
        raise ApiError(
            "Missing required parameter: 'model'.", param="model", code="missing_required_parameter"
        )
    return pick(request, model)


def _tokenized(body: TokenizeRequest, served: ServedModel) -> Response:
    ids = _ids(body, served)
    names = [token_name(served.tokenizer.token_bytes(i)) for i in ids] if body.return_token_strs else None
    told = {"count": len(ids), "max_model_len": served.max_length, "tokens": ids, "token_strs": names}
    return json_response(told, in_pieces=len(ids) > LARGE_VALUES)


def _ids(body: TokenizeRequest, served: ServedModel) -> list[int]:
    tokenizer = served.tokenizer
    if body.prompt is not None:
        encode = tokenizer.encode if body.parse_special is False else tokenizer.encode_marked
        return [*(tokenizer.prefix_ids if body.add_special_tokens is not False else ()), *encode(body.prompt)]
    tools: list[Tool] = [to_tool(definition.function) for definition in body.tools or ()]
    messages: list[Message] = list(to_messages(body.messages or ()))
    if num_chars(messages) > MAX_SIZE:
        raise ApiError(
            f"Invalid value for 'messages': they have more than {MAX_SIZE} characters", param="messages"
        )
    return served.template.prompt(
        messages, tools,
        continue_final=bool(body.continue_final_message), options=body.chat_template_kwargs or {},
    )  # fmt: skip
