"""CpuRunner: close to the torch model in fp32, and the same bits however its work is cut."""

import dataclasses
import gc
import os
import random
from collections.abc import Iterator
from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from liaoliao.engine.cpu.runner import CpuRunner, default_threads
from liaoliao.engine.cpu.weights import WeightDtype, unfit
from liaoliao.engine.runner import BLOCK_SIZE, Row, Runner, TorchRunner
from liaoliao.errors import RequestError
from liaoliao.model.config import ModelConfig
from liaoliao.model.quantize import quantize_int4, quantize_int8
from liaoliao.model.transformer import Transformer
from tests.engine.cpu.models import CONTEXT, FAMILIES, VOCAB, make_model, random_ids

SMALL = 2**22  # bytes of key-value memory
TABLE = list(range(CONTEXT // BLOCK_SIZE))


@cache
def runner(family: str = "qwen3", dtype: WeightDtype = "bf16", threads: int = 1) -> CpuRunner:
    return CpuRunner(make_model(family), dtype, kv_cache_bytes=SMALL, num_threads=threads)


@cache
def reference(family: str) -> TorchRunner:
    return TorchRunner(make_model(family), kv_cache_bytes=SMALL)


def whole(of: Runner, ids: list[int]) -> Tensor:
    return of.forward([Row(ids, 0, TABLE, len(ids))]).clone()


def relative_error(got: Tensor, expected: Tensor) -> float:
    return float((got - expected).norm() / expected.norm())


# ---------------------------------------------------------------- close to the reference


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("dtype", "error"), [("bf16", 0.012), ("int8", 0.03)])
def test_logits_are_near_those_of_fp32(family: str, dtype: WeightDtype, error: float) -> None:
    ids = random_ids(1, CONTEXT)
    expected = whole(reference(family), ids)
    assert relative_error(whole(runner(family, dtype), ids), expected) < error


@pytest.mark.parametrize("family", FAMILIES)
def test_bf16_is_as_near_as_torch_in_bf16_and_chooses_alike(family: str) -> None:
    """200 positions: our greedy choice is fp32's wherever fp32 is not itself in doubt (its best two within 2%)."""
    ids = random_ids(2, CONTEXT)
    expected, got = whole(reference(family), ids), whole(runner(family), ids)
    plain = whole(TorchRunner(make_model(family).bfloat16(), kv_cache_bytes=SMALL), ids)
    assert relative_error(got, expected) < relative_error(plain, expected)
    best = expected.topk(2).values
    sure = best[:, 0] - best[:, 1] > 0.02 * expected.abs().amax(1)
    assert torch.equal(got.argmax(1)[sure], expected.argmax(1)[sure])
    assert float(sure.float().mean()) > 0.8


@pytest.mark.parametrize("dtype", ["int8", "int4"])
@pytest.mark.parametrize("family", ["qwen3", "llama"])
def test_quantised_models_are_their_dequantised_weights(family: str, dtype: WeightDtype) -> None:
    """What is left is rounding the activations to 8 bits."""
    ids = random_ids(3, CONTEXT)
    rounded = TorchRunner(dequantised(family, dtype), kv_cache_bytes=SMALL)
    assert relative_error(whole(runner(family, dtype), ids), whole(rounded, ids)) < 0.02


def dequantised(family: str, dtype: WeightDtype) -> Transformer:
    """In fp32, but with the numbers that the packed weights stand for. int4 keeps embedding and first layer finer."""
    model = untied(make_model(family))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                fine = dtype == "int8" or "embed" in name or "layers.0." in name
                quantize = quantize_int8 if fine else quantize_int4
                parameter.copy_(quantize(parameter).dequantize())
    return model


def untied(model: Transformer) -> Transformer:
    """The same model with a head of its own."""
    if not model.config.tie_word_embeddings:
        return model
    free = Transformer(dataclasses.replace(model.config, tie_word_embeddings=False))
    free.load_state_dict({**model.state_dict(), "lm_head.weight": model.output_weight})
    return free.eval()


@pytest.mark.parametrize("dtype", ["bf16", "int4"])
def test_score_and_embed_agree_with_the_reference(dtype: WeightDtype) -> None:
    texts = [random_ids(seed, length) for seed, length in enumerate((CONTEXT, 1, 17, 2, 33))]
    ours = runner("llama", dtype)
    model = make_model("llama") if dtype == "bf16" else dequantised("llama", dtype)
    expected = TorchRunner(model, kv_cache_bytes=SMALL)
    pairs = zip(ours.score([*texts, []]), expected.score([*texts, []]), strict=True)
    for got, wanted in pairs:
        assert got[:1] == wanted[:1]
        torch.testing.assert_close(torch.tensor(got), torch.tensor(wanted), atol=0.05, rtol=0.02)
    assert relative_error(ours.embed(texts), expected.embed(texts)) < 0.02
    with pytest.raises(RequestError, match="empty"):
        ours.embed([[]])


def test_a_text_in_pieces_is_the_same_while_others_go_on() -> None:
    ids, ours = random_ids(6, CONTEXT), runner()
    means, scores, logits = ours.embed([ids]), ours.score([ids])[0], whole(ours, ids)
    states, pieces = [], []
    for state, piece in zip(ours.text_hidden(ids), ours.text_logits(ids), strict=False):
        states.append(state.clone())
        pieces.append(piece.clone())
        ours.forward([Row(random_ids(7, 5), 0, [0], 1)])
    assert torch.allclose(torch.cat(states).mean(0), means[0], atol=1e-5)
    assert torch.equal(torch.cat(pieces), logits)
    assert scores[1:] == pytest.approx(
        torch.cat(pieces).log_softmax(1)[:-1][range(len(ids) - 1), ids[1:]].tolist(), abs=1e-5
    )


def test_score_is_the_log_softmax_of_forward() -> None:
    ids, ours = random_ids(5, 100), runner()
    logprobs = whole(ours, ids).log_softmax(1)
    expected = [0.0, *(float(logprobs[i, token]) for i, token in enumerate(ids[1:]))]
    assert ours.score([ids])[0] == pytest.approx(expected, abs=1e-5)


# ---------------------------------------------------------------- the same bits


@given(
    seed=st.integers(0, 10**6),
    case=st.sampled_from([("qwen3", "bf16", 2), ("qwen2", "int8", 2), ("llama", "int4", 1)]),
)
def test_bits_do_not_depend_on_pieces_company_blocks_or_threads(
    seed: int, case: tuple[str, WeightDtype, int]
) -> None:
    family, dtype, threads = case
    rng = random.Random(seed)
    ours = runner(family, dtype, threads)
    texts = [random_ids(rng.randrange(20), rng.choice([3, 40, CONTEXT])) for _ in range(rng.randint(1, 5))]
    free = rng.sample(range(ours.num_blocks), ours.num_blocks)
    tables = [[free.pop() for _ in TABLE] for _ in texts]
    got: list[list[Tensor]] = [[] for _ in texts]
    starts = [0] * len(texts)
    while unread := [i for i, text in enumerate(texts) if starts[i] < len(text)]:
        some = rng.sample(unread, rng.randint(1, len(unread)))
        pieces = [texts[i][starts[i] :][: rng.choice([1, 2, 9, 100])] for i in some]
        rows = [Row(p, starts[i], tables[i], len(p)) for i, p in zip(some, pieces, strict=True)]
        logits = torch.split(ours.forward(rows).clone(), [len(p) for p in pieces])
        for i, piece, part in zip(some, pieces, logits, strict=True):
            starts[i] += len(piece)
            got[i].append(part)
    for text, parts in zip(texts, got, strict=True):
        assert torch.equal(torch.cat(parts), alone(family, dtype, tuple(text)))


@cache
def alone(family: str, dtype: WeightDtype, ids: tuple[int, ...]) -> Tensor:
    """Token by token, on one thread."""
    ours = runner(family, dtype, 1)
    return torch.cat([ours.forward([Row([t], i, TABLE, 1)]).clone() for i, t in enumerate(ids)])


def test_garbage_in_the_blocks_is_not_seen() -> None:
    ours, ids = runner(), random_ids(6, 21)
    clean = whole(ours, ids)
    for table in (ours._cache.keys, ours._cache.values):
        table.fill(0xFF)  # NaN in every fp16
    assert torch.equal(whole(ours, ids), clean)


def test_only_wanted_logits_come_in_the_order_of_the_rows() -> None:
    ours = runner()
    texts = [random_ids(seed, 12) for seed in range(3)]
    full = [whole(ours, text) for text in texts]
    rows = [Row(text, 0, [9 - i], n) for i, (text, n) in enumerate(zip(texts, (2, 0, 1), strict=True))]
    assert torch.equal(ours.forward(rows), torch.cat([full[0][-2:], full[2][-1:]]))
    assert ours.forward([Row(texts[0], 0, [3], 0)]).shape == (0, VOCAB)


def test_nan_reaches_the_logits() -> None:
    """A damaged weight is refused when it is packed; damage that comes later must not look like an answer."""
    ours = CpuRunner(make_model(), "int8", kv_cache_bytes=SMALL, num_threads=1)
    ours._workspace.packed.vectors[0][5] = torch.nan
    assert bool(whole(ours, random_ids(7, 20)).isnan().all())


# ---------------------------------------------------------------- edges


def test_it_is_a_runner_that_knows_its_model() -> None:
    ours = runner()
    assert isinstance(ours, Runner)
    assert (ours.vocab_size, ours.hidden_size, ours.max_length, ours.eos_token_ids) == (
        VOCAB,
        160,
        CONTEXT,
        (7,),
    )
    assert ours.num_blocks == SMALL // (2 * 2 * BLOCK_SIZE * 2 * 64 * 2)


@pytest.mark.parametrize(
    ("row", "told"),
    [
        (Row([VOCAB], 0, [0], 1), "vocabulary"),
        (Row([-1], 0, [0], 1), "vocabulary"),
        (Row([1], 16, [0], 1), "does not fit its 1 blocks"),
        (Row([1], CONTEXT, [*TABLE, 11], 1), f"context of {CONTEXT}"),
        (Row([1], 0, [10**6], 1), "outside of the memory"),
    ],
)
def test_compiled_code_is_not_given_what_lies_outside(row: Row, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        runner().forward([row])


def test_shapes_that_do_not_fit_are_told() -> None:
    assert unfit(make_model().config) is None
    assert "head_dim is 8" in str(unfit(ModelConfig(61, 32, 96, 1, 4, 4, 8)))


def test_threads_follow_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert default_threads() == 1
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert 1 <= default_threads() <= (os.cpu_count() or 1)


@pytest.fixture
def two_threads() -> Iterator[CpuRunner]:
    ours = CpuRunner(make_model(), "bf16", kv_cache_bytes=SMALL, num_threads=2)
    yield ours
    ours.close()


def test_a_closed_runner_starts_again(two_threads: CpuRunner) -> None:
    ids = random_ids(8, 30)
    first = whole(two_threads, ids)
    two_threads.close()
    assert torch.equal(whole(two_threads, ids), first)


def test_memory_goes_with_the_runner() -> None:
    ours = CpuRunner(make_model(), "bf16", kv_cache_bytes=SMALL, num_threads=2)
    whole(ours, random_ids(9, 5))
    before = open_files()
    del ours
    gc.collect()
    assert open_files() < before  # what its helper slept on is gone, and so is the helper


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  # counted, not used as paths
