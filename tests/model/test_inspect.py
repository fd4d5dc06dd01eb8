"""Oracle: attention, lens and probabilities are those that `transformers` gives; what was read before changes nothing."""

import math
import random
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

import pytest
import torch
from torch import Tensor

from liaoliao.engine.runner import TorchRunner
from liaoliao.errors import ContextLengthError, RequestError
from liaoliao.model import inspect
from liaoliao.model.checkpoint import load_model
from liaoliao.model.config import Family
from liaoliao.model.inspect import NUM_ALTERNATIVES, NUM_LENS, Choice, Inspector, Look
from tests.engine.models import CONTEXT, MODEL, VOCAB, make_model, prompts
from tests.model.test_convert import FAMILIES, foreign_model

TEXT = tuple(random.Random(3).randrange(90) for _ in range(40))


def assert_likeliest(choices: tuple[Choice, ...], logits: Tensor, count: int) -> None:
    """`choices` are the first `count` of a distribution, best first."""
    probs, ids = logits.double().softmax(-1).topk(count)
    assert [choice.prob for choice in choices] == pytest.approx(probs.tolist(), rel=1e-3, abs=1e-6)
    known = dict(zip(ids.tolist(), probs.tolist(), strict=True))
    assert all(known.get(c.token_id, probs[-1]) == pytest.approx(c.prob, rel=1e-3, abs=1e-6) for c in choices)


def assert_same_look(one: Look, other: Look) -> None:
    torch.testing.assert_close(one.attention, other.attention, atol=1e-5, rtol=1e-4)
    assert one.token.rank == other.token.rank and one.token.prob == pytest.approx(other.token.prob, rel=1e-4)
    assert one.token.entropy_bits == pytest.approx(other.token.entropy_bits, abs=1e-4)
    for mine, theirs in zip((one.alternatives, *one.lens), (other.alternatives, *other.lens), strict=True):
        assert [c.prob for c in mine] == pytest.approx([c.prob for c in theirs], rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_all_that_is_seen_is_what_transformers_computes(family: Family, seed: int, tmp_path: Path) -> None:
    theirs = foreign_model(family, seed)
    theirs.save_pretrained(tmp_path)
    theirs.set_attn_implementation("eager")
    told = theirs(torch.tensor([TEXT]), output_attentions=True, output_hidden_states=True)
    inspector = Inspector(load_model(tmp_path))
    for position in (17, 1, 39, 16, 32):
        look = inspector.look(TEXT, position)
        expected = torch.stack([layer[0, :, position - 1, :position] for layer in told.attentions])
        torch.testing.assert_close(look.attention, expected, atol=1e-5, rtol=1e-3)
        *states, last = (state[0, position - 1] for state in told.hidden_states)  # the last is normed already
        lens = [*(theirs.lm_head(theirs.model.norm(state)) for state in states), theirs.lm_head(last)]
        for choices, layer in zip(look.lens, lens, strict=True):
            assert_likeliest(choices, layer, NUM_LENS)
        logits = told.logits[0, position - 1]
        assert_likeliest(look.alternatives, logits, NUM_ALTERNATIVES)
        probs = logits.double().softmax(-1)
        assert look.token.token_id == TEXT[position]
        assert look.token.prob == pytest.approx(float(probs[TEXT[position]]), rel=1e-3)
        assert look.token.rank == 1 + int((logits > logits[TEXT[position]]).sum())
        entropy = float(torch.special.entr(probs).sum()) / math.log(2)
        assert look.token.entropy_bits == pytest.approx(entropy, abs=1e-3)


def test_what_was_read_before_changes_nothing() -> None:
    """Texts that part anywhere from the one before, in any order, are seen as by fresh eyes."""
    rng, used, text = random.Random(0), Inspector(MODEL), [1, 2]
    for _ in range(30):
        text = text[: rng.randint(0, len(text))]
        text += [rng.randrange(VOCAB) for _ in range(rng.randint(2, max(2, CONTEXT - len(text))))][
            : CONTEXT - len(text)
        ]
        position, fresh = rng.randint(1, len(text) - 1), Inspector(MODEL)
        assert_same_look(used.look(text, position), fresh.look(text, position))
        alike = zip(used.score(text), fresh.score(text), strict=True)
        assert all(one.prob == pytest.approx(other.prob, rel=1e-3) for one, other in alike)


@pytest.mark.parametrize("read_tokens", [1, 7, 512])
def test_scores_are_those_of_the_engine(monkeypatch: pytest.MonkeyPatch, read_tokens: int) -> None:
    """However it is cut into passes, and whatever part is asked for."""
    monkeypatch.setattr(inspect, "READ_TOKENS", read_tokens)
    monkeypatch.setattr(inspect, "PIECE_BYTES", 5 * 4 * VOCAB)
    inspector = Inspector(MODEL)
    for text in prompts(4, seed=1, longest=CONTEXT):
        text = (*text, 5, 7)
        [logprobs] = TorchRunner(MODEL).score([text])
        scored = inspector.score(text)
        assert [s.token_id for s in scored] == list(text[1:])
        assert [math.log(s.prob) for s in scored] == pytest.approx(logprobs[1:], abs=1e-4)
        again = [*inspector.score(text, len(text) - 2), inspector.look(text, 1).token]
        for one, other in zip(again, (*scored[-2:], scored[0]), strict=True):
            assert astuple(one) == pytest.approx(astuple(other), rel=1e-4)


def test_a_text_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    inspector, read, one_pass = Inspector(MODEL), list[int](), Inspector._pass

    def counted(self: Inspector, token_ids: Sequence[int], start: int) -> Tensor:
        read.append(len(token_ids))
        return one_pass(self, token_ids, start)

    monkeypatch.setattr(Inspector, "_pass", counted)
    text = [token_id % VOCAB for token_id in TEXT]
    inspector.score(text[:30])
    inspector.look(text[:30], 12)
    inspector.look(text[:20], 19)
    assert read == [30]
    inspector.look([*text[:28], (text[28] + 1) % VOCAB, 3, 3], 30)
    assert read == [30, 3]


def test_in_bf16_it_is_about_the_same() -> None:
    text = prompts(1, seed=2, longest=CONTEXT)[0]
    half = Inspector(make_model().to(torch.bfloat16)).look(text, len(text) - 1)
    full = Inspector(MODEL).look(text, len(text) - 1)
    assert half.attention.dtype == torch.float32
    torch.testing.assert_close(half.attention.sum(-1), torch.ones(half.attention.shape[:2]))
    assert (half.attention - full.attention).abs().max() < 0.1
    assert half.token.entropy_bits == pytest.approx(full.token.entropy_bits, abs=0.3)


def test_what_cannot_be_looked_at() -> None:
    inspector = Inspector(MODEL, memory_bytes=3 * 2 * 2 * 8 * 2 * 16 * 4)  # two layers, two heads of eight
    for position in (0, -1, 4):
        with pytest.raises(RequestError, match="from 1 to 3"):
            inspector.look((1, 2, 3, 4), position)
    with pytest.raises(RequestError, match="no choice"):
        inspector.score((1,))
    with pytest.raises(RequestError, match=f"0 to {VOCAB - 1}"):
        inspector.score((1, VOCAB))
    with pytest.raises(ContextLengthError, match="48 are possible"):
        inspector.score((1,) * 49)
    assert len(inspector.score((1,) * 48)) == 47
    assert Inspector(MODEL, memory_bytes=10**9).max_tokens == CONTEXT
