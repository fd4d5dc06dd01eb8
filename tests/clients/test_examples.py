"""Every example of the guide works with the client itself, wherever that is installed, and says what it should."""

from pathlib import Path

import pytest

from tests.clients.conftest import HELLO, SUNNY
from tests.clients.run import PACKAGES, examples, find

GUIDE = {example.client: example for example in examples()}
SAID = {
    "openai (Python)": [HELLO.text, HELLO.text, HELLO.text, "mood='good' sure=True", "2 vectors of 4"],
    "openai (Node)": [HELLO.text, SUNNY.text, HELLO.text, "completed"],
    "anthropic": [HELLO.text, "end_turn", "{'place': 'lake'}", SUNNY.text],
    "LangChain": [HELLO.text, HELLO.text, SUNNY.text, "mood='good' sure=True", "2 vectors"],
    "LlamaIndex": [HELLO.text, HELLO.text, "sunny at the lake", "2 vectors"],
    "LiteLLM": [HELLO.text, HELLO.text, "2 vectors"],
    "pydantic-ai": [SUNNY.text, "mood='good' sure=True"],
    "llm": [HELLO.text, SUNNY.text],
    "lm-evaluation-harness": ["bits_per_byte"],
}


def test_the_guide_has_an_example_for_every_client() -> None:
    assert GUIDE.keys() == PACKAGES.keys() == SAID.keys()


@pytest.mark.parametrize("name", SAID)
def test_an_example_says_what_it_should(name: str, server: str, lone_server: str, tmp_path: Path) -> None:
    client = find(name)
    if client.version is None:
        pytest.skip(f"{name} is not installed")
    scores = (
        name == "lm-evaluation-harness"
    )  # texts are scored by the real model; the other says what it is told to
    example = GUIDE[name].pointed_at(*((lone_server, "tiny") if scores else (server, "current")))
    done = client.run(example, tmp_path)
    assert done.returncode == 0, done.stdout
    rest = done.stdout
    for words in SAID[name]:
        assert words in rest, f"{words!r} is not said (any more) in:\n{done.stdout}"
        rest = rest[rest.index(words) + len(words) :]
