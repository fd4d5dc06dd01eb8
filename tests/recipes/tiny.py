"""Files so small that a recipe runs through them in seconds."""

import json
import random
from pathlib import Path

from liaoliao.recipes.pretrain import PretrainConfig
from liaoliao.train.loop import TrainState

NAMES = ("Ada", "Ben", "Cleo", "Dora", "小明", "小红")
PLACES = ("the mill", "the lake", "a shop", "the school")
PLACES_ZH = ("磨坊", "湖边", "商店", "学校")
CALL = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "[1]"}}  # no JSON object
UNRENDERABLE = {"messages": [{"role": "user", "content": "Go!"}, {"role": "assistant", "tool_calls": [CALL]}]}


def write_texts(folder: Path, num: int = 60) -> Path:
    """Short texts in both languages."""
    rng = random.Random(0)
    path = folder / "texts.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for i in range(num):
            name = rng.choice(NAMES)
            en = f"{name} walks to {rng.choice(PLACES)} and counts {rng.randrange(99)} birds."
            zh = f"{name}走到{rng.choice(PLACES_ZH)}，数了{rng.randrange(99)}只鸟。"
            file.write(json.dumps({"text": zh if i % 2 else en}, ensure_ascii=False) + "\n")
    return path


def write_chats(folder: Path, num: int = 40) -> Path:
    """Short conversations in the OpenAI form."""
    rng = random.Random(1)
    path = folder / "chats.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for _ in range(num):
            name, place = rng.choice(NAMES), rng.choice(PLACES)
            said = [("user", f"Where is {name}?"), ("assistant", f"{name} is at {place}.")]
            messages = [{"role": role, "content": content} for role, content in said]
            file.write(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
    return path


def tiny_pretrain(data: Path, **changes: object) -> PretrainConfig:
    """A run of 8 steps through a model of one layer."""
    sizes = {"vocab_size": 300, "depth": 1, "steps": 8, "row_length": 32, "tokens_per_step": 128}
    return PretrainConfig((str(data),), **{**sizes, "tokens_per_microbatch": 64, **changes})  # type: ignore[arg-type]


class PowerCutError(Exception):
    """Stands for a power cut: nothing gets to tidy up."""


class CutAt:
    """A reporter that cuts the power after a step."""

    def __init__(self, step: int) -> None:
        self.last_step = step
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)

    def step(self, stage: str, state: TrainState) -> None:
        if state.step == self.last_step:
            raise PowerCutError
