"""A tokenizer, a template, and an engine that says what a script tells it to."""

from collections.abc import Callable, Iterator, Sequence

import pytest

from liaoliao.engine.request import Request, TokenEvent
from liaoliao.messages import Message
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.tokenizer import Tokenizer

Generate = Callable[[Request], Iterator[TokenEvent]]


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(["the cat sat on the mat, two and three are 5", "猫坐在垫子上，你好"] * 4, 330)


@pytest.fixture(scope="session")
def template(tokenizer: Tokenizer) -> ChatTemplate:
    return ChatTemplate(tokenizer)


def reply_ids(template: ChatTemplate, reply: Message) -> list[int]:
    """What a model emits to say this message, the stop token included."""
    prompt = template.render([Message.user("x")], add_generation_prompt=True).token_ids
    whole = template.render([Message.user("x"), reply]).token_ids
    return whole[len(prompt) : whole.index(template.stop_ids[0], len(prompt)) + 1]


class Script:
    """Says one reply after the other, and remembers what it was asked and how far it was listened to."""

    def __init__(self, template: ChatTemplate, replies: Sequence[Message]) -> None:
        self.template, self.replies = template, list(replies)
        self.requests: list[Request] = []
        self.num_said = 0

    def __call__(self, request: Request) -> Iterator[TokenEvent]:
        self.requests.append(request)
        for token_id in reply_ids(self.template, self.replies.pop(0)):
            self.num_said += 1
            yield TokenEvent(
                token_id, -0.5, finish_reason="stop" if token_id in request.params.stop_token_ids else None
            )
