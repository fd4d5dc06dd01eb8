"""The tiny random model that the engine's tests run, what it says when nothing is cached, how to run to the end, and a
grammar.
"""

import random
from functools import cache

import numpy as np
import torch

from liaoliao.engine import Engine, SamplingParams
from liaoliao.errors import RequestError
from liaoliao.model.cache import PagedCache
from liaoliao.model.config import ModelConfig
from liaoliao.model.transformer import Transformer

VOCAB, CONTEXT = 61, 64
GREEDY = SamplingParams(temperature=0.0, max_tokens=12)


def make_model(seed: int = 0, *, eos: int | None = None) -> Transformer:
    config = ModelConfig(
        vocab_size=VOCAB, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=8, max_position_embeddings=CONTEXT, eos_token_id=eos,
    )  # fmt: skip
    model = Transformer(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.4, generator=generator)
    return model.eval()


MODEL = make_model()
BLOCK_BYTES = 2 * PagedCache(MODEL.config, 1).keys.nbytes  # keys and values of one block


def prompts(count: int, seed: int = 0, longest: int = 30) -> list[tuple[int, ...]]:
    rng = random.Random(seed)
    return [tuple(rng.randrange(VOCAB) for _ in range(rng.randint(1, longest))) for _ in range(count)]


@cache
def uncached(token_ids: tuple[int, ...], max_tokens: int) -> list[int]:
    """Greedy, the whole text through the model for every token."""
    ids = list(token_ids)
    with torch.no_grad():
        for _ in range(max_tokens):
            ids.append(int(MODEL(torch.tensor([ids]))[0, -1].argmax()))
    return ids[len(token_ids) :]


def drive(engine: Engine, said: dict[int, list[int]]) -> None:
    """Step to the end; what each request says goes to its list."""
    while not engine.idle:
        for request_id, event in engine.step():
            said.setdefault(request_id, []).append(event.token_id)
        engine.check_integrity()


class Spelled:
    """A grammar of one text, of which `broken` says where it fails."""

    def __init__(self, token_ids: tuple[int, ...], broken: str = "") -> None:
        self.token_ids, self.broken, self.num_said = token_ids, broken, 0

    def start(self) -> "Spelled":
        if self.broken == "start":
            raise RequestError("this grammar cannot be begun")
        return Spelled(self.token_ids, self.broken)

    @property
    def done(self) -> bool:
        return self.num_said == len(self.token_ids)

    def mask(self) -> np.ndarray:
        if self.broken == "mask" and self.num_said == 2:
            raise RequestError("this grammar has lost its way")
        allowed = np.zeros(VOCAB, dtype=np.bool_)
        allowed[self.token_ids[self.num_said]] = True
        return allowed

    def accept(self, token_id: int) -> None:
        assert token_id == self.token_ids[self.num_said]
        self.num_said += 1
