"""How long the X-ray takes: an answer in a conversation of 500 tokens, asked for as the page asks for it.

    python benchmarks/xray.py                    15M and 110M; writes benchmarks/results/xray.md (about a minute)
    python benchmarks/xray.py --sizes 15M        one size, printed only

Random weights. The server serves the model in bf16 with its fast engine beside, on all cores; the routes are called in
process, so the times are those of everything but the socket: the store, the template, the model, the JSON.

"first": the model is not loaded yet. "loaded": another conversation of the same length, of which nothing was read before.
"a look": any token of the answer or the prompt, in random order, once the X-ray of the answer was shown.
"""

import argparse
import asyncio
import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import torch

from liaoliao.messages import Message
from liaoliao.model.checkpoint import save_checkpoint
from liaoliao.model.config import ModelConfig
from liaoliao.model.transformer import Transformer
from liaoliao.server.app import create_app
from liaoliao.server.page.glass import glass_of
from liaoliao.server.served import ServedModel, served_model
from liaoliao.server.settings import Settings
from liaoliao.store import Store
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.tokenizer import Tokenizer

RESULTS = Path(__file__).parent / "results" / "xray.md"
SIZES = {  # layers, width, SwiGLU, heads of 64, vocabulary
    "15M": (6, 384, 1024, 6, 10_240),
    "110M": (12, 768, 2048, 12, 32_000),
}
NUM_TOKENS, NUM_ANSWER, NUM_LOOKS = 500, 120, 40
NUM_WORDS = (NUM_TOKENS - NUM_ANSWER) // 5 - 12  # of each of five messages; the rest is marks


@dataclass(frozen=True, slots=True)
class Measured:
    """Times in seconds; `size` is what a look sends."""

    first: float
    loaded: list[float]
    looks: list[float]
    size_bytes: int
    dtype: str


def make_folder(size: str, folder: Path) -> Path:
    """A checkpoint with random weights."""
    layers, width, inner, heads, vocab = SIZES[size]
    config = ModelConfig(vocab, width, inner, layers, heads, heads, 64, eos_token_id=0)
    model = Transformer(config)
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(0.0, 0.02)
    tokenizer = Tokenizer.train(["the cat sat on the mat"] * 4, 300)
    save_checkpoint(folder / size, model, tokenizer, ChatTemplate(tokenizer), lineage={})
    return folder / size


def add_answer(store: Store, served: ServedModel, seed: int) -> str:
    """A conversation of NUM_TOKENS tokens that ends with a stored answer; its message id."""
    rng, me = random.Random(seed), store.single_account()

    def words(count: int) -> str:
        return "".join(
            rng.choice("bdfgjklpqvwxyz") for _ in range(count)
        )  # nothing that the tokenizer merges

    talk, parent = store.create_conversation(me.id), None
    for turn in range(4):
        said = words(NUM_WORDS)
        message = Message.assistant(said) if turn % 2 else Message.user(said)
        parent = store.add_message(me.id, talk.id, message, parent).id
    said = words(NUM_WORDS)
    parent = store.add_message(me.id, talk.id, Message.user(said), parent).id
    node = store.begin_generation(
        me.id, talk.id, parent, model=served.id, model_version=served.version, params={}
    )
    answer = Message.assistant(words(NUM_ANSWER))
    made = served.tokenizer.encode(answer.text)
    store.finish_generation(node.id, answer, "length", token_ids=made, finish_reason="length")
    return node.id


async def timed(client: httpx.AsyncClient, path: str) -> tuple[float, httpx.Response]:
    """Seconds until the whole reply is there."""
    began = time.perf_counter()
    response = await client.get(f"/api/messages/{path}")
    assert response.status_code == 200, response.text
    return time.perf_counter() - began, response


async def measure(served: ServedModel, store: Store) -> Measured:
    """All times of one model."""
    app = create_app(Settings(), [served], store=store)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=300) as client:
        answers = [add_answer(store, served, seed) for seed in range(6)]
        first, shown = await timed(client, f"{answers[0]}/xray")
        loaded = [(await timed(client, f"{answer}/xray"))[0] for answer in answers[1:]]
        size = len(shown.json()["prompt"]) + NUM_ANSWER
        assert abs(size - NUM_TOKENS) < 60, size
        looks, last = await look_around(client, answers[-1], len(shown.json()["prompt"]))
        return Measured(first, loaded, looks, len(last.content), glass_of(app).dtype)


async def look_around(
    client: httpx.AsyncClient, answer: str, num_prompt: int
) -> tuple[list[float], httpx.Response]:
    """Looks at random tokens, three of four in the answer, the last at its end."""
    rng, looks = random.Random(0), list[float]()
    for index in range(NUM_LOOKS):
        path = f"{answer}/xray/{rng.randrange(NUM_ANSWER)}"
        if index % 4 == 0:
            path = f"{answer}/xray/{rng.randrange(1, num_prompt)}?at=prompt"
        looks.append((await timed(client, path))[0])
    return looks, (await timed(client, f"{answer}/xray/{NUM_ANSWER - 1}"))[1]


def spread(times: Sequence[float]) -> str:
    """Median and extremes, in milliseconds."""
    low, middle, high = (1000 * value for value in (min(times), statistics.median(times), max(times)))
    return f"{middle:,.0f} ms ({low:,.0f}-{high:,.0f})"


def row(size: str, told: Measured) -> str:
    """A line of the table."""
    cells: list[Any] = [
        size, told.dtype, f"{told.first:.2f} s", spread(told.loaded), spread(told.looks),
        f"{told.size_bytes / 1000:,.0f} kB",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    """Measure, print, and write the table where all sizes were asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    sizes: list[str] = parser.parse_args().sizes
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for size in sizes:
            served = served_model(make_folder(size, Path(name)))
            with Store.open(f"sqlite:///{name}/{size}.db") as store:
                rows.append(row(size, asyncio.run(measure(served, store))))
            served.engine.close()
            print(rows[-1], flush=True)
    if sizes == list(SIZES):
        RESULTS.write_text(TABLE.format(rows="\n".join(rows), torch=torch.__version__), encoding="utf-8")


TABLE = f"""\
The X-ray of an answer of {NUM_ANSWER} tokens in a conversation of {NUM_TOKENS}, on two CPU cores, as the page asks for it
(random weights; medians, lowest and highest in brackets).

| | computed in | first, with loading the model | the whole answer, model loaded | a look at any token | size of a look |
|---|---|---|---|---|---|
{{rows}}

Command: `python benchmarks/xray.py`; torch {{torch}}. The model is served in bf16 beside it.
"""

if __name__ == "__main__":
    main()
