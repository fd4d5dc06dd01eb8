"""A served model whose replies a test writes, and a real tiny one; both behind the app and over loopback.

says.chat(Message.assistant("5"))           what the next requests are answered
response = ask(app, "/v1/chat/completions", method="POST", json=...)
says.requests[-1].params                    what the engine was asked
"""

import json
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from fastapi import FastAPI

from liaoliao.chat.tools import BoundTool, ToolBox
from liaoliao.engine.async_engine import AsyncEngine
from liaoliao.engine.engine import Engine
from liaoliao.engine.grammar import GrammarCompiler
from liaoliao.engine.request import Request, TokenEvent
from liaoliao.messages import Message, Tool
from liaoliao.model.checkpoint import save_checkpoint
from liaoliao.model.config import ModelConfig
from liaoliao.model.transformer import Transformer
from liaoliao.server.app import create_app
from liaoliao.server.served import ServedModel, served_model
from liaoliao.server.settings import Settings
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.tokenizer import Tokenizer
from tests.chat.conftest import reply_ids
from tests.engine.fake_runner import FakeRunner
from tests.server.plain import ask, running

CONTEXT = 512
WORDS = ["the cat sat on the mat, two and three are 5", "猫坐在垫子上，你好", '{"a": 1, "name": "x"}\n'] * 4


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(WORDS, 340)


@pytest.fixture(scope="session")
def template(tokenizer: Tokenizer) -> ChatTemplate:
    return ChatTemplate(tokenizer)


class Says:
    """What the scripted model answers: request number i gets reply number i, and from the last on the last."""

    def __init__(self, template: ChatTemplate, tokenizer: Tokenizer) -> None:
        self.template, self.tokenizer = template, tokenizer
        self.replies: list[list[int]] = [[]]
        self.requests: list[Request] = []
        self._reply_to: dict[tuple[int, ...], list[int]] = {}

    def chat(self, *replies: Message) -> None:
        """Messages, with all the marks of the template."""
        self.ids(*(reply_ids(self.template, reply) for reply in replies))

    def text(self, *replies: str) -> None:
        """Plain words; after them comes the end."""
        self.ids(*(self.tokenizer.encode(reply) for reply in replies))

    def ids(self, *replies: Sequence[int]) -> None:
        """Token ids."""
        self.replies = [list(reply) for reply in replies]
        self.requests.clear()
        self._reply_to.clear()

    def asked(self, request: Request) -> None:
        self.requests.append(request)
        reply = self.replies[min(len(self.requests), len(self.replies)) - 1]
        self._reply_to[request.token_ids] = reply

    def __call__(self, ids: Sequence[int]) -> int:
        """The runner's question: what comes after all this?"""
        prompts = [prompt for prompt in tuple(self._reply_to) if tuple(ids[: len(prompt)]) == prompt]
        if not prompts:
            return self.tokenizer.eos_id
        prompt = max(prompts, key=len)
        reply, num_said = self._reply_to[prompt], len(ids) - len(prompt)
        return reply[num_said] if num_said < len(reply) else self.tokenizer.eos_id


class ScriptedEngine(AsyncEngine):
    """The real engine on a runner that follows a script."""

    def __init__(self, says: Says, **options: Any) -> None:
        runner = FakeRunner(
            num_blocks=256,
            vocab_size=says.tokenizer.vocab_size,
            max_length=CONTEXT,
            next_token=says,
            **options,
        )
        self.engine = Engine(runner)
        self._says = says
        super().__init__(self.engine, max_waiting=8)

    def stream(self, request: Request) -> AsyncGenerator[TokenEvent, None]:
        self._says.asked(request)
        return super().stream(request)


CALCULATOR = Tool("calculator", "Sums.", {"type": "object", "properties": {"expression": {"type": "string"}}})


@pytest.fixture(scope="session")
def scripted(tokenizer: Tokenizer, template: ChatTemplate) -> Iterator[tuple[ServedModel, Says]]:
    """A served model and what it says; its own tool reverses its arguments."""
    says = Says(template, tokenizer)
    engine = ScriptedEngine(says)
    tools = ToolBox([BoundTool(CALCULATOR, lambda arguments: arguments[::-1])])
    grammars = GrammarCompiler(tokenizer, template.stop_ids)
    yield (
        ServedModel(
            "scripted", 1, tokenizer, template, engine, grammars, tools, {"temperature": 0.0}, CONTEXT
        ),
        says,
    )
    engine.close()


@pytest.fixture
def says(scripted: tuple[ServedModel, Says]) -> Says:
    says = scripted[1]
    says.ids([])
    return says


@pytest.fixture(scope="session")
def served(scripted: tuple[ServedModel, Says]) -> ServedModel:
    return scripted[0]


@pytest.fixture(scope="session")
def app(served: ServedModel) -> FastAPI:
    return create_app(Settings(), [served], ping_every_s=5.0)


@pytest.fixture(scope="session")
def model_folder(
    tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer, template: ChatTemplate
) -> Path:
    """A checkpoint of random weights, loud enough to say different things."""
    config = ModelConfig.from_depth(1, tokenizer.vocab_size, max_position_embeddings=CONTEXT)
    model = Transformer(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.2, generator=generator)
    folder = tmp_path_factory.mktemp("served") / "tiny"
    save_checkpoint(folder, model, tokenizer, template, lineage={}, generation={"temperature": 0.7})
    return folder


@pytest.fixture(scope="session")
def tiny(model_folder: Path) -> Iterator[ServedModel]:
    """A real model, served from its folder."""
    served = served_model(model_folder, dtype="fp32")
    yield served
    served.engine.close()


@pytest.fixture(scope="session")
def server(tiny: ServedModel, served: ServedModel) -> Iterator[str]:
    """Both models on loopback: the URL."""
    settings = Settings(port=0)
    with running(create_app(settings, [tiny, served]), settings) as url:
        yield url


def post(app: FastAPI, path: str, **body: Any) -> httpx.Response:
    """A JSON request to the scripted model."""
    return ask(app, path, method="POST", json={"model": "scripted", **body})


def frames(response: httpx.Response) -> list[Any]:
    """The events of a stream, [DONE] as None; comments left out."""
    assert response.status_code == 200, response.text
    assert response.headers["content-type"].startswith("text/event-stream")
    blocks = [block for block in response.text.split("\n\n") if block and not block.startswith(":")]
    assert all(block.startswith("data: ") for block in blocks), blocks
    data = [block.removeprefix("data: ") for block in blocks]
    return [None if text == "[DONE]" else json.loads(text) for text in data]


def failure(response: httpx.Response) -> dict[str, Any]:
    """What an error envelope holds, which must be all four keys."""
    body = response.json()
    assert body.keys() == {"error"} and body["error"].keys() == {"message", "type", "param", "code"}, body
    error: dict[str, Any] = body["error"]
    return error
