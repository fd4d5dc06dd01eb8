"""Talking to a run while it trains: newer weights come in between replies, never into one, and never half of them."""

import asyncio
import shutil
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from fastapi import FastAPI

from liaoliao.engine.async_engine import AsyncEngine
from liaoliao.engine.engine import Engine
from liaoliao.engine.request import Request, SamplingParams
from liaoliao.model.checkpoint import load_model, save_checkpoint, version_of
from liaoliao.model.config import ModelConfig
from liaoliao.model.registry import register, unregister
from liaoliao.model.run_registry import register_run
from liaoliao.model.run_state import new_state, write_state
from liaoliao.model.transformer import Transformer
from liaoliao.recipes.pretrain import pretrain
from liaoliao.recipes.reporter import Silent
from liaoliao.server.failures import ApiError
from liaoliao.server.page import following as module
from liaoliao.server.page import loading
from liaoliao.server.page.following import Following, available, install_following, pick_model
from liaoliao.server.page.loading import LoadOptions
from liaoliao.server.served import ServedModel, served_model
from liaoliao.text.chat_template import ChatTemplate
from liaoliao.text.tokenizer import Tokenizer
from liaoliao.train.loop import TrainState
from tests.recipes.tiny import tiny_pretrain, write_texts

LONG = Request((5, 6, 7), SamplingParams(max_tokens=40, temperature=0.0, ignore_eos=True))
ENDLESS = Request((5, 6, 7), SamplingParams(max_tokens=2000, temperature=0.0, ignore_eos=True))
SHORT = Request((5, 6, 7), SamplingParams(max_tokens=12, temperature=0.0, ignore_eos=True))
OPTIONS = LoadOptions(dtype="fp32", every_s=3600.0)  # brought up to date when a test says so


@pytest.fixture(scope="module")
def other_tokenizer() -> Tokenizer:
    return Tokenizer.train(["something else altogether, 别的东西"] * 4, 330)


def save(folder: Path, tokenizer: Tokenizer, seed: int) -> Path:
    """A model of random weights, loud enough to say different things."""
    model = Transformer(ModelConfig.from_depth(1, 340, max_position_embeddings=2048))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0.0, 0.2, generator=generator)
    save_checkpoint(folder, model, tokenizer, ChatTemplate(tokenizer), lineage={"recipe": "test"})
    return folder


def make_run(folder: Path, tokenizer: Tokenizer, *seeds: int) -> Path:
    """A run that has saved a checkpoint at each of these steps, with weights of that seed."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    for seed in seeds:
        save(folder / "checkpoints" / "pretrain" / f"{seed:07d}", tokenizer, seed)
    write_state(folder, replace(new_state("pretrain", None), stage="pretrain"))
    register_run(folder)
    return folder


def alone(folder: Path, request: Request) -> list[int]:
    """What a model says with nothing else going on."""
    return list(Engine(load_model(folder)).generate([request])[0].token_ids)


async def said(served: ServedModel, request: Request) -> list[int]:
    return [event.token_id async for event in served.engine.stream(request)]


def following(
    test: Callable[[FastAPI, Following], Coroutine[Any, Any, None]],
    *served: ServedModel,
    options: LoadOptions = OPTIONS,
) -> FastAPI:
    """Run a test in an app that follows, and close everything."""
    app = FastAPI()
    app.state.models = {model.id: model for model in served}

    async def go() -> None:
        follows = install_following(app, options)
        await follows.start()
        try:
            await test(app, follows)
        finally:
            await follows.close()

    asyncio.run(go())
    return app


@asynccontextmanager
async def held(*served: ServedModel) -> AsyncIterator[None]:
    """The models' engines stand still between two steps: what they are saying is certainly not over."""
    gate, calls = threading.Event(), []
    for model in served:
        stands = threading.Event()
        assert isinstance(model.engine, AsyncEngine)
        calls.append(asyncio.ensure_future(model.engine._call(partial(_stand, stands, gate))))
        while not stands.is_set():
            await asyncio.sleep(0.001)
    try:
        yield
    finally:
        gate.set()
        await asyncio.gather(*calls)


def _stand(stands: threading.Event, gate: threading.Event) -> None:
    stands.set()
    gate.wait()


async def refused(app: FastAPI, model_id: str, *, may_load: bool = True) -> tuple[int, str | None]:
    with pytest.raises(ApiError) as caught:
        await pick_model(app, model_id, may_load=may_load)
    return caught.value.status, caught.value.code


def test_a_stream_ends_on_the_weights_it_began_with(tmp_path: Path, tokenizer: Tokenizer) -> None:
    """Five streams in the middle of their replies, and a newer checkpoint: none is dropped, none is mixed."""
    run = make_run(tmp_path / "town", tokenizer, 1)
    old, request = alone(run / "checkpoints/pretrain/0000001", LONG), LONG

    async def test(app: FastAPI, follows: Following) -> None:
        served = await pick_model(app, "run:town", may_load=True)
        assert isinstance(served.engine, AsyncEngine)
        streams = [served.engine.stream(request) for _ in range(5)]
        firsts = [(await anext(stream)).token_id for stream in streams]
        async with held(served):
            newer = save(run / "checkpoints" / "pretrain" / "0000002", tokenizer, 2)
            shutil.rmtree(run / "checkpoints" / "pretrain" / "0000001")  # a run keeps two
            refreshing = asyncio.create_task(follows.refresh("run:town"))
            while not served.engine._jobs:  # until the new weights wait to be taken
                await asyncio.sleep(0.005)
        await refreshing
        after = await pick_model(app, "run:town", may_load=True)
        assert after.engine is served.engine and after.tokenizer is served.tokenizer
        assert after.version == version_of(newer) != served.version and after.folder == newer
        new = await said(after, request)
        rests = [[event.token_id async for event in stream] for stream in streams]
        assert [[first, *rest] for first, rest in zip(firsts, rests, strict=True)] == [old] * 5
        assert new == alone(newer, request) != old

    following(test)


@pytest.mark.parametrize("harm", ["cut", "no manifest", "draft", "flipped bit"])
def test_a_checkpoint_that_is_not_whole_is_never_served(
    harm: str, tmp_path: Path, tokenizer: Tokenizer
) -> None:
    run = make_run(tmp_path / "town", tokenizer, 1)
    stage = run / "checkpoints" / "pretrain"

    def damage() -> Path:
        bad = save(stage / ("0000002" if harm != "draft" else ".0000002.draft"), tokenizer, 2)
        weights = bad / "model.safetensors"
        if harm == "cut":
            weights.write_bytes(weights.read_bytes()[:-1000])
        elif harm == "flipped bit":
            data = bytearray(weights.read_bytes())
            data[-5] ^= 1
            weights.write_bytes(data)
        elif harm == "no manifest":
            (bad / "manifest.json").unlink()
        return bad

    async def test(app: FastAPI, follows: Following) -> None:
        bad = damage()
        served = await pick_model(app, "run:town", may_load=True)
        assert served.folder == stage / "0000001"
        for _ in range(2):
            await follows.refresh("run:town")
            assert (await pick_model(app, "run:town")).folder == stage / "0000001"
        shutil.rmtree(bad)
        whole = save(stage / "0000003", tokenizer, 3)
        await follows.refresh("run:town")
        assert (await pick_model(app, "run:town")).folder == whole
        assert await said(app.state.models["run:town"], SHORT) == alone(whole, SHORT)

    following(test)


def test_the_model_of_a_finished_run_comes_last(tmp_path: Path, tokenizer: Tokenizer) -> None:
    run = make_run(tmp_path / "town", tokenizer, 9, 10)

    async def test(app: FastAPI, follows: Following) -> None:
        assert available(app, may_load=True)[0].version == "pretrain/0000010"
        assert (
            await pick_model(app, "run:town", may_load=True)
        ).folder == run / "checkpoints/pretrain/0000010"
        save(run / "checkpoints" / "sft" / "0000002", tokenizer, 2)
        await follows.refresh("run:town")
        assert (
            available(app)[0].version == "pretrain/0000010"
        )  # the state says that this is the present stage
        save(run / "model", tokenizer, 3)
        await follows.refresh("run:town")
        assert (await pick_model(app, "run:town")).folder == run / "model"
        [listed] = available(app)
        assert (listed.id, listed.run, listed.loaded, listed.version) == ("run:town", "town", True, "model")

    following(test)


class Slowly(Silent):
    """Steps as long as it takes to load so small a model."""

    def step(self, stage: str, state: TrainState) -> None:
        time.sleep(0.1)


def test_a_run_is_talked_to_while_it_trains(tmp_path: Path) -> None:
    """A real run that saves after every step, and somebody who never stops talking to it: every reply is whole, and they
    come from many versions of the model.
    """
    out, heard, over = tmp_path / "live", [], threading.Event()

    async def talk(app: FastAPI, follows: Following) -> None:
        while not over.is_set():
            if not available(app, may_load=True):
                await asyncio.sleep(0.01)
                continue
            served = await pick_model(app, "run:live", may_load=True)
            streams = [said(served, SHORT) for _ in range(3)]
            heard.extend([(served.version, len(reply)) for reply in await asyncio.gather(*streams)])
        heard.append(("the end", 12))

    options = LoadOptions(dtype="fp32", every_s=0.01)
    listener = threading.Thread(target=following, args=(talk,), kwargs={"options": options})
    listener.start()
    pretrain(tiny_pretrain(write_texts(tmp_path), steps=25, save_every_s=0.0), out, Slowly())
    over.set()
    listener.join()
    assert heard[-1] == ("the end", 12)  # nothing was raised on the way
    assert {length for _, length in heard} == {12}
    assert len({version for version, _ in heard}) >= 5


def test_who_asks_for_what_is_not_there_is_told(tmp_path: Path, tokenizer: Tokenizer) -> None:
    make_run(tmp_path / "empty", tokenizer)
    make_run(tmp_path / "town", tokenizer, 1)

    async def test(app: FastAPI, follows: Following) -> None:
        assert await refused(app, "run:nowhere") == (404, "model_not_found")
        assert await refused(app, "town") == (404, "model_not_found")
        assert await refused(app, "run:") == (404, "model_not_found")
        assert await refused(app, "run:../town") == (404, "model_not_found")
        assert await refused(app, "run:empty") == (409, "no_checkpoint")
        assert await refused(app, "run:town", may_load=False) == (403, "admins_only")
        assert available(app) == [] and [model.id for model in available(app, may_load=True)] == ["run:town"]
        loaded = await pick_model(app, "run:town", may_load=True)
        assert await pick_model(app, "run:town", may_load=False) is loaded

    following(test)


def test_many_who_ask_at_once_wait_for_one_loading(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "town", tokenizer, 1)
    loadings = []

    def load_first(*args: Any) -> Any:
        loadings.append(args)
        return real(*args)

    real = loading.load_first
    monkeypatch.setattr(module, "load_first", load_first)

    async def test(app: FastAPI, follows: Following) -> None:
        asked = [asyncio.create_task(pick_model(app, "run:town", may_load=True)) for _ in range(6)]
        while not follows._loading:
            await asyncio.sleep(0)
        asked[0].cancel()  # the one for whom it was begun leaves
        got = await asyncio.gather(*asked[1:])
        assert len(loadings) == 1 and all(one is got[0] for one in got)

    following(test)


def test_few_are_held_at_once_and_none_that_is_in_use_gives_way(
    tmp_path: Path, tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, name in enumerate("abc", 1):
        make_run(tmp_path / name, tokenizer, number)
    monkeypatch.setattr(module, "_JUST_NOW_S", 0.0)

    async def test(app: FastAPI, follows: Following) -> None:
        one, two = [await pick_model(app, f"run:{name}", may_load=True) for name in "ab"]
        talk = one.engine.stream(LONG)
        first = await anext(talk)
        await pick_model(app, "run:a")  # "b" is the least recently used
        three = await pick_model(app, "run:c", may_load=True)
        assert set(app.state.models) == {"run:a", "run:c"}
        assert isinstance(two.engine, AsyncEngine) and not two.engine._thread.is_alive()
        more = three.engine.stream(ENDLESS)
        await anext(more)
        async with held(three):
            assert "run:a" in app.state.models
            rest = [event.token_id async for event in talk]
            again = one.engine.stream(ENDLESS)
            await anext(again)
            async with held(one):
                assert await refused(app, "run:b") == (503, "overloaded")
        assert [first.token_id, *rest] == old
        await again.aclose()
        await more.aclose()
        while one.engine.stats().num_running or three.engine.stats().num_running:
            await asyncio.sleep(0.01)
        await pick_model(app, "run:b", may_load=True)
        assert len(app.state.models) == 2

    old = alone(tmp_path / "a" / "checkpoints" / "pretrain" / "0000001", LONG)
    following(test)


def test_a_run_nobody_talks_to_takes_no_memory(tmp_path: Path, tokenizer: Tokenizer) -> None:
    make_run(tmp_path / "town", tokenizer, 1)

    async def test(app: FastAPI, follows: Following) -> None:
        served = await pick_model(app, "run:town", may_load=True)
        stream = served.engine.stream(ENDLESS)
        await anext(stream)
        await follows.refresh("run:town")
        assert "run:town" in app.state.models  # somebody is being answered
        await stream.aclose()
        while served.engine.stats().num_running:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.15)
        await follows.refresh("run:town")
        assert "run:town" not in app.state.models
        assert await said(await pick_model(app, "run:town", may_load=True), SHORT)

    following(test, options=LoadOptions(dtype="fp32", every_s=3600.0, idle_s=0.1))


def test_current_follows_its_alias_there_and_back(tmp_path: Path, tokenizer: Tokenizer) -> None:
    one, two = (save(tmp_path / name, tokenizer, seed) for seed, name in enumerate(("one", "two"), 1))
    register("current", one)
    served = served_model("current", dtype="fp32")
    plain = served_model(one, dtype="fp32")  # by its folder: stays what it is

    async def test(app: FastAPI, follows: Following) -> None:
        for folder in (two, one):
            register("current", folder)
            await follows.refresh("current")
            now = await pick_model(app, "current")
            assert now.folder == folder and now.engine is served.engine and now.id == "current"
            assert await said(now, SHORT) == alone(folder, SHORT)
        unregister("current")
        await follows.refresh("current")
        assert (await pick_model(app, "current")).folder == one
        await follows.refresh("one")
        assert app.state.models["one"] is plain

    following(test, served, plain)
    for model in (served, plain):  # they were not made by the following, so it has not closed them
        assert isinstance(model.engine, AsyncEngine) and model.engine._thread.is_alive()
        model.engine.close()


def test_the_server_notices_by_itself(tmp_path: Path, tokenizer: Tokenizer) -> None:
    one, two = (save(tmp_path / name, tokenizer, seed) for seed, name in enumerate(("one", "two"), 1))
    register("current", one)
    served = served_model("current", dtype="fp32")

    async def test(app: FastAPI, follows: Following) -> None:
        register("current", two)
        while app.state.models["current"].folder != two:  # pytest's timeout is the limit
            await asyncio.sleep(0.01)

    following(test, served, options=LoadOptions(dtype="fp32", every_s=0.01))
    served.engine.close()


def test_another_tokenizer_makes_it_another_model(
    tmp_path: Path, tokenizer: Tokenizer, other_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old model goes on under nobody's name until those who began with it are done; then it is closed."""
    monkeypatch.setattr(module, "_QUIET_S", 0.5)
    one, two = save(tmp_path / "one", tokenizer, 1), save(tmp_path / "two", other_tokenizer, 2)
    register("current", one)
    before = served_model("current", dtype="fp32")
    engine = before.engine
    assert isinstance(engine, AsyncEngine)
    old_long, old_short, new_short = alone(one, LONG), alone(one, SHORT), alone(two, SHORT)

    async def test(app: FastAPI, follows: Following) -> None:
        stream = engine.stream(LONG)
        first = await anext(stream)
        register("current", two)
        await follows.refresh("current")
        after = app.state.models["current"]
        assert after.id == "current" and after.engine is not engine
        assert after.tokenizer.vocab_size == other_tokenizer.vocab_size
        assert await said(after, SHORT) == new_short
        assert [first.token_id, *[event.token_id async for event in stream]] == old_long
        assert await said(before, SHORT) == old_short  # who had picked it may still ask
        while engine._thread.is_alive():
            await asyncio.sleep(0.02)
        register("current", one)  # and back: the name is another model once more
        await follows.refresh("current")
        assert await said(app.state.models["current"], SHORT) == old_short

    app = following(test, before)
    last = app.state.models["current"].engine
    assert isinstance(last, AsyncEngine) and not last._thread.is_alive()  # what was made here is closed here
