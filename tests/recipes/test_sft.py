import json
import math
import shutil
from pathlib import Path

import pytest

from liaoliao.chat.assistant import load
from liaoliao.data.conversations import read_conversations
from liaoliao.errors import CheckpointError, ConfigError, DataError, UsageError
from liaoliao.model.checkpoint import load_generation, load_lineage
from liaoliao.recipes.corpus import Corpus
from liaoliao.recipes.pretrain import pretrain
from liaoliao.recipes.reporter import Silent
from liaoliao.recipes.sft import FOREIGN, GENTLE, STREAM, SftConfig, sft, sft_config, weights_digest
from liaoliao.text.chat_template import JinjaTemplate
from liaoliao.text.tokenizer import Tokenizer
from liaoliao.train.run_dir import RunDir
from tests.recipes.tiny import (
    UNRENDERABLE,
    CutAt,
    PowerCutError,
    tiny_pretrain,
    write_chats,
    write_texts,
)
from tests.text.strategies import CHINESE, ENGLISH

FOREIGN_JINJA = """\
{%- for message in messages -%}
{{- '<|im_start|>(' + message.role + ') ' + message.content + '<|im_end|>' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>(assistant) ' -}}{%- endif -%}
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    model = pretrain(tiny_pretrain(write_texts(folder), steps=4, row_length=64), folder / "run", Silent())
    assert model is not None
    return model


@pytest.fixture(scope="module")
def foreign(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of someone else: no lineage, no manifest, a chat template of its own."""
    folder = tmp_path_factory.mktemp("foreign") / "model"
    shutil.copytree(base, folder)
    for name in ("lineage.json", "manifest.json"):
        (folder / name).unlink()
    (folder / "chat_template.jinja").write_text(FOREIGN_JINJA, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_chats(tmp_path_factory.mktemp("chats"))


def tiny_sft(model: Path, chats: Path, **changes: object) -> SftConfig:
    return sft_config(str(model), (str(chats),), **{"steps": 6, "tokens_per_step": 128, **changes})


def test_it_learns_the_talk_and_names_its_parent(base: Path, chats: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    config = tiny_sft(base, chats, steps=60, optim=GENTLE)
    assert sft(config, out, Silent()) == out / "model"
    first, *_, last = [line["loss"] for line in RunDir(out).metrics() if "loss" in line]
    assert last < first / 1.5
    lineage = load_lineage(out / "model")
    assert lineage["parent"] == {"folder": str(base), "sha256": weights_digest(base)}
    assert lineage["recipe"] == "sft"
    assert weights_digest(out / "model") != weights_digest(base)
    assert load_generation(out / "model")["temperature"] == load_generation(base)["temperature"]
    assert "is at" in load(out / "model").chat("Where is Ada?", temperature=0.0).text


def test_resumed_is_the_same_run_bit_for_bit(base: Path, chats: Path, tmp_path: Path) -> None:
    config = tiny_sft(base, chats, save_every_s=0.0)
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    sft(config, whole, Silent())
    with pytest.raises(PowerCutError):
        sft(config, cut, CutAt(4))
    sft(config, cut, Silent(), resume=True)
    assert weights_digest(cut / "model") == weights_digest(whole / "model")


def test_a_foreign_model_learns_through_its_own_template(foreign: Path, chats: Path, tmp_path: Path) -> None:
    out, before = tmp_path / "out", weights_digest(foreign)
    sft(tiny_sft(foreign, chats, save_every_s=0.0, steps=3), out, Silent())
    assert (out / "model" / "chat_template.jinja").read_text(encoding="utf-8") == FOREIGN_JINJA
    template = JinjaTemplate(Tokenizer.load(foreign), FOREIGN_JINJA)
    rendered = [template.render(talk.messages) for talk in read_conversations(chats)]
    corpus = Corpus.load(out / "data")
    assert isinstance(corpus.template, JinjaTemplate)
    learned = [corpus.streams[STREAM][i] for i in range(len(corpus.streams[STREAM]))]
    assert len(learned) == 38  # of 40 two are kept back
    for example in learned:
        assert any(
            example.token_ids.tolist() == r.token_ids and example.loss_weights.tolist() == r.loss_weights
            for r in rendered
        )
    assert weights_digest(foreign) == before


def test_rates_suit_the_model(base: Path, foreign: Path, chats: Path) -> None:
    assert sft_config(str(base), [str(chats)]).optim == GENTLE
    assert sft_config(str(foreign), [str(chats)]).optim == FOREIGN
    assert sft_config(str(base), [str(chats)]).row_length == 64  # the model's context


def test_a_step_is_of_eight_rows_unless_it_is_told_otherwise(base: Path, chats: Path) -> None:
    assert sft_config(str(base), [str(chats)]).tokens_per_step == 8 * 64
    assert sft_config(str(base), [str(chats)], row_length=48).tokens_per_step == 8 * 48
    assert sft_config(str(base), [str(chats)], row_length=48, tokens_per_step=96).tokens_per_step == 96


def test_a_broken_conversation_is_named_by_its_line(base: Path, chats: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    bad = json.dumps({"messages": [{"role": "user", "content": "hello?"}]})
    broken.write_text(chats.read_text(encoding="utf-8") + bad + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"broken\.jsonl, line 41: .* no assistant message"):
        sft(tiny_sft(base, broken), tmp_path / "out", Silent())
    assert not (tmp_path / "out" / "config.json").exists()


def test_what_cannot_be_learned_is_refused(base: Path, chats: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no conversations to learn from"):
        sft(tiny_sft(base, write_texts(tmp_path)), tmp_path / "out", Silent())
    with pytest.raises(ConfigError, match="reads at most 64 tokens"):
        sft(tiny_sft(base, chats, row_length=128), tmp_path / "out", Silent())
    with pytest.raises(UsageError, match="no model folder"):
        sft_config(str(tmp_path / "nosuch"), [str(chats)])


def test_a_conversation_longer_than_a_row_is_learned_with_its_question(base: Path, tmp_path: Path) -> None:
    path, reporter = tmp_path / "long.jsonl", CutAt(-1)
    said = [("user", "Where is Ada? " * 40), ("assistant", "Ada is at the mill.")]
    record = {"messages": [{"role": role, "content": content} for role, content in said]}
    path.write_text("\n".join([json.dumps(record)] * 40), encoding="utf-8")
    assert sft(tiny_sft(base, path, steps=3), tmp_path / "out", reporter) is not None
    told = "  conversations longer than a row of 64 tokens: 38, learned a row at a time"
    assert told in reporter.lines
    corpus = Corpus.load(tmp_path / "out" / "data")
    learned = corpus.streams[STREAM]
    assert learned.lengths.tolist() == [64] * 38
    text = corpus.tokenizer.decode(learned[0].token_ids.tolist())
    assert "Where is Ada? " in text
    assert text.endswith("Ada is at the mill.<|im_end|>")


def test_a_conversation_that_cannot_be_rendered_is_named_by_its_line(base: Path, tmp_path: Path) -> None:
    path = write_chats(tmp_path, num=10)
    path.write_text(path.read_text(encoding="utf-8") + json.dumps(UNRENDERABLE), encoding="utf-8")
    with pytest.raises(DataError, match=r"chats\.jsonl, line 11: the arguments of the tool call f"):
        sft(tiny_sft(base, path), tmp_path / "out", Silent())
    assert not (tmp_path / "out" / "config.json").exists()


def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused(
    foreign: Path, chats: Path, tmp_path: Path
) -> None:
    model, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(foreign, model)
    Tokenizer.train([ENGLISH, CHINESE] * 2, vocab_size=400).save(model)
    with pytest.raises(CheckpointError, match=r"tokenizer has \d+ tokens, but the model only \d+ embeddings"):
        sft(tiny_sft(model, chats), out, Silent())
    assert not (out / "config.json").exists()


@pytest.mark.parametrize(("epochs", "passes"), [(None, 2.0), (0.5, 0.5)])
def test_its_length_is_passes_over_the_data(
    epochs: float | None, passes: float, base: Path, chats: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    sft(tiny_sft(base, chats, steps=None, epochs=epochs), out, Silent())
    num_tokens = Corpus.load(out / "data").num_tokens
    [last] = [line["step"] for line in RunDir(out).metrics() if "loss" in line][-1:]
    assert last == round(passes * num_tokens / 128)


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"epochs": 1.0, "steps": 3}, "give one length of the run, not epochs and steps"),
        ({"epochs": 1.0, "minutes": 1.0}, "not epochs and minutes"),
        ({"steps": 3, "minutes": 1.0}, "not steps and minutes"),
        ({"epochs": 0.0}, "epochs must be a number above 0, got 0"),
        ({"epochs": math.nan}, "epochs must be a number above 0, got nan"),
        ({"minutes": math.inf}, "minutes must be a number above 0, got inf"),
        ({"steps": 0}, "steps must be a number above 0, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"row_length": 1}, "row_length must be at least 2, got 1"),
        ({"tokens_per_step": 0}, "tokens_per_step must be at least 1, got 0"),
    ],
)
def test_wrong_numbers_are_refused(changes: dict[str, object], wrong: str) -> None:
    with pytest.raises(ConfigError, match=wrong):
        SftConfig("m", ("x",), **changes)  # type: ignore[arg-type]
