"""A server whose model "current" says what the examples can be held to, and "tiny" is a real one of random weights."""

from collections.abc import Iterator, Sequence

import pytest

from liaoliao.chat.tools import ToolBox
from liaoliao.engine.async_engine import AsyncEngine
from liaoliao.engine.engine import Engine
from liaoliao.engine.grammar import GrammarCompiler
from liaoliao.messages import Message, ToolCall
from liaoliao.server.app import create_app
from liaoliao.server.served import ServedModel
from liaoliao.server.settings import Settings
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.tokenizer import Tokenizer
from tests.chat.conftest import reply_ids
from tests.engine.fake_runner import FakeRunner
from tests.server.conftest import model_folder, template, tiny, tokenizer
from tests.server.plain import running

__all__ = ["model_folder", "template", "tiny", "tokenizer"]

CONTEXT = 8192
HELLO = Message.assistant("The cat sat on the mat.")
CALL = Message.assistant(tool_calls=[ToolCall("call_0", "weather", '{"place": "lake"}')])
SUNNY = Message.assistant("It is sunny at the lake.")
FEELING = Message.assistant('{"mood": "good", "sure": true}')


class Conduct:
    """What the model says depends on its prompt alone: JSON to who asks for it, a call where there are tools, an
    answer after the result, and a sentence else.
    """

    def __init__(self, tokenizer: Tokenizer, template: ChatTemplate) -> None:
        self.tokenizer, self.template = tokenizer, template
        self._start = tokenizer.special_id("<|im_start|>")
        self._head = tokenizer.encode("assistant\n")

    def __call__(self, ids: Sequence[int]) -> int:
        if self._start not in ids:
            return self.tokenizer.eos_id
        begin = len(ids) - list(reversed(ids)).index(self._start) + len(self._head)
        said, reply = list(ids[begin:]), self._reply(list(ids[: begin - len(self._head) - 1]))
        on_track = said == reply[: len(said)] and len(said) < len(reply)
        return reply[len(said)] if on_track else self.tokenizer.eos_id

    def _reply(self, prompt: Sequence[int]) -> list[int]:
        return reply_ids(self.template, self._message(self.tokenizer.decode(prompt)))

    def _message(self, prompt: str) -> Message:
        *_, last = prompt.split("<|im_start|>")
        if last.startswith("tool"):
            return SUNNY
        if "JSON" in last:
            return FEELING
        return CALL if "<|im_start|>system\nTools:" in prompt else HELLO


@pytest.fixture(scope="session")
def current(tokenizer: Tokenizer, template: ChatTemplate) -> Iterator[ServedModel]:
    runner = FakeRunner(
        num_blocks=2048,
        vocab_size=tokenizer.vocab_size,
        max_length=CONTEXT,
        next_token=Conduct(tokenizer, template),
    )
    engine = AsyncEngine(Engine(runner))
    grammars = GrammarCompiler(tokenizer, template.stop_ids)
    yield ServedModel(
        "current", 1, tokenizer, template, engine, grammars, ToolBox(), {"temperature": 0.0}, CONTEXT
    )
    engine.close()


@pytest.fixture(scope="session")
def server(current: ServedModel, tiny: ServedModel) -> Iterator[str]:
    settings = Settings(port=0)
    with running(create_app(settings, [current, tiny]), settings) as url:
        yield url


@pytest.fixture(scope="session")
def lone_server(tiny: ServedModel) -> Iterator[str]:
    """The real model alone: lm-evaluation-harness asks for "the" tokenizer of a server."""
    settings = Settings(port=0)
    with running(create_app(settings, [tiny]), settings) as url:
        yield url
