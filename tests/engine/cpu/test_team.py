"""Helper threads: they come to work, sleep when there is none, and are left out where they do not pay."""

import multiprocessing
import os
import time

import pytest
import torch

from liaoliao.engine.cpu.runner import CpuRunner
from liaoliao.engine.cpu.team import (
    ALONE_FROM,
    ARRIVED,
    ASLEEP,
    FIRST_REST_S,
    HELPER_STRIDE,
    IDLE,
    NEVER,
    Team,
)
from liaoliao.engine.runner import Row
from tests.engine.cpu.models import make_model

ROW = [Row([1, 2, 3], 0, [0], 1)]


@pytest.fixture(scope="module")
def runner() -> CpuRunner:
    return CpuRunner(make_model(), "bf16", kv_cache_bytes=2**22, num_threads=2)


def wait_for(runner: CpuRunner, flag: int) -> None:
    """Until the helper says so."""
    runner._team._alone_until = 0.0
    runner._team.workers()
    deadline = time.monotonic() + 20
    while not runner._team._cell(HELPER_STRIDE + flag):
        assert time.monotonic() < deadline, "the helper does not get there"
        time.sleep(0.001)


def test_helpers_fall_asleep_and_wake(runner: CpuRunner) -> None:
    expected = runner.forward(ROW).clone()
    for _ in range(3):
        wait_for(runner, ASLEEP)
        assert torch.equal(runner.forward(ROW), expected)
        wait_for(runner, IDLE)


def test_both_threads_meet_at_every_phase(runner: CpuRunner) -> None:
    wait_for(runner, IDLE)
    before = runner._team._cell(ARRIVED)
    runner.forward(ROW)
    if runner._team._cell(ALONE_FROM) == NEVER:  # nobody else wanted the core meanwhile
        assert runner._team._cell(ARRIVED) - before == 2 * (4 * 2 + 1)


def test_helpers_that_were_late_are_left_out_for_longer_and_longer() -> None:
    team = Team(2, lambda me, address: None)
    assert team.workers() == 1  # the helper has not come yet
    team._cell(HELPER_STRIDE + IDLE, 1)
    assert team.workers() == 2
    rests = []
    for _ in range(8):
        team._cell(ALONE_FROM, 4)
        now = time.monotonic()
        team.settle(2)
        rests.append(team._alone_until - now)
        assert team.workers() == 1
        team._alone_until = 0.0
        assert team.workers() == 2
    assert rests[0] == pytest.approx(FIRST_REST_S, abs=0.005)
    assert rests[3] == pytest.approx(8 * FIRST_REST_S, rel=0.1) and rests[7] == pytest.approx(
        rests[6], rel=0.05
    )
    team._cell(ALONE_FROM, NEVER)
    team.settle(2)  # one good step, and the patience is back
    assert team._rest_s == FIRST_REST_S
    team.close()


def test_a_crowded_machine_does_not_stop_the_team(runner: CpuRunner) -> None:
    """Every core is kept busy by another process: the steps go on, with the same result."""
    expected = runner.forward(ROW).clone()
    crowd = [
        multiprocessing.get_context("spawn").Process(target=spin, args=(3.0,))
        for _ in range(os.cpu_count() or 1)
    ]
    for process in crowd:
        process.start()
    steps, end = 0, time.monotonic() + 1.5
    while time.monotonic() < end:
        assert torch.equal(runner.forward(ROW), expected)
        steps += 1
    for process in crowd:
        process.kill()
        process.join()
    assert steps > 150


def spin(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_gets_helpers_of_its_own(runner: CpuRunner) -> None:
    expected = runner.forward(ROW).clone()
    runner._team._alone_until = 0.0
    child = os.fork()
    if child == 0:
        wait_for(runner, IDLE)
        same = torch.equal(runner.forward(ROW), expected)
        os._exit(0 if same and runner._team._process == os.getpid() else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert torch.equal(runner.forward(ROW), expected)
