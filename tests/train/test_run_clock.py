"""The time of a run goes on in the next process where the last one left it."""

from pathlib import Path

import pytest

from liaoliao.train.run_clock import TIME_FILE, RunClock
from liaoliao.train.run_dir import RunDir


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that is turned by hand."""
    now = [1000.0]
    monkeypatch.setattr("liaoliao.train.run_clock.time.monotonic", lambda: now[0])
    return now


def test_the_seconds_of_all_processes_are_added_up(tmp_path: Path, now: list[float]) -> None:
    first = RunClock(tmp_path)
    first.start()
    now[0] += 30.0
    assert first.mark("training") == 30.0
    now[0] += 12.0
    assert (first.mark("training"), first.spent_s()) == (30.0, 42.0)
    now[0] += 8.0  # written down by nobody: a kill

    now[0] = 5.0  # another boot of the machine
    second = RunClock(tmp_path)
    second.start()
    assert (second.mark("training"), second.spent_s()) == (30.0, 42.0)
    now[0] += 18.0
    second.save()
    assert second.spent_s() == 60.0
    assert [file.name for file in tmp_path.iterdir()] == [TIME_FILE]


BROKEN = [b"{", b"\xff", b"[]", b"3", b'{"spent_s": "x", "marks": {}}', b'{"marks": 3}']


@pytest.mark.parametrize("content", BROKEN)
def test_what_cannot_be_read_costs_no_run(content: bytes, tmp_path: Path, now: list[float]) -> None:
    (tmp_path / TIME_FILE).write_bytes(content)
    clock = RunClock(tmp_path)
    clock.start()
    now[0] += 2.0
    assert (clock.spent_s(), clock.mark("training")) == (2.0, 2.0)


def test_a_runs_folder_keeps_its_time_and_a_new_run_begins_at_none(tmp_path: Path, now: list[float]) -> None:
    def carried_out(seconds: float) -> RunDir:
        run_dir = RunDir(tmp_path)
        run_dir.tell_begin("sft")
        now[0] += seconds
        run_dir.tell_end("interrupted")
        return run_dir

    RunDir(tmp_path).start({})
    assert carried_out(7.0).clock.spent_s() == 7.0
    assert carried_out(5.0).clock.spent_s() == 12.0
    (tmp_path / "config.json").unlink()  # a run that has not begun leaves its folder free
    carried_out(1.0)
    assert not (tmp_path / TIME_FILE).exists()
    (tmp_path / TIME_FILE).write_text('{"spent_s": 50.0, "marks": {}}', encoding="utf-8")
    RunDir(tmp_path).start({})
    assert carried_out(3.0).clock.spent_s() == 3.0
