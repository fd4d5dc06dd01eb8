"""The training view against a run that was really carried out, and one that goes on while it is looked at."""

import json
import os
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from liaoliao.model.checkpoint import version_of
from liaoliao.model.run_registry import register_run
from liaoliao.recipes.pretrain import pretrain
from liaoliao.recipes.reporter import Silent
from liaoliao.recipes.sft import sft, sft_config, weights_digest
from liaoliao.server.failures import install_failures
from liaoliao.server.page import runs as routes
from liaoliao.server.page.access import Caller, note_caller
from liaoliao.server.page.lineage import ancestry
from liaoliao.server.page.run_reader import (
    METRICS_FILE,
    SAMPLES_FILE,
    checkpoints,
    read_lines,
    thin_metrics,
    thin_samples,
)
from liaoliao.store.records import Account
from liaoliao.train.run_dir import RunDir
from tests.recipes.tiny import tiny_pretrain, write_chats, write_texts
from tests.server.plain import ask


class As:
    """ASGI middleware that stands for the door: everyone is of this role."""

    def __init__(self, app: ASGIApp, role: str) -> None:
        self.app, self.role = app, role

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        account = Account("1", "anna", self.role, 0.0, False)  # type: ignore[arg-type]
        note_caller(scope, Caller(account, "cookie"))
        await self.app(scope, receive, send)


def app_for(role: str) -> FastAPI:
    app = FastAPI()
    app.state.models = {}
    install_failures(app)
    app.include_router(routes.router)
    app.add_middleware(As, role=role)
    return app


@pytest.fixture
def app() -> FastAPI:
    return app_for("admin")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A pretraining and a fine-tuning upon it, each asked for samples after every step."""
    folder = tmp_path_factory.mktemp("runs")
    often = {"sample_share": 1e9, "sample_every_s": 0.0, "save_every_s": 0.0}
    base = tiny_pretrain(write_texts(folder), steps=25, row_length=64, **often)
    model = pretrain(base, folder / "base", Silent())
    chats = write_chats(folder)
    tuning = sft_config(str(model), (str(chats),), steps=6, tokens_per_step=128, save_every_s=0.0)
    sft(tuning, folder / "tuned", Silent())
    return folder / "base", folder / "tuned"


@pytest.fixture
def runs(made: tuple[Path, Path]) -> tuple[Path, Path]:
    for folder in made:
        register_run(folder)  # every test has a home of its own
    return made


def get(app: FastAPI, path: str) -> Any:
    response = ask(app, path)
    assert response.status_code == 200, response.text
    return response.json()


def test_runs_are_listed_with_where_they_are(app: FastAPI, runs: tuple[Path, Path]) -> None:
    tuned, base = get(app, "/api/runs")["runs"]
    assert (tuned["name"], base["name"], tuned["folder"]) == ("tuned", "base", str(runs[1]))
    assert (base["kind"], base["state"], base["step"], base["num_steps"]) == ("pretrain", "finished", 25, 25)
    lines = list(RunDir(runs[0]).metrics())
    assert base["metrics"] == [line for line in lines if "loss" in line][-1]
    assert base["evaluation"] == lines[-1] and "bits_per_byte:en" in lines[-1]
    assert (base["model_id"], base["version"], base["error"]) == ("run:base", "model", None)
    assert base["started_at"] <= base["updated_at"] <= base["finished_at"] <= time.time()


def test_a_run_is_shown_with_all_that_its_folder_holds(app: FastAPI, runs: tuple[Path, Path]) -> None:
    shown = get(app, "/api/runs/tuned")
    assert shown["config"] == json.loads((runs[1] / "config.json").read_text(encoding="utf-8"))
    assert shown["report"] == (runs[1] / "report.md").read_text(encoding="utf-8")
    [evals] = shown["evals"]
    tasks = json.loads((runs[1] / "eval.json").read_text(encoding="utf-8"))["tasks"]
    assert evals["file"] == "eval.json" and {row.pop("name"): row for row in evals["tasks"]} == tasks
    [stage] = shown["stages"]
    assert (stage["name"], stage["step"], stage["checkpoints"]) == ("sft", 6, ["0000005", "0000006"])
    assert [one["run"] for one in shown["lineage"]["models"]] == ["tuned", "base"]
    assert shown["name"] == "tuned"


def test_samples_are_those_of_the_run(app: FastAPI, runs: tuple[Path, Path]) -> None:
    samples = get(app, "/api/runs/base/samples")["samples"]
    assert samples == list(RunDir(runs[0]).samples())
    assert len({sample["step"] for sample in samples}) == 25


def test_metrics_come_once_and_go_on_where_they_ended(app: FastAPI, runs: tuple[Path, Path]) -> None:
    page = get(app, "/api/runs/base/metrics")
    assert page["lines"] == list(RunDir(runs[0]).metrics()) and not page["reset"]
    again = get(app, f"/api/runs/base/metrics?after={page['cursor']}")
    assert again == {"lines": [], "cursor": page["cursor"], "reset": False}
    for cursor in ("nonsense", "1.2.3", page["cursor"] + "0" * 9, "-1", "9" * 190):
        assert get(app, f"/api/runs/base/metrics?after={cursor}") == {**page, "reset": True}
    assert ask(app, "/api/runs/base/metrics?after=" + "9" * 300).status_code == 400


def test_a_line_that_is_being_written_is_left_for_the_next_time(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.log(stage="a", step=1, loss=2.0)
    with (tmp_path / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write('{"stage": "a", "st')
    first = read_lines(tmp_path, METRICS_FILE, None)
    assert [line["step"] for line in first.lines] == [1]
    with (tmp_path / METRICS_FILE).open("a", encoding="utf-8") as file:
        file.write('ep": 2, "loss": NaN}\nbroken\n[1]\n')
    second = read_lines(tmp_path, METRICS_FILE, first.cursor)
    assert second.lines == [{"stage": "a", "step": 2, "loss": None}] and not second.reset


def test_lines_that_a_resumed_run_takes_back_are_taken_back_here(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    for step in (10, 20, 30):
        run.log(stage="a", step=step, loss=1.0)
    cursor = read_lines(tmp_path, METRICS_FILE, None).cursor
    run.forget_after("a", 10)
    for step in (15, 25, 35, 45):  # more than there was before: the size alone would not tell
        run.log(stage="a", step=step, loss=1.0)
    lines = read_lines(tmp_path, METRICS_FILE, cursor)
    assert lines.reset and [line["step"] for line in lines.lines] == [10, 15, 25, 35, 45]


def test_long_curves_are_thinned_and_keep_what_matters() -> None:
    lines: list[dict[str, Any]] = []
    for step in range(1, 10_001):
        lines.append({"stage": "a" if step <= 7000 else "b", "step": step, "loss": 1.0})
        if step % 100 == 0:
            lines.append({"stage": lines[-1]["stage"], "step": step, "bits_per_byte:en": 1.0})
    thin = thin_metrics(lines, 500)
    assert [x for x in thin if "loss" not in x] == [x for x in lines if "loss" not in x]
    steps = [x["step"] for x in thin if "loss" in x]
    assert 450 <= len(steps) <= 510 and steps[0] == 1
    assert max(b - a for a, b in pairwise(steps)) <= 20
    assert thin_metrics(lines[:300], 500) == lines[:300]
    sampled = [{"stage": "a", "step": step, "lang": lang} for step in range(1000) for lang in ("en", "zh")]
    kept = thin_samples(sampled, 50)
    assert len(kept) == 100 and kept[0]["step"] == 0 and kept[-1]["step"] == 999


def events(response: httpx.Response) -> list[tuple[str | None, dict[str, Any]]]:
    """(id, data) of every event."""
    assert response.status_code == 200 and response.headers["content-type"].startswith("text/event-stream")
    found = []
    for block in filter(None, response.text.split("\n\n")):
        if block.startswith(":"):
            continue
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        found.append((fields.get("id"), json.loads(fields["data"])))
    return found


@pytest.fixture
def running(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunDir]:
    """A run of this process, two steps old."""
    monkeypatch.setattr(routes, "POLL_S", 0.01)
    run = RunDir(tmp_path / "live")
    run.start({"depth": 1})
    run.tell_begin("sft")
    for step in (1, 2):
        run.log(stage="sft", step=step, loss=1.0)
    yield run
    run.tell_end("interrupted")


def test_what_is_written_is_told_as_it_is_written_until_the_run_ends(app: FastAPI, running: RunDir) -> None:
    def write() -> None:
        for step in range(3, 23):
            time.sleep(0.02)
            running.tell_step("sft", step, 22, at_once=True)
            running.log(stage="sft", step=step, loss=1.0)
            running.log_sample(stage="sft", step=step, prompt="?", reply="行\u2028!")
        running.tell_end("finished")

    after = "~".join(get(app, f"/api/runs/live/{what}")["cursor"] for what in ("metrics", "samples"))
    writer = threading.Thread(target=write)
    writer.start()
    told = events(ask(app, f"/api/runs/live/events?after={after}"))
    writer.join()
    assert told[0][1]["type"] == "run" and told[0][1]["run"]["state"] == "running"
    assert told[-1][1] == {"type": "end"}
    lines = [line for _, data in told if data["type"] == "metrics" for line in data["lines"]]
    assert [line["step"] for line in lines] == list(range(3, 23))
    samples = [s for _, data in told if data["type"] == "samples" for s in data["samples"]]
    assert [sample["step"] for sample in samples] == list(range(3, 23)) and samples[0]["reply"] == "行\u2028!"
    states = [data["run"]["state"] for _, data in told if data["type"] == "run"]
    assert states[-1] == "finished" and len(states) > 3
    middle = next(i for i, (mark, _) in enumerate(told) if mark and i > len(told) // 2)
    later = [line for _, data in told[middle + 1 :] if data["type"] == "metrics" for line in data["lines"]]
    resumed = events(ask(app, "/api/runs/live/events", headers={"last-event-id": str(told[middle][0])}))
    assert [line for _, data in resumed if data["type"] == "metrics" for line in data["lines"]] == later


def test_without_a_cursor_only_what_is_new_is_told(app: FastAPI, running: RunDir) -> None:
    running.tell_end("interrupted")
    assert [data["type"] for _, data in events(ask(app, "/api/runs/live/events"))] == ["run", "end"]


def test_a_line_that_breaks_off_tells_it_in_an_event(
    app: FastAPI, running: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = routes._Watch.look
    looks: list[object] = []

    def fails_in_time(watch: routes._Watch) -> Any:
        looks.append(watch)
        if len(looks) > 1:
            raise OSError("a secret")
        return look(watch)

    monkeypatch.setattr(routes._Watch, "look", fails_in_time)
    response = ask(app, "/api/runs/live/events")
    told = [data for _, data in events(response)]
    assert [data["type"] for data in told] == ["run", "error"] and "secret" not in response.text
    assert told[-1]["error"]["type"] == "server_error"


def test_a_killed_run_is_shown_as_interrupted(app: FastAPI, running: RunDir) -> None:
    state = json.loads((running.folder / "state.json").read_text(encoding="utf-8"))
    state["process"], state["pid"] = "0", os.getppid()
    (running.folder / "state.json").write_text(json.dumps(state), encoding="utf-8")
    [shown] = get(app, "/api/runs")["runs"]
    assert (shown["state"], shown["model_id"], shown["kind"]) == ("interrupted", None, "sft")


def test_a_run_without_a_state_is_told_from_its_files(app: FastAPI, tmp_path: Path) -> None:
    """As runs were before they kept one."""
    folder = tmp_path / "old"
    RunDir(folder).start({})
    RunDir(folder).log(stage="a", step=3, loss=1.0, tokens=5)
    register_run(folder)
    [shown] = get(app, "/api/runs")["runs"]
    assert (shown["state"], shown["kind"], shown["stage"], shown["step"]) == ("running", "unknown", "a", 3)
    os.utime(folder / METRICS_FILE, (1.0, 1.0))
    assert get(app, "/api/runs/old")["state"] == "interrupted"


# ---------------------------------------------------------------- ancestry


def test_an_ancestry_names_what_each_model_was_made_of(app: FastAPI, runs: tuple[Path, Path]) -> None:
    base, tuned = (folder / "model" for folder in runs)
    child, parent = get(app, "/api/models/run:tuned/lineage")["models"]
    assert (child["recipe"], child["run"], child["status"]) == ("sft", "tuned", "ok")
    assert (child["sha256"], parent["sha256"]) == (weights_digest(tuned), weights_digest(base))
    assert (parent["recipe"], parent["folder"], parent["status"]) == ("pretrain", str(base), "ok")
    assert child["data"].keys() == {"talks"} and parent["data"].keys() == {"text:en", "text:zh"}
    assert parent["evals"][0]["tasks"] and child["config"]["steps"] == 6
    checkpoint = checkpoints(runs[1])[1]
    first = ancestry(checkpoint.folder)[0]
    assert (first.stage, first.step, first.sha256) == ("sft", 6, weights_digest(checkpoint.folder))
    assert version_of(checkpoint.folder) != version_of(tuned)


def test_a_parent_that_is_gone_or_another_is_told(made: tuple[Path, Path], tmp_path: Path) -> None:
    lineage = {"recipe": "sft", "parent": {"folder": str(made[0] / "model"), "sha256": "0" * 64}}
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")

    def statuses() -> list[str]:
        (tmp_path / "lineage.json").write_text(json.dumps(lineage), encoding="utf-8")
        return [one.status for one in ancestry(tmp_path)]

    assert statuses() == ["unverified", "changed"]
    lineage["parent"] = {"folder": str(tmp_path / "gone"), "sha256": "1" * 64}
    assert statuses() == ["unverified", "missing"] and ancestry(tmp_path)[1].sha256 == "1" * 64
    lineage["parent"] = {"folder": str(tmp_path), "sha256": None}  # a circle
    assert len(statuses()) == 50
    odd = '{"parent": 5, "data": [], "tools": 1.5, "step": "x", "config": "y"}'
    (tmp_path / "lineage.json").write_text(odd, encoding="utf-8")
    [alone] = ancestry(tmp_path)
    assert (alone.data, alone.tools, alone.step, alone.config) == ({}, [], None, None)


# ---------------------------------------------------------------- who may


def test_members_see_an_ancestry_without_the_machine_and_no_runs(runs: tuple[Path, Path]) -> None:
    app = app_for("member")
    for path in ("", "/base", "/base/metrics", "/base/samples", "/base/events", "/nothing"):
        assert ask(app, f"/api/runs{path}").status_code == 403
    assert ask(app, "/api/models/run:base/lineage").status_code == 404  # nobody has loaded it
    assert str(runs[0].parent) not in json.dumps(
        [one.evals for one in ancestry(runs[1] / "model", private=True)]
    )
    for one in ancestry(runs[1] / "model", private=True):
        assert (one.folder, one.config) == (None, None) and one.sha256


@pytest.mark.parametrize("name", ["nothing", "..", "%2e%2e", "..%2fbase", "base%00", "BASE"])
def test_no_other_folder_is_reached(name: str, app: FastAPI, runs: tuple[Path, Path]) -> None:
    for path in ("", "/metrics", "/samples", "/events"):
        assert ask(app, f"/api/runs/{name}{path}").status_code == 404
    assert ask(app, f"/api/models/run:{name}/lineage").status_code == 404


def test_nothing_is_known_of_samples_that_were_not_taken(app: FastAPI, running: RunDir) -> None:
    assert get(app, "/api/runs/live/samples")["samples"] == []
    assert read_lines(running.folder, SAMPLES_FILE, None).lines == []
