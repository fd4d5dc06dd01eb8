"""The Python interface of a checkpoint: chat, stream, score, in every form that messages take."""

from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch

import liaoliao
from liaoliao.chat.assistant import Assistant, as_messages, load
from liaoliao.chat.drive import run_batch
from liaoliao.chat.tools import ToolBox
from liaoliao.chat.turn import MessageDone
from liaoliao.engine import Request, SamplingParams
from liaoliao.errors import CheckpointError, LiaoError, RequestError, TemplateError, UsageError
from liaoliao.messages import Message
from liaoliao.model.checkpoint import load_model, save_checkpoint
from liaoliao.model.config import ModelConfig
from liaoliao.model.registry import register
from liaoliao.model.transformer import Transformer
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.parse import TextDelta
from liaoliao.text.tokenizer import Tokenizer

CONTEXT = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer, template: ChatTemplate) -> Path:
    config = ModelConfig.from_depth(1, tokenizer.vocab_size, max_position_embeddings=CONTEXT)
    model = Transformer(config)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.2, generator=generator)
    folder = tmp_path_factory.mktemp("assistant") / "model"
    generation = {"temperature": 0.5, "top_k": 20, "do_sample": True}
    save_checkpoint(
        folder, model, tokenizer, template, lineage={"tools": ["calculator"]}, generation=generation
    )
    return folder


@pytest.fixture(scope="module")
def assistant(folder: Path) -> Assistant:
    return load(folder)


def test_load_by_folder_and_by_name(folder: Path) -> None:
    register("current", folder)
    question = [Message.user("the cat")]
    replies = {
        model: liaoliao.load(model).chat(question, seed=1, max_tokens=9)
        for model in (folder, str(folder), "current")
    }
    assert len(set(replies.values())) == 1
    with pytest.raises(UsageError, match="did you mean current"):
        load("curent")


def test_what_the_checkpoint_says_is_the_default(assistant: Assistant) -> None:
    params = assistant.turn("hi").params
    assert (params.temperature, params.top_k) == (0.5, 20)
    assert assistant.turn("hi", temperature=0, top_k=3).params.top_k == 3
    assert [tool.name for tool in assistant.tools.definitions] == ["calculator"]
    assert assistant.lineage == {"tools": ["calculator"]}


def test_chat_is_the_end_of_the_stream(assistant: Assistant) -> None:
    settings = {"seed": 3, "max_tokens": 12}
    events = list(assistant.stream("the cat", **settings))
    last = events[-1]
    assert isinstance(last, MessageDone) and last.message == assistant.chat("the cat", **settings)
    assert last.message.text == "".join(e.text for e in events if isinstance(e, TextDelta))
    assert assistant.engine.idle


def test_a_stream_that_is_left_stops_the_engine(assistant: Assistant) -> None:
    stream = assistant.stream("the cat", seed=3, max_tokens=12)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert assistant.engine.idle


@pytest.mark.parametrize(
    "talk",
    [
        "2+3?",
        Message.user("2+3?"),
        {"role": "user", "content": "2+3?"},
        [Message.user("2+3?")],
        ({"role": "user", "content": "2+3?"},),
    ],
)
def test_every_form_of_a_message(talk: Any) -> None:
    assert as_messages(talk) == [Message.user("2+3?")]


def test_a_stop_string(assistant: Assistant) -> None:
    settings: dict[str, Any] = {"temperature": 0, "max_tokens": 20}
    whole = assistant.chat("the cat", **settings).text
    stop = whole[3:5]
    assert assistant.chat("the cat", stop=stop, **settings).text == whole[: whole.index(stop)]
    assert assistant.engine.idle


def test_guessing_ahead_changes_no_word(folder: Path, assistant: Assistant) -> None:
    request = Request((5, 6, 7) * 5, SamplingParams(temperature=0.0, max_tokens=20, ignore_eos=True))
    guessing = load(folder, speculate=4)
    (reply,), (expected,) = guessing.engine.generate([request]), assistant.engine.generate([request])
    assert reply.token_ids == expected.token_ids
    assert guessing.engine.stats().speculated > 0
    with pytest.raises(RequestError, match="speculate"):
        load(folder, speculate=-1)


def test_many_at_once_say_what_each_says_alone(assistant: Assistant) -> None:
    talks = ["the cat", "sat on", "猫坐在", "two and three", "5 5 5"] * 3
    batch = assistant.chat_batch(talks, temperature=0, max_tokens=14, stop="a")
    assert [messages[-1] for messages in batch] == [
        assistant.chat(t, temperature=0, max_tokens=14, stop="a") for t in talks
    ]
    seen: list[tuple[int, int]] = []
    turns = [assistant.turn(talk, temperature=0, max_tokens=3) for talk in talks]
    run_batch(assistant.engine, turns, ToolBox(), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (15, 15) and all(turn.done for turn in turns) and assistant.engine.idle


def test_score_sums_to_the_documents_logprob(folder: Path, tokenizer: Tokenizer) -> None:
    assistant, text = load(folder, dtype="fp32"), "the cat sat on the mat"
    token_ids, logprobs = assistant.score(text)
    assert tokenizer.decode(token_ids) == text and len(logprobs) == len(token_ids)
    ids = torch.tensor([[tokenizer.end_of_text_id, *token_ids]])
    with torch.no_grad():
        logits = load_model(folder)(ids)[0, :-1]
    expected = logits.log_softmax(-1).gather(1, ids[0, 1:, None]).flatten()
    assert logprobs == pytest.approx(expected.tolist(), abs=1e-4)
    assert assistant.score("") == ([], [])


@pytest.mark.parametrize("length", [CONTEXT - 2, CONTEXT - 1, CONTEXT, CONTEXT + 1, 96, 97, 160, 161])
def test_a_long_text_is_scored_in_windows(assistant: Assistant, tokenizer: Tokenizer, length: int) -> None:
    text = "".join(chr(ord("A") + i * 7 % 26) for i in range(length))
    assert len(tokenizer.encode(text)) == length
    token_ids, logprobs = assistant.score(text)
    assert len(logprobs) == length and 0.0 not in logprobs
    ids = [tokenizer.end_of_text_id, *token_ids]
    end = (
        assistant.engine.score([ids[-CONTEXT:]])[0] if length >= CONTEXT else assistant.engine.score([ids])[0]
    )
    assert logprobs[-8:] == pytest.approx(
        end[-8:], abs=0.5
    )  # the context may begin elsewhere, half of it is sure
    assert logprobs[: CONTEXT - 1] == pytest.approx(assistant.engine.score([ids[:CONTEXT]])[0][1:], abs=1e-4)


def test_mistakes_are_told(assistant: Assistant) -> None:
    with pytest.raises(RequestError, match="temprature is not a sampling setting; did you mean temperature"):
        assistant.chat("hi", temprature=1.0)
    with pytest.raises(RequestError, match="top_p"):
        assistant.chat("hi", top_p=3.0)
    with pytest.raises(RequestError, match=f"context holds {CONTEXT}"):
        assistant.chat("the cat " * CONTEXT)
    with pytest.raises(RequestError, match="no message"):
        assistant.chat([])
    with pytest.raises(LiaoError):
        assistant.chat({"role": "user", "content": "hi", "colour": "red"})


def test_a_base_model_scores_but_does_not_chat(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    base = load(tmp_path)
    assert len(base.score("the cat")[1]) > 0
    with pytest.raises(TemplateError, match="base model"):
        base.chat("the cat")


def test_a_tokenizer_that_is_not_the_models(folder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors", "chat_template.jinja"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    Tokenizer.train(["".join(letters) for letters in product("abcdef", repeat=4)] * 2, 400).save(tmp_path)
    with pytest.raises(CheckpointError, match="the tokenizer has"):
        load(tmp_path)
