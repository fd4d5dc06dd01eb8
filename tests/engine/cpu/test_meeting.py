"""The protocol of the helper threads under any order of events: `team` run as Python, one atomic operation at a time.

Threads take turns by a seed and a clock of their own jumps, by microseconds mostly and by milliseconds where the system
took a core away. Nothing here depends on how busy this machine is.
"""

import random
import threading
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from liaoliao.engine.cpu import team
from liaoliao.engine.cpu.team import ARRIVED, BED, BELL, COMMAND, HELPER_STRIDE, IDLE, QUIT, START

STEPS, MEETINGS = 4, 5
MOST_TURNS = 50_000  # of a run that ends after some hundreds


class StuckError(Exception):
    """Nobody gets any further."""


class Machine:
    """Shared cells, and threads of which one at a time runs, for one operation."""

    def __init__(self, workers: int, seed: int, hold_up: float) -> None:
        self.cells: defaultdict[int, int] = defaultdict(int)
        for helper in range(
            1, workers
        ):  # a helper's bed and bell are one file, a count: the cell of that number
            self.cells[HELPER_STRIDE * helper + BED] = self.cells[HELPER_STRIDE * helper + BELL] = -helper
        self.clock, self.hold_up, self.turns = 0, hold_up, 0
        self.dice = random.Random(seed)
        self.batons = [threading.Semaphore(0) for _ in range(workers)]
        self.running = set(range(workers))
        self.mine = threading.local()

    def turn(self) -> None:
        """Let whoever the dice say go on, perhaps after a long while."""
        self.turns += 1
        held_up = self.dice.random() < self.hold_up
        self.clock += self.dice.randrange(10_000_000) if held_up else self.dice.randrange(20_000)
        if self.turns > MOST_TURNS:
            for baton in self.batons:
                baton.release(MOST_TURNS)
            raise StuckError
        self.batons[self.dice.choice(sorted(self.running))].release()
        self.batons[self.mine.number].acquire()
        if self.turns > MOST_TURNS:
            raise StuckError

    def leave(self, number: int) -> None:
        """This thread takes no more turns."""
        self.running.discard(number)
        if self.running:
            self.batons[min(self.running)].release()

    def get(self, cell: int) -> int:
        self.turn()
        return self.cells[cell]

    def add(self, cell: int, value: int) -> int:
        self.turn()
        self.cells[cell] += value
        return self.cells[cell] - value

    def swap(self, cell: int, value: int) -> int:
        self.turn()
        before, self.cells[cell] = self.cells[cell], value
        return before

    def nanoseconds(self, clock: int) -> int:
        self.turn()
        return self.clock

    def sleep_on(self, file: int) -> int:
        while not self.get(file):
            pass
        return self.swap(file, 0)

    def wake(self, file: int) -> int:
        return self.add(file, 1)


class Run:
    """Some steps of a team on such a machine, as `step.work` and `Team` go about them."""

    def __init__(self, machine: Machine, workers: int) -> None:
        self.machine, self.workers = machine, workers
        self.job, self.failures = -1, list[AssertionError]()
        self.seen: list[list[tuple[int, int]]] = [
            [] for _ in range(workers)
        ]  # job and meeting, of each thread

    def lead(self) -> None:
        for self.job in range(STEPS):
            helpers = range(1, self.workers)
            idle = all(self.machine.get(HELPER_STRIDE * helper + IDLE) for helper in helpers)
            workers = self.workers if idle else 1
            if workers > 1:
                plain(team.publish)(0, workers)
            self.meetings(0, workers)
        self.machine.swap(COMMAND, QUIT)
        for helper in range(1, self.workers):
            self.machine.wake(-helper)

    def help(self, me: int) -> None:
        command = 0
        while (command := plain(team.await_command)(0, me, command)) != QUIT:
            self.meetings(me, self.workers)

    def meetings(self, me: int, workers: int) -> None:
        job, count, began = self.job, self.machine.get(START), 0
        for meeting in range(MEETINGS):
            if workers > 1:
                assert self.job == job, "the next job was set up while a thread was still at work"
                self.seen[me].append((job, meeting))
            count, workers, began = plain(team.meet)(0, me, count, workers, began, 0)
            if me >= workers:
                return

    def go(self) -> None:
        def take_part(me: int) -> None:
            self.machine.mine.number = me
            self.machine.batons[me].acquire()
            try:
                self.help(me) if me else self.lead()
            except StuckError:
                return
            except AssertionError as failure:
                self.failures.append(failure)
            self.machine.leave(me)

        threads = [threading.Thread(target=take_part, args=(me,)) for me in range(self.workers)]
        for thread in threads:
            thread.start()
        self.machine.batons[0].release()
        for thread in threads:
            thread.join()


def plain(function: Any) -> Any:
    """The Python that a compiled function was made of."""
    return function.py_func


@settings(max_examples=500)
@given(st.integers(2, 3), st.integers(0, 2**32), st.sampled_from([0.0, 0.01, 0.1, 0.5]))
def test_nobody_waits_for_one_who_has_left(workers: int, seed: int, hold_up: float) -> None:
    machine = Machine(workers, seed, hold_up)
    run = Run(machine, workers)
    with pytest.MonkeyPatch.context() as patch:
        for name, stand_in in {
            "atomic_get": machine.get,
            "atomic_add": machine.add,
            "atomic_swap": machine.swap,
            "nanoseconds": machine.nanoseconds,
            "sleep_on": machine.sleep_on,
            "wake": machine.wake,
            "pause": lambda: None,
            "give_way": lambda: None,
            "SPINS": 2,
        }.items():
            patch.setattr(team, name, stand_in)
        run.go()
    assert machine.turns <= MOST_TURNS, "the threads wait for each other without end"
    assert not run.failures, run.failures[0]
    assert all(seen == run.seen[0] for seen in run.seen)
    assert machine.cells[ARRIVED] == workers * len(run.seen[0])
