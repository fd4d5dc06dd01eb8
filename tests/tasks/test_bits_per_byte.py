import gzip
import json
import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from liaoliao.chat.assistant import Assistant
from liaoliao.engine.runner import TorchRunner
from liaoliao.errors import DataError, UsageError
from liaoliao.messages import Message
from liaoliao.tasks.bits_per_byte import (
    BitsPerByte,
    bits_per_byte,
    read_documents,
    score_documents,
    text_document,
    windows,
)
from tests.tasks.conftest import MAX_LENGTH

LONG = "The little town of Willowmere lies by a river. 小镇有一条河。 " * 12
CALL_OF_NO_OBJECT = {
    "role": "assistant",
    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "[1]"}}],
}


@given(st.integers(1, 200), st.integers(2, 40))
def test_every_token_is_counted_once_with_half_a_window_before_it(num_tokens: int, size: int) -> None:
    counted: list[int] = []
    for start, first, stop in windows(num_tokens, size=size):
        assert 0 <= start < stop <= num_tokens
        assert stop - start <= size
        assert first == 1 or first - start >= size - size // 2
        counted += range(first, stop)
    assert counted == list(range(1, num_tokens))


def test_a_window_needs_room() -> None:
    assert list(windows(10, size=4)) == [(0, 1, 4), (2, 4, 6), (4, 6, 8), (6, 8, 10)]
    with pytest.raises(DataError, match="no room"):
        list(windows(3, size=1))


def logprobs_by_hand(tiny: Assistant, ids: Sequence[int]) -> list[float]:
    assert isinstance(tiny.engine.runner, TorchRunner)
    logits = tiny.engine.runner.model(torch.tensor([ids]))[0].double().log_softmax(-1)
    return [float(logits[i - 1, ids[i]]) for i in range(1, len(ids))]


def test_the_value_is_total_nats_by_total_bytes(tiny: Assistant, tmp_path: Path) -> None:
    texts = ["The town.", "小镇有河。", "A river 河"]
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in [*texts, ""]), encoding="utf-8")
    result = BitsPerByte(path, "zh").evaluate(tiny)
    rows = [[tiny.tokenizer.end_of_text_id, *tiny.tokenizer.encode(text)] for text in texts]
    with torch.no_grad():
        nats = -sum(sum(logprobs_by_hand(tiny, row)) for row in rows)
    wanted = nats / math.log(2) / sum(len(text.encode()) for text in texts)
    assert result.value == pytest.approx(wanted, rel=1e-5)
    assert (result.name, result.metric, result.n) == ("text:zh", "bits_per_byte", 3)
    assert result.stderr > 0


def test_long_texts_are_scored_in_windows(tiny: Assistant) -> None:
    document = text_document(tiny.tokenizer.encode(LONG), LONG, tiny.tokenizer)
    ids = document.token_ids.tolist()
    assert len(ids) > 3 * MAX_LENGTH
    wanted: list[float] = []
    with torch.no_grad():
        for start, first, stop in windows(len(ids), size=MAX_LENGTH):
            wanted += logprobs_by_hand(tiny, ids[start:stop])[first - start - 1 :]
    (scored,) = score_documents(tiny.engine, [document])
    assert scored.tolist() == pytest.approx(wanted, rel=1e-4, abs=1e-4)
    assert len(scored) == len(ids) - 1


def test_one_document_still_has_an_error(tiny: Assistant) -> None:
    document = text_document(tiny.tokenizer.encode(LONG), LONG, tiny.tokenizer)
    alone, stderr = bits_per_byte(tiny.engine, [document])
    twice, _ = bits_per_byte(tiny.engine, [document, document])
    assert alone == pytest.approx(twice)
    assert 0 < stderr < alone


def test_conversations_are_scored_as_the_template_renders_them(tiny: Assistant, tmp_path: Path) -> None:
    path = tmp_path / "talk.jsonl.gz"
    messages = [Message.user("2+3?"), Message.assistant(" 五 ")]
    record = {"messages": [message.to_openai() for message in messages]}
    path.write_bytes(gzip.compress(json.dumps(record).encode()))
    (document,) = read_documents(path, tiny.tokenizer, tiny.template)
    assert document.token_ids.tolist() == tiny.template.render(messages).token_ids
    assert document.num_bytes == len("2+3?五".encode())  # templates trim what the assistant says
    assert BitsPerByte(path, "en").evaluate(tiny).name == "text:en"


def test_a_text_file_is_read(tiny: Assistant, tmp_path: Path) -> None:
    path = tmp_path / "town.txt"
    path.write_text(LONG, encoding="utf-8")
    seen: list[tuple[int, int]] = []
    result = BitsPerByte(path, "en").evaluate(tiny, progress=lambda done, total: seen.append((done, total)))
    assert result.details["bytes"] == len(LONG.encode())
    assert seen[-1][0] == seen[-1][1] > 0


def test_a_limit_draws_documents_by_seed(tiny: Assistant, tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": "x" * i}) + "\n" for i in range(1, 40)), encoding="utf-8")
    task = BitsPerByte(path, "en")
    few = [task.evaluate(tiny, limit=5, seed=seed) for seed in (0, 0, 1)]
    assert [result.n for result in few] == [5, 5, 5]
    assert few[0] == few[1] != few[2]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"text": ""}, "holds no text"),
        ({"question": "a"}, "line 1: .*needs 'text' or 'messages'"),
        ({"messages": []}, "line 1"),
        ({"messages": [CALL_OF_NO_OBJECT]}, "line 1: the arguments of the tool call f are not a JSON object"),
    ],
)
def test_what_cannot_be_scored_is_named(
    tiny: Assistant, tmp_path: Path, record: dict[str, object], message: str
) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(DataError, match=rf"a\.jsonl.*{message}"):
        BitsPerByte(path, "en").evaluate(tiny)


def test_an_unknown_language_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="'fr' is no language"):
        BitsPerByte(tmp_path, "fr")
