import json
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest

from liaoliao.data.conversations import find_conversation, read_conversations, to_conversation
from liaoliao.errors import DataError
from liaoliao.messages import Conversation, Message, Tool, ToolCall

TOOL = Tool("calculator", "adds", {"type": "object", "properties": {"expression": {"type": "string"}}})
CALL = ToolCall("call_0", "calculator", '{"expression": "2+3"}')
TALK = Conversation(
    (
        Message.system("Be brief."),
        Message.user("2+3?"),
        Message.assistant(tool_calls=[CALL]),
        Message.tool("5", "call_0"),
        Message.assistant("五 5"),
    ),
    (TOOL,),
)
OPENAI = {"messages": [message.to_openai() for message in TALK.messages], "tools": [TOOL.to_openai()]}
SHAREGPT = {
    "system": "Be brief.",
    "tools": json.dumps([TOOL.to_openai()["function"]]),
    "conversations": [
        {"from": "human", "value": "2+3?"},
        {"from": "function_call", "value": '{"name": "calculator", "arguments": {"expression": "2+3"}}'},
        {"from": "observation", "value": "5"},
        {"from": "gpt", "value": "五 5"},
    ],
}


@pytest.mark.parametrize("record", [OPENAI, SHAREGPT], ids=["openai", "sharegpt"])
def test_one_talk_in_two_forms(record: dict[str, Any]) -> None:
    assert to_conversation(record) == TALK


def test_alpaca_joins_instruction_and_input() -> None:
    record = {"instruction": "Translate", "input": "水", "output": "water", "history": [["hi", "hello"]]}
    assert [message.text for message in to_conversation(record).messages] == [
        "hi",
        "hello",
        "Translate\n水",
        "water",
    ]
    record = {"instruction": "Sing", "input": "", "output": "La", "system": "Loud."}
    assert [message.role for message in to_conversation(record).messages] == ["system", "user", "assistant"]
    assert to_conversation(record).messages[1].text == "Sing"


def test_results_go_to_the_calls_in_their_order() -> None:
    calls = [{"name": name, "arguments": "{}"} for name in ("one", "two")]
    turns = [
        ("human", "go"),
        ("function_call", json.dumps(calls)),
        ("observation", "1"),
        ("observation", "2"),
        ("gpt", "ok"),
    ]
    record = {"conversations": [{"from": role, "value": value} for role, value in turns]}
    messages = to_conversation(record).messages
    assert [call.id for call in messages[1].tool_calls] == ["call_0", "call_1"]
    assert messages[2:4] == (Message.tool("1", "call_0"), Message.tool("2", "call_1"))


def test_parquet_fills_missing_keys_with_null(tmp_path: Path) -> None:
    path = tmp_path / "talk.parquet"
    plain = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([OPENAI, plain]), path)
    with_nulls = list(read_conversations(path))
    assert with_nulls[1] == Conversation((Message.user("hi"), Message.assistant("hello")))
    assert with_nulls[0].messages == TALK.messages


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"text": "a"}, "not text"),
        ({"messages": []}, "'messages' must be a list of messages with at least one"),
        ({"messages": ["hi"]}, "'messages' holds str where an object is expected"),
        ({"messages": [{"role": "user", "content": "hi"}]}, "no assistant message"),
        ({"messages": [{"role": "wizard", "content": "hi"}]}, "'wizard' is not a role"),
        ({"messages": [{"role": "user", "content": "a"}], "tools": "["}, "'tools' is not valid JSON"),
        ({"messages": [{"role": "user", "content": "a"}], "tools": 3}, "'tools' must be a list"),
        ({"conversations": [{"from": "pope", "value": "hi"}]}, "'from' is 'pope'; known are"),
        ({"conversations": [{"from": "human", "value": 3}]}, "'value' must be text, not int"),
        ({"instruction": "a"}, "'output' must be text, not NoneType"),
        ({"instruction": "a", "output": "b", "history": ["c"]}, "'history' must be a list of"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, record: dict[str, Any], message: str) -> None:
    path = tmp_path / "talk.jsonl"
    path.write_text(json.dumps(SHAREGPT) + "\n" + json.dumps(record), encoding="utf-8")
    with pytest.raises(DataError, match=f"talk.jsonl, line 2: .*{message}"):
        list(read_conversations(path))


def test_a_conversation_is_found_again_in_its_file(tmp_path: Path) -> None:
    plain = {"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello"}]}
    lines, whole = tmp_path / "a.jsonl", tmp_path / "b.json"
    lines.write_text("\n".join(map(json.dumps, [plain, plain])), encoding="utf-8")
    whole.write_text(json.dumps([plain, SHAREGPT]), encoding="utf-8")
    assert find_conversation([lines, whole], TALK) == f"{whole}, record 2"
    assert find_conversation([lines, whole], to_conversation(plain)) == f"{lines}, line 1"
    assert find_conversation([lines], TALK) is None
