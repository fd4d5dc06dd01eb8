"""The training view: runs with their curves as they are drawn, samples over checkpoints, evaluations, ancestry.

    GET /api/runs                         {"runs": [{"name": "town", "state": "running", "step": 400, ...}]}
    GET /api/runs/town/metrics?after=…    {"lines": [{"stage": "sft", "step": 410, "loss": 0.9, ...}], "cursor": "…"}
    GET /api/runs/town/events             the same as it is written (server-sent events)
    GET /api/models/run:town/lineage      {"models": [{"recipe": "speedrun", "data": {...}, ...}]}

Runs are an admin's business; the ancestry of a model is everyone's who may talk to it, without what tells of the machine.
The only source is the run's folder (`run_reader.py`): nothing here talks to the process that trains.
"""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, FastAPI, Header, Query, Request, Response

from liaoliao.model.run_registry import RegisteredRun, find_run, list_runs
from liaoliao.server.body import StrictRoute
from liaoliao.server.failures import ApiError
from liaoliao.server.openai_shapes import FAILURES
from liaoliao.server.page.access import AdminDep, CallerDep
from liaoliao.server.page.lineage import Ancestor, ancestry
from liaoliao.server.page.run_reader import (
    METRICS_FILE,
    RUN_PREFIX,
    SAMPLES_FILE,
    Json,
    Lines,
    RunDetails,
    RunView,
    checkpoints,
    end_of_lines,
    fields_of,
    read_details,
    read_lines,
    read_run,
)
from liaoliao.server.page.views import error_event
from liaoliao.server.served import ServedModel
from liaoliao.server.sse import encode, stream_response

router = APIRouter(prefix="/api", tags=["page"], route_class=StrictRoute, responses=FAILURES)

POLL_S: Final = 1.0
_BETWEEN: Final = "~"  # of the two cursors in the id of an event
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "Events"}
}
Cursor = Annotated[str | None, Query(max_length=200)]
LastEvent = Annotated[str | None, Header(max_length=200)]


@dataclass(frozen=True, slots=True)
class Runs:
    """All runs, the newest first."""

    runs: list[RunView]


@dataclass(frozen=True, slots=True)
class Lineage:
    """A model, its parent, its parent's parent, and so on."""

    models: list[Ancestor]


@dataclass(frozen=True, slots=True)
class RunPage(RunDetails):
    """All of one run, with the ancestry of its newest model."""

    lineage: Lineage | None


@dataclass(frozen=True, slots=True)
class Samples:
    """What a run said as it learned, the oldest first."""

    samples: list[Json]
    cursor: str


@router.get("/runs")
async def runs(caller: AdminDep) -> Runs:
    """All runs of this installation."""
    return await asyncio.to_thread(_all_runs)


def _all_runs() -> Runs:
    views = [read_run(run) for run in list_runs()]
    return Runs(sorted(views, key=lambda view: view.started_at or 0.0, reverse=True))


@router.get("/runs/{name}")
async def run(name: str, caller: AdminDep) -> RunPage:
    """One run with its settings, stages, evaluations, report and ancestry."""
    return await asyncio.to_thread(_page, await _run(name))


def _page(run: RegisteredRun) -> RunPage:
    found = checkpoints(run.folder)
    lineage = Lineage(ancestry(found[0].folder)) if found else None
    return RunPage(**fields_of(read_details(run)), lineage=lineage)


@router.get("/runs/{name}/metrics")
async def metrics(name: str, caller: AdminDep, after: Cursor = None) -> Lines:
    """Its logged steps and evaluations: all, or what is new since a cursor."""
    found = await _run(name)
    return await asyncio.to_thread(read_lines, found.folder, METRICS_FILE, after)


@router.get("/runs/{name}/samples")
async def samples(name: str, caller: AdminDep) -> Samples:
    """What it said to the same few prompts as it learned."""
    found = await _run(name)
    lines = await asyncio.to_thread(read_lines, found.folder, SAMPLES_FILE, None)
    return Samples(lines.lines, lines.cursor)


@router.get("/runs/{name}/events", responses={**_EVENTS, **FAILURES}, response_class=Response)
async def events(
    name: str, caller: AdminDep, request: Request, after: Cursor = None, last_event_id: LastEvent = None
) -> Response:
    """What is written to it from now on, or since the cursor of an earlier event (`after` or `Last-Event-ID`); `metrics`
    gives one for metrics alone, and with that of `samples` behind a "~" it stands for both.
    """
    found = await _run(name)
    watch = await asyncio.to_thread(_Watch, found, last_event_id or after)
    return await stream_response(request, _events(watch), error_event)


@router.get("/models/{model_id:path}/lineage")
async def lineage(model_id: str, caller: CallerDep, request: Request) -> Lineage:
    """Where a model comes from; folders and settings are for admins."""
    folder = await asyncio.to_thread(_folder_of, request.app, model_id, caller.is_admin)
    return Lineage(await asyncio.to_thread(ancestry, folder, private=not caller.is_admin))


def _folder_of(app: FastAPI, model_id: str, is_admin: bool) -> Path:
    """Where a model lies that is served, or that an admin could have loaded."""
    served: ServedModel | None = app.state.models.get(model_id)
    if served is not None and served.folder is not None:
        return served.folder
    run = (
        find_run(model_id.removeprefix(RUN_PREFIX)) if model_id.startswith(RUN_PREFIX) and is_admin else None
    )
    found = checkpoints(run.folder) if run is not None else []
    if not found:
        raise ApiError(
            f"Nothing is known of where the model `{model_id}` comes from.",
            status=404,
            code="model_not_found",
        )
    return found[0].folder


async def _run(name: str) -> RegisteredRun:
    found = await asyncio.to_thread(find_run, name)
    if found is None:
        raise ApiError(f"There is no run `{name}` here.", status=404, code="not_found")
    return found


# ---------------------------------------------------------------- events


async def _events(watch: "_Watch") -> AsyncGenerator[bytes, None]:
    """Frames as the run writes, until it is over."""
    while True:
        told, over = await asyncio.to_thread(watch.look)
        for number, data in enumerate(
            told, 1
        ):  # the mark comes last: who leaves before it gets all of them again
            mark = f"id: {watch.cursor}\n" if number == len(told) else ""
            yield mark.encode() + encode(data)
        if over:
            yield encode({"type": "end"})
            return
        await asyncio.sleep(POLL_S)


class _Watch:
    """What one reader of a run has been told."""

    def __init__(self, run: RegisteredRun, after: str | None) -> None:
        self.run = run
        metrics, _, samples = (after or "").partition(_BETWEEN)
        self._metrics = metrics or end_of_lines(run.folder, METRICS_FILE)
        self._samples = samples or end_of_lines(run.folder, SAMPLES_FILE)
        self._view: RunView | None = None

    @property
    def cursor(self) -> str:
        """Where to go on."""
        return f"{self._metrics}{_BETWEEN}{self._samples}"

    def look(self) -> tuple[list[Json], bool]:
        """What is new, and whether it is the last. The state is read first: what a run wrote before its end is told."""
        view = read_run(self.run)
        told: list[Json] = []
        if _notable(view) != _notable(self._view):
            told.append({"type": "run", "run": asdict(view)})
        self._view = view
        metrics = read_lines(self.run.folder, METRICS_FILE, self._metrics)
        samples = read_lines(self.run.folder, SAMPLES_FILE, self._samples)
        self._metrics, self._samples = metrics.cursor, samples.cursor
        if metrics.lines or metrics.reset:
            told.append({"type": "metrics", "lines": metrics.lines, "reset": metrics.reset})
        if samples.lines or samples.reset:
            told.append({"type": "samples", "samples": samples.lines, "reset": samples.reset})
        return told, view.state != "running"


def _notable(view: RunView | None) -> RunView | None:
    """A view without what changes all the time by itself."""
    return replace(view, updated_at=None) if view is not None else None
