"""A tiny random model with a tokenizer of its own, as an assistant."""

import pytest
import torch

from liaoliao.chat.assistant import Assistant
from liaoliao.engine.engine import Engine
from liaoliao.engine.runner import TorchRunner
from liaoliao.model.config import ModelConfig
from liaoliao.model.transformer import Transformer
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.tokenizer import Tokenizer
from tests.text.strategies import CHINESE, ENGLISH

MAX_LENGTH = 64


@pytest.fixture(scope="session")
def roomy() -> Assistant:
    """The same with a context of 512 tokens, enough for every question of the town."""
    torch.manual_seed(0)
    tokenizer = Tokenizer.train([ENGLISH, CHINESE], vocab_size=400)
    config = ModelConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        head_dim=16,
        max_position_embeddings=512,
    )
    model = Transformer(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # far from uniform, so that a mistake shows
            parameter.add_(torch.randn_like(parameter) * 0.3)
    return Assistant(Engine(model, max_running=8), tokenizer, ChatTemplate(tokenizer))


@pytest.fixture(scope="session")
def tiny(roomy: Assistant) -> Assistant:
    """A context of 64 tokens, so that windows are needed."""
    assert isinstance(roomy.engine.runner, TorchRunner)
    engine = Engine(roomy.engine.runner.model, max_running=8, max_length=MAX_LENGTH)
    return Assistant(engine, roomy.tokenizer, roomy.template)
