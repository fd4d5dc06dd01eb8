"""A model made for retrieval behind /v1/embeddings: the library's own `encode` is the oracle, and nothing is downloaded."""

import asyncio
import base64
import struct
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from fastapi import FastAPI
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import OpenAI

from liaoliao.errors import OverloadedError, RequestError, UsageError
from liaoliao.server.app import create_app
from liaoliao.server.openai_shapes import EmbeddingList, ModelList
from liaoliao.server.retrieval import RetrievalModel, load_retrieval
from liaoliao.server.served import ServedModel
from liaoliao.server.settings import Settings
from tests.server.bert import CONTEXT, SIZE, made
from tests.server.conftest import failure
from tests.server.conftest import post as post_to_scripted
from tests.server.plain import ask, running, until

TEXTS = [
    "the cat",
    "猫坐在垫子上",
    "two and three are 5, the cat sat on the mat",
    "你好",
    "the cat",
    "Das ist neu: 鑫",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("retrieval") / "tiny-bert")


@pytest.fixture(scope="module")
def oracle(folder: Path) -> Any:
    library: Any = pytest.importorskip("sentence_transformers")
    return library.SentenceTransformer(str(folder), local_files_only=True)


@pytest.fixture(scope="module")
def retrieval(folder: Path) -> Iterator[RetrievalModel]:
    model = load_retrieval(folder)
    yield model
    model.close()


@pytest.fixture(scope="module")
def both(served: ServedModel, retrieval: RetrievalModel) -> FastAPI:
    """The model that talks, and the one for retrieval beside it."""
    return create_app(Settings(), [served], retrieval=retrieval)


def post(app: FastAPI, **body: Any) -> httpx.Response:
    return ask(app, "/v1/embeddings", method="POST", json={"model": "tiny-bert", **body})


def vectors_of(response: httpx.Response) -> list[list[float]]:
    assert response.status_code == 200, response.text
    EmbeddingList.model_validate(response.json(), strict=True)
    data = response.json()["data"]
    assert [entry["index"] for entry in data] == list(range(len(data)))
    return [entry["embedding"] for entry in data]


def near(vectors: Sequence[Sequence[float]], expected: Any) -> None:
    torch.testing.assert_close(torch.tensor(vectors), torch.as_tensor(expected).cpu(), atol=1e-5, rtol=0)


# What the library gives


def test_vectors_are_the_librarys(both: FastAPI, oracle: Any) -> None:
    expected = torch.as_tensor(oracle.encode(TEXTS, normalize_embeddings=True))
    assert (expected[0] - expected[1]).abs().max() > 0.1, "it tells texts apart"
    near(vectors_of(post(both, input=TEXTS)), expected)
    for text, row in zip(TEXTS, expected, strict=True):
        near(vectors_of(post(both, input=text)), row[None])
    assert torch.tensor(vectors_of(post(both, input=TEXTS))).norm(dim=-1) == pytest.approx(1, abs=1e-5)


def test_neighbours_in_a_batch_change_nothing(both: FastAPI, oracle: Any) -> None:
    words = "the cat 猫 sat 你好 on".split()
    texts = [" ".join((words * 9)[i % 6 : i % 6 + 1 + i * 7 % 50]) for i in range(100)]
    vectors = vectors_of(post(both, input=texts))
    near(vectors, oracle.encode(texts, normalize_embeddings=True, batch_size=1))
    near(vectors_of(post(both, input=texts[::-1])), vectors[::-1])


def test_a_text_that_looks_like_a_file_is_a_text(both: FastAPI, oracle: Any, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"\x89PNG")
    texts = [
        "https://example.com/cat.png",
        str(tmp_path / "cat.png"),
        "data:image/png;base64,aGk=",
        "\0",
        "\n",
    ]
    near(vectors_of(post(both, input=texts)), oracle.encode(texts, normalize_embeddings=True))


def test_base64_is_little_endian_floats(both: FastAPI) -> None:
    [entry] = post(both, input="the cat", encoding_format="base64").json()["data"]
    packed = base64.b64decode(entry["embedding"])
    assert list(struct.unpack(f"<{SIZE}f", packed)) == vectors_of(post(both, input="the cat"))[0]


def test_usage_counts_with_its_own_tokenizer(both: FastAPI, oracle: Any) -> None:
    num_tokens = sum(map(len, oracle.tokenizer(TEXTS)["input_ids"]))
    response = post(both, input=TEXTS).json()
    assert response["usage"] == {"prompt_tokens": num_tokens, "total_tokens": num_tokens}
    assert response["model"] == "tiny-bert"


def test_its_own_prompt_and_comparison(tmp_path: Path) -> None:
    prompts = {"find": "the cat sat: "}
    folder = made(
        tmp_path / "prompted", similarity_fn_name="dot", prompts=prompts, default_prompt_name="find"
    )
    library: Any = pytest.importorskip("sentence_transformers")
    oracle = library.SentenceTransformer(str(folder), local_files_only=True)
    model = load_retrieval(folder)
    vectors, num_tokens = asyncio.run(model.embed(TEXTS))
    model.close()
    near(vectors.tolist(), oracle.encode(TEXTS))
    assert (oracle.encode(["two"], prompt="") != oracle.encode(["two"])).any()
    assert vectors.norm(dim=-1).max() > 1.5
    said = [f"the cat sat: {text}" for text in TEXTS]
    assert num_tokens == sum(map(len, oracle.tokenizer(said)["input_ids"]))


# The routes


def test_the_openai_client(both: FastAPI, oracle: Any) -> None:
    settings = Settings(port=0)
    with (
        running(both, settings) as url,
        OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        answer = client.embeddings.create(model="tiny-bert", input=TEXTS)
        assert [model.id for model in client.models.list()] == ["scripted", "tiny-bert"]
    near([entry.embedding for entry in answer.data], oracle.encode(TEXTS, normalize_embeddings=True))


def test_it_is_listed(both: FastAPI, retrieval: RetrievalModel, folder: Path) -> None:
    listed = ask(both, "/v1/models").json()
    ModelList.model_validate(listed, strict=True)
    assert listed["data"][1] == ask(both, "/v1/models/tiny-bert").json() == {
        "id": "tiny-bert", "object": "model", "created": int((folder / "modules.json").stat().st_mtime),
        "owned_by": "liaoliao", "max_model_len": CONTEXT,
    }  # fmt: skip


def test_a_text_that_is_too_long(both: FastAPI) -> None:
    for text, told in (
        ("the " * (CONTEXT - 1), "65 tokens"),
        ("猫" * 10**6, "1026 tokens"),
    ):  # by its beginning
        error = failure(post(both, input=["the cat", text]))
        assert error["code"] == "context_length_exceeded" and told in error["message"]
    late = " " * 2000 + "the " * (CONTEXT - 1)
    assert "65 tokens" in failure(post(both, input=late))["message"]
    longest = "the " * (CONTEXT - 2)
    assert post(both, input=longest + " " * 5000).json()["usage"]["prompt_tokens"] == CONTEXT
    near(vectors_of(post(both, input=longest + " " * 5000)), vectors_of(post(both, input=longest)))


@pytest.mark.parametrize(
    ("change", "param", "said"),
    [
        ({"input": [5, 6]}, "input", "not token ids"), ({"input": [[5], [6]]}, "input", "not token ids"),
        ({"parse_special": False}, "parse_special", "leave it out"), ({"dimensions": 8}, "dimensions", "32 numbers"),
        ({"input": ["a", ""]}, "input", "empty"), ({"input": []}, "input", "at least 1"),
        ({"encoding_format": "int8"}, "encoding_format", "base64"), ({"colour": "red"}, "colour", "Unrecognized"),
    ],
    ids=str,
)  # fmt: skip
def test_what_makes_no_sense(both: FastAPI, change: dict[str, Any], param: str, said: str) -> None:
    response = post(both, **{"input": "the cat", **change})
    error = failure(response)
    assert response.status_code == 400 and error["param"] == param and said in error["message"]


def test_other_names_and_other_routes(both: FastAPI) -> None:
    missing = post(both, model="gpt-9", input="the cat")
    assert missing.status_code == 404 and failure(missing)["code"] == "model_not_found"
    assert "scripted, tiny-bert" in failure(missing)["message"]
    talk = {"model": "tiny-bert", "messages": [{"role": "user", "content": "hi"}]}
    refused = ask(both, "/v1/chat/completions", method="POST", json=talk)
    assert refused.status_code == 400 and "embeddings only" in failure(refused)["message"]
    assert post(both, input="the cat", dimensions=SIZE, user="anna").status_code == 200


def test_the_model_that_talks_embeds_as_before(both: FastAPI, app: FastAPI) -> None:
    for body in ({"input": ["the cat", "two"]}, {"input": [5, 6]}, {"input": "a", "parse_special": True}):
        alone, beside = (post_to_scripted(one, "/v1/embeddings", **body) for one in (app, both))
        assert alone.status_code == 200 and alone.json() == beside.json()


def test_one_name_for_two(served: ServedModel, retrieval: RetrievalModel) -> None:
    with pytest.raises(UsageError, match="same name"):
        create_app(Settings(), [replace(served, id="tiny-bert")], retrieval=retrieval)


def test_a_text_without_tokens(tmp_path: Path) -> None:
    model = load_retrieval(made(tmp_path / "bare", special=False))
    with pytest.raises(RequestError, match="no tokens"):
        asyncio.run(model.embed(["the cat", " \n"]))
    model.close()


# Turns, by a library that a test holds back


class Held:
    """Stands in for the library's model: a vector is how long its text is; `going` lets it work."""

    max_seq_length, prompts, default_prompt_name, similarity_fn_name = 100, dict[str, str](), None, "dot"

    def __init__(self) -> None:
        self.going, self.batches = threading.Event(), list[list[str]]()

    def preprocess(self, texts: list[str], *, prompt: str | None, processing_kwargs: object) -> Any:
        assert prompt is None
        return {"input_ids": torch.zeros(1, len(texts[0]))}

    def encode(self, texts: list[str], **options: Any) -> torch.Tensor:
        self.batches.append(texts)
        assert self.going.wait(30)
        return torch.tensor([[float(len(text)), 1.0] for text in texts])


def held(*, max_waiting: int = 256) -> tuple[RetrievalModel, Held]:
    library = Held()
    return RetrievalModel(library, id="held", created=1, max_waiting=max_waiting), library


@settings(max_examples=20)
@given(st.lists(st.integers(1, 100), min_size=1, max_size=150))
def test_batches_are_bounded_and_the_order_is_kept(lengths: list[int]) -> None:
    model, library = held()
    library.going.set()
    vectors, num_tokens = asyncio.run(model.embed(["x" * length for length in lengths]))
    model.close()
    assert vectors[:, 0].tolist() == lengths and num_tokens == sum(lengths)
    assert all(len(batch) <= 32 and len(batch) * max(map(len, batch)) <= 4096 for batch in library.batches)


def test_a_flood_is_overload() -> None:
    model, library = held(max_waiting=1)
    app = create_app(Settings(), [], retrieval=model)
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(post, app, model="held", input="hi") for _ in range(2)]
        until(lambda: model._num_open == 2)
        refused = post(app, model="held", input="hi")
        library.going.set()
        assert [future.result().status_code for future in waiting] == [200, 200]
    assert refused.status_code == 503 and refused.headers["retry-after"] == "2"
    assert failure(refused)["code"] == "overloaded" and "held" in failure(refused)["message"]
    assert post(app, model="held", input="hi").status_code == 200
    model.close()


def test_a_long_request_lets_a_short_one_in_and_ends_when_it_is_left() -> None:
    async def main() -> None:
        model, library = held()
        long = asyncio.create_task(model.embed(["x" * 100] * 400))
        await asyncio.to_thread(until, lambda: library.batches)
        short = asyncio.create_task(model.embed(["y"]))
        await asyncio.sleep(0)
        library.going.set()
        assert (await short)[0].tolist() == [[1.0, 1.0]]
        assert not long.done()
        long.cancel()
        await asyncio.wait((long,))
        await model.embed(["z"])
        assert len(library.batches) < 8 and model._num_open == 0
        model.close()

    asyncio.run(main())


def test_each_batch_is_paid_for_also_by_who_leaves() -> None:
    async def main() -> None:
        model, library = held()
        charged: list[int] = []
        left = asyncio.create_task(model.embed(["x" * 100] * 100, charge=charged.append))
        await asyncio.to_thread(until, lambda: library.batches)
        left.cancel()
        await asyncio.wait((left,))
        assert charged == [32 * 100]
        library.going.set()
        await model.embed(["x" * 100] * 100, charge=charged.append)
        assert sum(charged) == 132 * 100
        model.close()

    asyncio.run(main())


def test_closed_it_ends_its_batch_and_takes_no_more() -> None:
    async def main() -> None:
        model, library = held()
        first, second = (asyncio.create_task(model.embed([text])) for text in "ab")
        await asyncio.to_thread(until, lambda: library.batches)
        model.close()
        library.going.set()
        assert (await first)[1] == 1
        for late in (second, model.embed(["c"])):
            with pytest.raises(OverloadedError, match="shutting down"):
                await late
        assert model._num_open == 0 and library.batches == [["a"]]

    asyncio.run(main())
