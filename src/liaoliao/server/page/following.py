"""Models that follow what stands behind their names: a registered name such as `current`, and `run:NAME`, the newest
checkpoint of a run, which may still be training.

    install_following(app, LoadOptions(dtype="int8"))
    served = await pick_model(app, "run:town-30", may_load=True)       # loaded on the first wish, off the event loop

When a name comes to stand for other weights, replies that have begun are finished on the old ones and new ones get the
new (`AsyncEngine.update_weights`). Where tokenizer or template have changed as well, a model of its own takes the name;
the old one is closed once nobody is being answered by it. In both cases `app.state.models` gets a new ServedModel under
the same id, so look it up anew for every request.

Models of runs take memory only while somebody talks to them: a few at once, the least recently used gives way.
"""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from fastapi import FastAPI

from liaoliao.engine.async_engine import AsyncEngine
from liaoliao.errors import CheckpointError, LiaoError, UsageError
from liaoliao.model.checkpoint import version_of
from liaoliao.model.registry import list_models, resolve
from liaoliao.model.run_registry import RegisteredRun, find_run, list_runs
from liaoliao.model.run_state import RunStatus
from liaoliao.server.failures import ApiError, overloaded
from liaoliao.server.page.loading import Loaded, LoadOptions, load_first, load_next, text_digest
from liaoliao.server.page.run_reader import RUN_PREFIX, checkpoints, read_run
from liaoliao.server.served import ServedEngine, ServedModel

_LOG: Final = logging.getLogger(__name__)
_JUST_NOW_S: Final = 2.0  # between being picked and being asked
_QUIET_S: Final = 10.0  # a replaced engine that nobody has asked for so long is not asked any more
_RETRY_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class RunModel:
    """A run that can be talked to: the id to ask for, whether it is loaded now, and what its newest checkpoint is."""

    id: str
    run: str
    loaded: bool
    state: RunStatus
    version: str


@dataclass(slots=True)
class _Followed:
    """A name and what is served under it. `candidates` finds what it may stand for now, the newest first."""

    loaded: Loaded
    candidates: Callable[[], list[Path]]
    of_run: bool
    used_at: float
    failed: set[str]  # versions that cannot be loaded


class Following:
    """Keeps names and weights together in an app, from `start` to `close`."""

    def __init__(self, app: FastAPI, options: LoadOptions) -> None:
        self.options = options
        self._models: dict[str, ServedModel] = app.state.models
        self._followed: dict[str, _Followed] = {}
        self._own: set[ServedEngine] = set()  # engines that were made here, and are closed here
        self._loading: dict[str, asyncio.Task[ServedModel]] = {}
        self._retiring: set[asyncio.Task[None]] = set()
        self._one_at_a_time = asyncio.Lock()
        self._watch: asyncio.Task[None] | None = None
        self._begun = False

    async def start(self) -> None:
        """Follow the names that are served from now on."""
        if not self._begun:
            self._begun = True
            for served in tuple(self._models.values()):
                if (text := await asyncio.to_thread(_text_of_alias, served)) is not None:
                    self._follow(served.id, Loaded(served, text), _of_alias(served.id), of_run=False)
            self._watch = asyncio.create_task(self._watching())

    async def close(self) -> None:
        """Follow no more, and close the engines that were made here."""
        tasks = [*self._loading.values(), *self._retiring, *([self._watch] if self._watch else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for engine in tuple(self._own):
            await self._close(engine)

    async def pick(self, model_id: str, *, may_load: bool) -> ServedModel:
        """See pick_model."""
        await self.start()
        if model_id not in self._models:
            return await self._load_run(model_id, may_load)
        if model_id in self._followed:
            self._followed[model_id].used_at = time.monotonic()
        return self._models[model_id]

    # ------------------------------------------------------------ runs

    async def _load_run(self, model_id: str, may_load: bool) -> ServedModel:
        """The model of a run; many who ask for it at once wait for one loading."""
        run = await asyncio.to_thread(_run_of, model_id)
        if run is None:
            raise ApiError(
                f"The model `{model_id}` does not exist; this server has: {', '.join(self._models)}",
                status=404, param="model", code="model_not_found",
            )  # fmt: skip
        if not may_load:
            raise ApiError("Only an admin may load the model of a run.", status=403, code="admins_only")
        if (task := self._loading.get(model_id)) is None:
            task = self._loading[model_id] = asyncio.create_task(self._loaded(model_id, run))
            task.add_done_callback(lambda done: self._loading_over(model_id, done))
        return await asyncio.shield(task)  # it goes on when one of them leaves

    def _loading_over(self, model_id: str, task: asyncio.Task[ServedModel]) -> None:
        del self._loading[model_id]
        if not task.cancelled():
            task.exception()  # is told to those who wait, if there is still anyone

    async def _loaded(self, model_id: str, run: RegisteredRun) -> ServedModel:
        async with self._one_at_a_time:
            await self._make_room()
            candidates = _of_run(run)
            folders = await asyncio.to_thread(candidates)
            loaded = await asyncio.to_thread(load_first, folders, model_id, self.options)
            if loaded is None:
                raise ApiError(
                    f"The run {run.name} has no checkpoint yet that could be loaded; ask again when it has saved one.",
                    status=409, param="model", code="no_checkpoint",
                )  # fmt: skip
            self._follow(model_id, loaded, candidates, of_run=True)
            self._adopt(loaded)
            return loaded.served

    async def _make_room(self) -> None:
        """Let the least recently used models of runs go until one more may be held. Raises ApiError 503 where all of
        them are in use.
        """
        while len(held := self._held()) >= self.options.max_runs:
            idle = [(held[name].used_at, name) for name in held if self._idle(held[name], _JUST_NOW_S)]
            if not idle:
                raise overloaded(
                    f"{len(held)} other runs are being talked to ({', '.join(held)}), and no more are held at once",
                    retry_after_s=_RETRY_S,
                )
            await self._drop(min(idle)[1])

    def _held(self) -> dict[str, _Followed]:
        return {name: followed for name, followed in self._followed.items() if followed.of_run}

    def _idle(self, followed: _Followed, seconds: float) -> bool:
        """Whether nobody is answered by a model, nor has been for so long."""
        if _busy(followed.loaded.served):
            followed.used_at = time.monotonic()
            return False
        return time.monotonic() - followed.used_at >= seconds

    async def _drop(self, name: str) -> None:
        engine = self._followed.pop(name).loaded.served.engine
        del self._models[name]
        await engine.drain(_JUST_NOW_S)
        await self._close(engine)

    async def _close(self, engine: ServedEngine) -> None:
        if engine in self._own:
            self._own.discard(engine)
            await asyncio.to_thread(engine.close)

    # ------------------------------------------------------------ following

    def _follow(
        self, name: str, loaded: Loaded, candidates: Callable[[], list[Path]], *, of_run: bool
    ) -> None:
        self._followed[name] = _Followed(loaded, candidates, of_run, time.monotonic(), set())

    def _adopt(self, loaded: Loaded) -> None:
        """Serve a model of our own under its id."""
        self._models[loaded.served.id] = loaded.served
        self._own.add(loaded.served.engine)

    async def _watching(self) -> None:
        while True:
            await asyncio.sleep(self.options.every_s)
            for name in tuple(self._followed):
                try:
                    await self.refresh(name)
                except Exception:  # the next name, and the next time, must not suffer for it
                    _LOG.exception("%s could not be brought up to date", name)

    async def refresh(self, name: str) -> None:
        """Bring one name up to date, or drop it if it is a run's that nobody has talked to for long."""
        async with self._one_at_a_time:
            if (followed := self._followed.get(name)) is None:
                return
            if followed.of_run and self._idle(followed, self.options.idle_s):
                await self._drop(name)
                return
            served = followed.loaded.served
            newer = await asyncio.to_thread(_newer, followed.candidates, served.version, followed.failed)
            for folder, version in newer:
                if await self._exchange(followed, folder, version):
                    return

    async def _exchange(self, followed: _Followed, folder: Path, version: str) -> bool:
        """Serve the model of a folder under a name; False where it is no good."""
        before = followed.loaded
        try:
            loaded = await asyncio.to_thread(load_next, folder, before, self.options)
        except Exception as error:  # whatever it is, it would be the same the next time
            followed.failed.add(version)
            known = isinstance(error, LiaoError | OSError)
            _LOG.warning("%s stays as it is: %s", before.served.id, error, exc_info=None if known else error)
            return False
        if loaded.runner is not None and isinstance(before.served.engine, AsyncEngine):
            await before.served.engine.update_weights(loaded.runner, loaded.served.version)
            served = replace(loaded.served, max_length=before.served.engine.max_length)
            loaded = Loaded(served, loaded.text)
            self._models[served.id] = served
        else:
            self._adopt(loaded)
            self._retire(before.served)
        followed.loaded = loaded
        _LOG.info("%s is %s from now on (%s)", loaded.served.id, folder, loaded.served.version)
        return True

    def _retire(self, served: ServedModel) -> None:
        task = asyncio.create_task(self._close_when_quiet(served))
        self._retiring.add(task)
        task.add_done_callback(self._retiring.discard)

    async def _close_when_quiet(self, served: ServedModel) -> None:
        """Close an engine that has been replaced, when those who had begun with it are done."""
        quiet_since = time.monotonic()
        while time.monotonic() - quiet_since < _QUIET_S:
            await asyncio.sleep(_QUIET_S / 20)
            if _busy(served):
                quiet_since = time.monotonic()
        self._own -= {served.engine}
        await asyncio.to_thread(served.engine.close)


# ---------------------------------------------------------------- what the page asks


def install_following(app: FastAPI, options: LoadOptions | None = None) -> Following:
    """Let an app's models follow their names: `app.state.following`. Needs `app.state.models`."""
    following = Following(app, options or LoadOptions())
    app.state.following = following
    return following


@asynccontextmanager
async def following_life(app: FastAPI) -> AsyncIterator[None]:
    """Names are followed while the app runs."""
    await app.state.following.start()
    try:
        yield
    finally:
        await app.state.following.close()


async def pick_model(app: FastAPI, model_id: str, *, may_load: bool = False) -> ServedModel:
    """The model of this id, for one request: `run:NAME` is loaded where the caller may have that done.

    Raises ApiError: 404 for an unknown id, 403 where it would have to be loaded and may not be, 409 for a run without a
    checkpoint, 503 where too many other runs are being talked to.
    """
    following: Following = app.state.following
    return await following.pick(model_id, may_load=may_load)


def available(app: FastAPI, *, may_load: bool = False) -> list[RunModel]:
    """The runs that the caller may talk to: all that have a checkpoint, or those that are loaded already. It reads the
    runs' folders, so ask in a thread.
    """
    loaded = set(app.state.models)
    views = (read_run(run) for run in list_runs())
    found = [
        RunModel(view.model_id, view.name, view.model_id in loaded, view.state, view.version)
        for view in views
        if view.model_id is not None and view.version is not None
    ]
    return [model for model in found if may_load or model.loaded]


# ---------------------------------------------------------------- what a name stands for


def _busy(served: ServedModel) -> bool:
    stats = served.engine.stats()
    return stats.num_running + stats.num_waiting > 0


def _run_of(model_id: str) -> RegisteredRun | None:
    return find_run(model_id.removeprefix(RUN_PREFIX)) if model_id.startswith(RUN_PREFIX) else None


def _of_run(run: RegisteredRun) -> Callable[[], list[Path]]:
    return lambda: [checkpoint.folder for checkpoint in checkpoints(run.folder)]


def _of_alias(name: str) -> Callable[[], list[Path]]:
    def candidates() -> list[Path]:
        with suppress(UsageError):  # the name was taken away, or its folder: what is served goes on
            return [resolve(name)]
        return []

    return candidates


def _text_of_alias(served: ServedModel) -> str | None:
    """The `text_digest` of a model that is served under a registered name; None for one that stands for itself, or whose
    weights are not ours to exchange.
    """
    if not isinstance(served.engine, AsyncEngine) or served.folder is None:
        return None
    if served.id not in {entry.name for entry in list_models()}:
        return None
    try:
        return text_digest(served.folder)
    except (LiaoError, OSError):
        return None


def _newer(
    candidates: Callable[[], Iterable[Path]], present: str, failed: set[str]
) -> list[tuple[Path, str]]:
    """What stands before the present version, the newest first, but for what has failed already."""
    found = []
    for folder in candidates():
        try:
            version = version_of(folder)
        except (CheckpointError, OSError):  # gone meanwhile
            continue
        if version == present:
            break
        if version not in failed:
            found.append((folder, version))
    return found
