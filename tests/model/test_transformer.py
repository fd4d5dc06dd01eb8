"""What is ours alone in the model: how it begins, and that rows, segments and caches agree."""

import math
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from liaoliao.model.cache import PagedCache, Span
from liaoliao.model.config import ModelConfig
from liaoliao.model.transformer import Block, Transformer, packed_sight


def model(depth: int = 2) -> Transformer:
    return Transformer(ModelConfig.from_depth(depth, 300)).init_weights(0)


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", [{}, {"qk_norm": False}, {"qk_norm": False, "attention_bias": True}])
def test_a_config_tells_the_shape_of_every_weight(kind: dict[str, Any], tied: bool) -> None:
    config = ModelConfig(97, 48, 40, 3, 4, 2, 16, tie_word_embeddings=tied, **kind)
    built = [(name, tuple(parameter.shape)) for name, parameter in Transformer(config).named_parameters()]
    assert list(config.parameter_shapes()) == built
    assert config.num_parameters() == sum(math.prod(shape) for _, shape in built)


def test_the_first_head_begins_by_looking_one_token_back() -> None:
    """Most of its attention goes to the token before, wherever in the row and whatever the tokens are."""
    network = model()
    token_ids = torch.randint(0, 300, (1, 64))
    layer = network.model.layers[0]
    assert isinstance(layer, Block)
    x = layer.input_layernorm(network.model.embed_tokens(token_ids))
    cos, sin = network.rotary(torch.arange(64).unsqueeze(0), torch.float32)
    query, key, _ = layer.self_attn._project(x, cos, sin)
    scores = query[0, 0] @ key[0, 0].T / 8 + packed_sight(token_ids, None, torch.float32).mask[0]
    before = scores.softmax(-1)[8:].diagonal(offset=7)
    assert before.min() > 0.5 and before.mean() > 0.8


def test_a_fresh_model_is_the_identity_in_its_layers_and_guesses_evenly() -> None:
    network = model()
    token_ids = torch.randint(0, 300, (2, 10))
    hidden = network.hidden(token_ids)
    torch.testing.assert_close(hidden, network.model.norm(network.model.embed_tokens(token_ids)))
    logprobs = network(token_ids).log_softmax(-1)
    entropy = -(logprobs.exp() * logprobs).sum(-1)
    assert entropy.min() > 0.95 * torch.tensor(300.0).log()


def test_the_same_seed_draws_the_same_weights() -> None:
    first, second = model(), model()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@torch.no_grad()
def test_a_document_reads_the_same_alone_packed_and_through_a_cache() -> None:
    network = model()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.1)
    document, other = torch.randint(0, 300, (1, 150)), torch.randint(0, 300, (1, 90))
    alone = network.hidden(document)
    packed = torch.cat([other, document], dim=1)
    segments = torch.tensor([[1] * 90 + [2] * 150])
    positions = torch.cat([torch.arange(90), torch.arange(150)]).unsqueeze(0)
    in_row = network.hidden(packed, positions=positions, segment_ids=segments)[:, 90:]
    torch.testing.assert_close(in_row, alone, atol=1e-4, rtol=1e-4)
    cache, table = PagedCache(network.config, num_blocks=10), [3, 1, 4, 9, 5, 2, 6, 8, 7, 0]
    spans = [Span(table, 0, 60), Span(table, 60, 60), Span(table, 120, 28), Span(table, 148, 2)]
    parts = (document[:, :60], document[:, 60:120], document[:, 120:148], F.pad(document[:, 148:], (0, 2)))
    pieces = [network.hidden(part, cache=cache.view([s])) for part, s in zip(parts, spans, strict=True)]
    torch.testing.assert_close(torch.cat(pieces, dim=1)[:, :150], alone, atol=1e-4, rtol=1e-4)


def test_packed_rows_say_how_far_back_anyone_looks() -> None:
    """Documents of 100 tokens in a row of 400: no block of queries looks back beyond its first document's start."""
    segments = (torch.arange(400) // 100 + 1).unsqueeze(0)
    sight = packed_sight(segments, segments, torch.float32)
    assert sight.first_keys == (0, 100, 200, 300)
