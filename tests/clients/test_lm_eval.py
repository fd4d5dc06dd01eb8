"""lm-evaluation-harness scores through the server what the engine scores by itself."""

import json
import subprocess
from pathlib import Path

import pytest

import liaoliao
from tests.clients.run import HERE, TIMEOUT_S, find

PAIRS = [
    ("the cat sat", " on the mat"),
    ("cat 猫", " 你好 5"),
    ("the mat", " 5 and 4"),
    ("two", " cats and 3"),
]
TEXTS = [
    "the cat sat on the mat, two and three are 5",
    "猫坐在垫子上，你好\n",
    "the mat " * 150,
]  # the last in windows


def test_scores_are_those_of_the_engine(lone_server: str, model_folder: Path) -> None:
    client = find("lm-evaluation-harness")
    if client.version is None:
        pytest.skip("lm-evaluation-harness is not installed")
    arguments = [lone_server, "tiny", json.dumps(PAIRS), json.dumps(TEXTS)]
    done = subprocess.run(
        [client.python, str(HERE / "lm_eval_scores.py"), *arguments],
        capture_output=True, encoding="utf-8", timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assistant = liaoliao.load(model_folder, dtype="fp32")
    for (context, rest), (logprob, _) in zip(PAIRS, found["pairs"], strict=True):
        begun, whole = map(assistant.tokenizer.encode, (context, context + rest))
        assert len(whole) > len(begun)
        [scores] = assistant.engine.score([whole])
        assert logprob == pytest.approx(sum(scores[len(begun) :]), abs=1e-4)
    for text, logprob in zip(TEXTS, found["texts"], strict=True):  # what our bits per byte are made of
        assert logprob == pytest.approx(sum(assistant.score(text)[1]), abs=1e-4)
