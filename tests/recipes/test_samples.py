"""What a run tells of itself while it goes on: samples that change nothing, and a state that is true."""

import itertools
import math
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from liaoliao.chat.assistant import load
from liaoliao.data.sources import guess_language
from liaoliao.engine.engine import Engine
from liaoliao.engine.runner import TorchRunner
from liaoliao.errors import ConfigError, UsageError
from liaoliao.model.checkpoint import load_config, load_generation
from liaoliao.model.run_registry import RegisteredRun, list_runs
from liaoliao.model.run_state import RunState, new_state, read_state, status_of, write_state
from liaoliao.model.transformer import Transformer
from liaoliao.recipes import samples
from liaoliao.recipes.corpus import Corpus
from liaoliao.recipes.file_corpus import file_corpus
from liaoliao.recipes.pretrain import PretrainConfig, pretrain
from liaoliao.recipes.reporter import Silent
from liaoliao.recipes.samples import Samples, beginning, prompts_for
from liaoliao.recipes.sft import sft, sft_config
from liaoliao.recipes.stage import StageConfig, start_state
from liaoliao.recipes.town_corpus import town_questions
from liaoliao.town import build_town
from liaoliao.train.loop import TrainState
from liaoliao.train.run_dir import RunDir
from tests.recipes.tiny import CutAt, PowerCutError, tiny_pretrain, write_chats, write_texts


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_texts(tmp_path_factory.mktemp("texts"))


def often(texts: Path, **changes: object) -> PretrainConfig:
    """Asked after every step, in the arithmetic in which anyone would ask the finished model."""
    return tiny_pretrain(texts, sample_share=1e9, sample_every_s=0.0, row_length=64, dtype="fp32", **changes)


@pytest.fixture(scope="module")
def sampled(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was asked after every step."""
    out = tmp_path_factory.mktemp("run") / "sampled"
    pretrain(often(texts), out, Silent())
    return out


def weights(out: Path) -> bytes:
    return (out / "model" / "model.safetensors").read_bytes()


def test_asking_changes_nothing(texts: Path, sampled: Path, tmp_path: Path) -> None:
    """Asked after every step or never: the same weights, bit for bit; nor are random numbers or threads touched."""
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    pretrain(replace(often(texts), sample_share=0.0), tmp_path / "out", Silent())
    assert weights(tmp_path / "out") == weights(sampled)
    assert not (tmp_path / "out" / "samples.jsonl").exists()
    silent = torch.get_rng_state()
    torch.set_rng_state(before)
    pretrain(often(texts), tmp_path / "again", Silent())
    assert torch.equal(torch.get_rng_state(), silent) and torch.get_num_threads() == threads


def test_every_sample_is_what_the_model_says(sampled: Path) -> None:
    """The last ones against the model itself, as anyone would ask it."""
    said_by_step = list(RunDir(sampled).samples())
    assert sorted({sample["step"] for sample in said_by_step}) == list(range(1, 9))
    last = [sample for sample in said_by_step if sample["step"] == 8]
    assert {(sample["kind"], sample["lang"]) for sample in last} == {("text", "en"), ("text", "zh")}
    assistant = load(sampled / "model", dtype="fp32")
    corpus = Corpus.load(sampled / "data")
    for sample in last:
        assert any(text.startswith(sample["prompt"]) for text in corpus.held_out[sample["lang"]])
        assert sample["stage"] == "pretrain" and sample["tokens"] > 0
        [prompt] = [p for p in prompts_for(["text:en"], corpus) if p.text == sample["prompt"]]
        said = assistant.engine.generate([prompt.request])[0]
        ids = said.token_ids[: -1 if said.finish_reason == "stop" else None]
        assert sample["reply"] == assistant.tokenizer.decode(ids)
        assert sample["finished"] == (said.finish_reason == "stop")


def test_a_resumed_run_has_every_sample_once(texts: Path, sampled: Path, tmp_path: Path) -> None:
    out, config = tmp_path / "cut", often(texts, save_every_s=0.0)
    with pytest.raises(PowerCutError):
        pretrain(config, out, CutAt(6))
    pretrain(config, out, Silent(), resume=True)

    def of(folder: Path) -> list[tuple[object, ...]]:
        return [(s["step"], s["lang"], s["prompt"], s["reply"]) for s in RunDir(folder).samples()]

    assert of(out) == of(sampled)


def test_a_run_killed_before_its_first_checkpoint_begins_its_curves_anew(texts: Path, tmp_path: Path) -> None:
    out, config = tmp_path / "early", tiny_pretrain(texts, steps=25)
    with pytest.raises(PowerCutError):
        pretrain(config, out, CutAt(14))
    assert [line["step"] for line in RunDir(out).metrics()] == [10]
    pretrain(config, out, Silent(), resume=True)
    assert [line["step"] for line in RunDir(out).metrics() if "loss" in line] == [10, 20, 25]


def test_nothing_is_said_when_the_time_is_over(
    sampled: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that goes on by a second whenever somebody looks at it."""
    corpus = Corpus.load(sampled / "data")
    model = Transformer(load_config(sampled / "model")).init_weights(
        0
    )  # one that does not come to an end so soon
    stage = StageConfig(
        "pretrain", {"text:en": 1.0}, row_length=64, tokens_per_step=128, tokens_per_microbatch=64
    )
    state = start_state(stage, model, corpus)

    def asked(ends_at_s: float) -> list[dict[str, Any]]:
        run_dir, seconds = RunDir(tmp_path / f"{ends_at_s}"), itertools.count()
        ticking = SimpleNamespace(monotonic=lambda: float(next(seconds)), time=time.time)
        monkeypatch.setattr(samples, "time", ticking)
        run_dir.folder.mkdir()
        Samples("pretrain", ["text:en"], corpus, run_dir, ends_at_s=ends_at_s)(state)
        assert next(seconds) <= ends_at_s + 2, "nobody looks again once it is over"
        return list(run_dir.samples())

    whole, cut = asked(math.inf), asked(5.0)
    assert [sample["prompt"] for sample in cut] == [sample["prompt"] for sample in whole]
    prompts = list(prompts_for(["text:en"], corpus))
    for sample, prompt in zip(cut, prompts, strict=True):
        tokens = Engine(TorchRunner(model, kv_cache_bytes=1 << 20)).generate([prompt.request])[0].token_ids
        assert sample["reply"] in [corpus.tokenizer.decode(tokens[:n]) for n in range(1, 6)]
        assert not sample["finished"]
    assert asked(1.0) == asked(0.0) == [], "no time for a single token, and none at all"
    assert model.training


def test_questions_are_asked_where_talk_is_learned(sampled: Path, tmp_path: Path) -> None:
    chats = write_chats(tmp_path)
    config = sft_config(str(sampled / "model"), (str(chats),), steps=3, tokens_per_step=128, row_length=64)
    sft(config, tmp_path / "out", Silent())
    asked = list(RunDir(tmp_path / "out").samples())
    assert {(s["stage"], s["kind"], s["lang"], s["step"]) for s in asked} == {("sft", "chat", "en", 3)}
    assert all(sample["prompt"].startswith("Where is ") for sample in asked)
    newest = RunDir(tmp_path / "out").checkpoints("sft")[-1]
    parent = load_generation(sampled / "model")
    assert load_generation(newest)["temperature"] == parent["temperature"] == 0.3


def test_questions_and_beginnings_come_in_the_languages_that_there_are(tmp_path: Path) -> None:
    paths = [write_texts(tmp_path), write_chats(tmp_path)]
    corpus = file_corpus(tmp_path / "out", paths, num_tokens=None, vocab_size=300, seed=0)
    corpus.save(tmp_path / "out")
    assert Corpus.load(tmp_path / "out").questions == corpus.questions
    prompts = [(prompt.kind, prompt.lang) for prompt in prompts_for(list(corpus.pretrain), corpus)]
    assert prompts == [("text", "en"), ("text", "zh"), ("chat", "en"), ("chat", "en")]
    assert {prompt.kind for prompt in prompts_for(["text:zh"], corpus)} == {"text"}
    assert {prompt.kind for prompt in prompts_for(["talks"], corpus)} == {"chat"}
    assert beginning("\n one two three four five six seven eight nine", "en").endswith("eight")


def test_the_town_is_asked_of_itself_and_of_sums() -> None:
    town = build_town()
    english, chinese = town_questions(town, "en"), town_questions(town, "zh")
    assert len(english) == len(chinese) == 2 and all(guess_language(text) == "zh" for text in chinese)
    assert english == town_questions(town, "en") and any(letter.isdigit() for letter in english[1])


# ---------------------------------------------------------------- the run's state


class States(Silent):
    """Reads the state of a run as it goes on."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.seen: list[RunState | None] = []

    def step(self, stage: str, state: TrainState) -> None:
        self.seen.append(read_state(self.out))


def test_a_run_says_that_it_runs_and_that_it_has_finished(texts: Path, tmp_path: Path) -> None:
    states = States(tmp_path / "out")
    pretrain(tiny_pretrain(texts), tmp_path / "out", states)
    first = states.seen[0]
    assert first is not None and status_of(first) == "running" and first.pid == os.getpid()
    assert (first.recipe, first.stage, first.num_steps) == ("pretrain", "pretrain", 8)
    end = read_state(tmp_path / "out")
    assert end is not None and (end.status, end.step, end.error, end.attempt) == ("finished", 8, None, 1)
    assert end.finished_at is not None and end.finished_at >= end.started_at
    assert list_runs() == (RegisteredRun("out", tmp_path / "out"),)


def test_a_run_says_that_it_was_stopped_and_that_it_failed(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    class Interrupt(Silent):
        def step(self, stage: str, state: TrainState) -> None:
            if state.step == 3:
                os.kill(os.getpid(), signal.SIGINT)

    def status() -> tuple[str, int, int]:
        state = read_state(out)
        assert state is not None
        return state.status, state.step, state.attempt

    pretrain(tiny_pretrain(texts, save_every_s=0.0), out, Interrupt())
    assert status()[0] == "interrupted" and status()[2] == 1
    with pytest.raises(PowerCutError):
        pretrain(tiny_pretrain(texts, save_every_s=0.0), out, CutAt(6), resume=True)
    state = read_state(out)
    assert state is not None and state.status == "failed" and "PowerCutError" in (state.error or "")
    pretrain(tiny_pretrain(texts, save_every_s=0.0), out, Silent(), resume=True)
    assert status() == ("finished", 8, 3)


def test_a_run_that_did_not_begin_is_not_known(texts: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="depth"):
        pretrain(tiny_pretrain(texts, depth=0), tmp_path / "out", Silent())
    assert list_runs() == ()


def test_two_processes_cannot_carry_out_one_run(texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    pretrain(tiny_pretrain(texts), out, Silent())
    write_state(out, replace(new_state("pretrain", None), host="elsewhere", pid=1))
    with pytest.raises(UsageError, match="process 1 on elsewhere is carrying this run out"):
        pretrain(tiny_pretrain(texts), out, Silent(), resume=True)


def test_a_home_that_cannot_be_written_to_costs_no_run(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    monkeypatch.setenv("LIAOLIAO_HOME", str(tmp_path / "file"))
    assert pretrain(tiny_pretrain(texts, steps=1), tmp_path / "out", Silent()) is not None
