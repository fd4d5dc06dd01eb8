"""What every chat template gives back: token ids, and for each how much is learned from predicting it.

Rendered(token_ids=[5, 9, 7], loss_weights=[0.0, 1.0, 1.0])     # 5 is the prompt, 9 and 7 the reply
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from liaoliao.errors import TemplateError
from liaoliao.messages import Message


@dataclass(frozen=True, slots=True)
class Rendered:
    """Token ids and loss weights, one each; weight i speaks about predicting token i from those before it."""

    token_ids: list[int]
    loss_weights: list[float]

    def __post_init__(self) -> None:
        assert len(self.token_ids) == len(self.loss_weights)


def refuse_images(message: Message) -> None:
    """A TemplateError for a message with an image in it."""
    if message.images:
        raise TemplateError(
            f"a {message.role} message holds an image, and this model reads text only; leave it out"
        )


def refuse_options(options: Mapping[str, Any], known: frozenset[str]) -> None:
    """A TemplateError that names the first option which is not known."""
    for name in options:
        if name not in known:
            has = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise TemplateError(f"this model's chat template has no option {name!r}; {has}")


def refuse_unless_assistant(messages: Sequence[Message]) -> None:
    """A TemplateError for a conversation whose last message is not the assistant's, to go on with."""
    if not messages or messages[-1].role != "assistant":
        raise TemplateError("only a conversation that ends with an assistant's message can go on with it")
