"""The model under glass: loaded when it is wanted, dropped when it is not, and never another than the one that answers."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from liaoliao.model.inspect import Inspector
from liaoliao.server.failures import ApiError
from liaoliao.server.page import glass as module
from liaoliao.server.page.glass import Glass
from liaoliao.server.served import ServedModel


def same(inspector: Inspector) -> Inspector:
    return inspector


def asked(work: Callable[[Glass], Awaitable[None]], **options: float) -> None:
    async def go() -> None:
        await work(Glass(**options))  # type: ignore[arg-type]

    asyncio.run(go())


def test_it_is_loaded_once_and_dropped_when_idle(tiny: ServedModel) -> None:
    async def work(glass: Glass) -> None:
        first = await glass.ask(tiny, same)
        assert glass.dtype == "float32" and await glass.ask(tiny, same) is first
        await asyncio.sleep(0.3)
        assert glass.dtype == "" and await glass.ask(tiny, same) is not first

    asked(work, idle_s=0.1)


def test_only_weights_that_answer_are_looked_into(tiny: ServedModel) -> None:
    async def work(glass: Glass) -> None:
        await glass.ask(tiny, same)
        for other in (replace(tiny, version="0123456789ab"), replace(tiny, folder=None)):
            with pytest.raises(ApiError) as caught:
                await glass.ask(other, same)
            assert (caught.value.status, caught.value.code) == (409, "cannot_look")
        assert (await glass.ask(tiny, same)).model.config.vocab_size == tiny.tokenizer.vocab_size

    asked(work)


def test_a_model_too_large_for_fp32_is_looked_at_in_bf16(
    tiny: ServedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "free_memory", lambda device: 100_000)

    async def work(glass: Glass) -> None:
        inspector = await glass.ask(tiny, same)
        assert glass.dtype == "bfloat16" and inspector.max_tokens < tiny.max_length

    asked(work)


def test_not_everybody_can_look_at_once(tiny: ServedModel) -> None:
    free = threading.Event()

    def wait(inspector: Inspector) -> bool:
        return free.wait(10)

    async def work(glass: Glass) -> None:
        looks = [asyncio.create_task(glass.ask(tiny, wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(ApiError) as caught:
            await glass.ask(tiny, same)
        assert caught.value.status == 503 and "retry-after" in caught.value.headers
        free.set()
        assert await asyncio.gather(*looks) == [True, True]
        await glass.ask(tiny, same)

    asked(work, max_waiting=2)
