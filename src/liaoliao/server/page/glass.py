"""The one model that is looked into: loaded when somebody first wants to see, and dropped when nobody looks any more.

    glass = glass_of(app)
    look = await glass.ask(served, lambda inspector: inspector.look(token_ids, 57))

Looking needs a model that shows its layers, which the engines that answer fast do not: so the weights are read once
more, and computed in fp32 where there is room for that. One thread does all the looking, one look after the other.
"""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import torch
from fastapi import FastAPI

from liaoliao.engine.runner import free_memory
from liaoliao.engine.threads import default_threads
from liaoliao.model.checkpoint import load_config, load_model, version_of
from liaoliao.model.inspect import Inspector
from liaoliao.server.failures import ApiError, overloaded
from liaoliao.server.served import ServedModel

T = TypeVar("T")

IDLE_S: Final = 600.0
MAX_WAITING: Final = 16
_RETRY_S: Final = 5.0
_CPU: Final = torch.device("cpu")


def glass_of(app: FastAPI) -> "Glass":
    """The app's own, made when it is first asked for."""
    if not hasattr(app.state, "glass"):
        app.state.glass = Glass()
    glass: Glass = app.state.glass
    return glass


class Glass:
    """Holds the Inspector of one model for `idle_s` after the last look. Belongs to one event loop."""

    def __init__(self, *, idle_s: float = IDLE_S, max_waiting: int = MAX_WAITING) -> None:
        self.idle_s, self.max_waiting = idle_s, max_waiting
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="liaoliao-glass")
        self._num_waiting = 0
        self._dropping: asyncio.TimerHandle | None = None
        self._held: tuple[Path, str, Inspector] | None = None  # the thread's own

    async def ask(self, served: ServedModel, work: Callable[[Inspector], T]) -> T:
        """What `work` finds in the model that answers now; both in the thread.

        Raises ApiError: 409 where its weights cannot be had, 503 while too many want to look; what `work` raises; and
        CheckpointError for a folder that is damaged.
        """
        if served.folder is None:
            raise _unseen(
                f"The model {served.id} does not run on this machine, so nobody can look into it here."
            )
        if self._num_waiting >= self.max_waiting:
            raise overloaded("Too many want to look into the model; try again.", retry_after_s=_RETRY_S)
        loop = asyncio.get_running_loop()
        self._num_waiting += 1
        self._keep_until(None)
        try:
            return await loop.run_in_executor(
                self._thread, partial(self._look, served.folder, served.version, work)
            )
        finally:
            self._num_waiting -= 1
            if not self._num_waiting:
                self._keep_until(loop.call_later(self.idle_s, self._thread.submit, self._drop))

    @property
    def dtype(self) -> str:
        """In which numbers it computes; "" while no model is held."""
        return "" if self._held is None else str(self._held[2].dtype).removeprefix("torch.")

    def _keep_until(self, dropping: asyncio.TimerHandle | None) -> None:
        if self._dropping is not None:
            self._dropping.cancel()
        self._dropping = dropping

    def _look(self, folder: Path, version: str, work: Callable[[Inspector], T]) -> T:
        held = self._held
        if held is None or held[:2] != (folder, version):
            self._drop()
            held = self._held = folder, version, _load(folder, version)
        with _all_cores():
            return work(held[2])

    def _drop(self) -> None:
        self._held = None


@contextmanager
def _all_cores() -> Iterator[None]:
    """PyTorch on all cores, for this thread and while it looks: an engine may have left it one (`engine.cpu`)."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(before, default_threads()))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _load(folder: Path, version: str) -> Inspector:
    config = load_config(folder)
    wide = 4 * config.num_parameters() <= free_memory(_CPU) // 2
    model = load_model(folder, torch.float32 if wide else torch.bfloat16)
    if version and version_of(folder) != version:
        raise _unseen("The weights on the disk are not those that answer now; try again in a moment.")
    return Inspector(model, memory_bytes=free_memory(_CPU) // 4)


def _unseen(message: str) -> ApiError:
    return ApiError(message, status=409, code="cannot_look")
