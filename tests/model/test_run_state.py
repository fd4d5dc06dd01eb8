"""A run's own word on how it is, and the one thing it cannot write: that it was killed."""

import dataclasses
import subprocess
import sys
import time
from pathlib import Path

from liaoliao.model.run_registry import RegisteredRun, find_run, list_runs, register_run, unregister_run
from liaoliao.model.run_state import STALE_S, STATE_FILE, new_state, read_state, status_of, write_state

BEGIN = """
import sys, time
from pathlib import Path
from liaoliao.model.run_state import new_state, write_state
write_state(Path(sys.argv[1]), new_state("sft", None))
print("begun", flush=True)
time.sleep(60)
"""


def make_run(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    return folder


def test_a_run_that_is_killed_was_interrupted(tmp_path: Path) -> None:
    """Also before anybody has waited for the dead process, and under a process that got its number later."""
    with subprocess.Popen([sys.executable, "-c", BEGIN, str(tmp_path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stdout.readline() == b"begun\n"
        state = read_state(tmp_path)
        assert state is not None and state.pid == process.pid and status_of(state) == "running"
        process.kill()
        while status_of(state) == "running":  # the kill takes effect; pytest's timeout is the limit
            time.sleep(0.01)
        assert status_of(state) == "interrupted"  # a zombie by now
    assert status_of(state) == "interrupted"
    another = dataclasses.replace(new_state("sft", None), process=state.process)
    if state.process:
        assert status_of(another) == "interrupted"


def test_of_another_machine_only_its_silence_is_known() -> None:
    state = dataclasses.replace(new_state("sft", None), host="elsewhere", pid=1)
    assert status_of(state) == "running"
    silent = dataclasses.replace(state, updated_at=time.time() - STALE_S - 1)
    assert status_of(silent) == "interrupted"
    assert status_of(dataclasses.replace(silent, status="finished")) == "finished"


def test_attempts_are_counted_and_the_first_beginning_stays(tmp_path: Path) -> None:
    first = dataclasses.replace(new_state("sft", None), started_at=5.0)
    write_state(tmp_path, first)
    again = new_state("sft", read_state(tmp_path))
    assert (again.attempt, again.started_at) == (2, 5.0)


def test_a_state_that_cannot_be_read_is_none(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    for content in (b'{"recipe": "sft", "stat', b"\xff", b"[]", b'{"recipe": 5}'):
        (tmp_path / STATE_FILE).write_bytes(content)
        assert read_state(tmp_path) is None


def test_runs_are_found_wherever_they_are_under_names_that_stay(tmp_path: Path, _own_home: Path) -> None:
    here, there = make_run(tmp_path / "a" / "out"), make_run(tmp_path / "b" / "out")
    assert register_run(here) == "out" and register_run(there) == "out-2"
    at_home = make_run(_own_home / "runs" / "2026-speedrun")  # from before there was an index
    assert register_run(there) == "out-2"
    assert list_runs() == (
        RegisteredRun("2026-speedrun", at_home),
        RegisteredRun("out", here),
        RegisteredRun("out-2", there),
    )
    (here / "config.json").unlink()
    assert find_run("out") is None and find_run("out-2") == RegisteredRun("out-2", there)
    unregister_run(there)
    assert [run.name for run in list_runs()] == ["2026-speedrun"]


def test_a_name_is_never_two_runs(tmp_path: Path, _own_home: Path) -> None:
    make_run(_own_home / "runs" / "town")
    assert register_run(make_run(tmp_path / "town")) == "town-2"
    assert register_run(_own_home / "runs" / "town") == "town"
    assert len({run.name for run in list_runs()}) == len(list_runs()) == 2


def test_odd_folder_names_and_broken_entries_do_no_harm(tmp_path: Path, _own_home: Path) -> None:
    assert register_run(make_run(tmp_path / "..my run, no 3")) == "my-run-no-3"
    assert register_run(make_run(tmp_path / "???")) == "run"
    assert register_run(make_run(tmp_path / "小镇")) == "小镇"
    (_own_home / "run-index" / "half.json").write_text('{"fold', encoding="utf-8")
    (_own_home / "run-index" / "odd.json").write_text('{"folder": 5}', encoding="utf-8")
    assert "小镇" in {run.name for run in list_runs()}
