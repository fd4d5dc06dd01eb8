"""Threads that work through one step together: how they wait for work, meet between phases, and leave when it is crowded.

Helpers live in compiled code, outside of the interpreter: they wait a little for the next command, then sleep in a read of
a file. Thread 0 is whoever calls; it publishes a command and takes part. Between phases all meet at a counter that only
grows.

On a crowded machine a helper that lost its core would hold everyone up for milliseconds at each meeting. So thread 0
watches: when it waited longer at a meeting than it had worked before it, helpers no longer pay, and after the next meeting
it goes on alone; `Team` then leaves the helpers out for a while.

    thread 0:  publish ── phase ── meet ── phase ── meet ── ...
    helper 1:  await   ── phase ── meet ── phase ── meet ── ... await
"""

import ctypes
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Int64

from liaoliao.engine.cpu.emit import (
    compiled,
)
from liaoliao.engine.cpu.signals import (
    atomic_add,
    atomic_get,
    atomic_swap,
    give_way,
    nanoseconds,
    pause,
    prefetch,
    sleep_on,
    wake,
)

# Cells of the team's shared memory, in bytes; far enough apart that no two share a cache line or a pair of them.
ARRIVED, COMMAND, START, ALONE_FROM = 0, 128, 256, 384
ASLEEP, IDLE, BED, BELL = (
    512,
    520,
    528,
    536,
)  # of a helper: two flags, the file it sleeps on, the file that wakes it
HELPER_STRIDE = 128  # from one helper's ASLEEP and PIPE to the next one's
QUIT = -1  # a command
NEVER = 2**62

CLOCK = time.CLOCK_MONOTONIC
SPINS = 100  # rounds of a waiting loop between two looks at the clock
PATIENCE_NS = 300_000  # at a meeting, before thread 0 takes it that its helper has lost its core
AWAKE_NS = 200_000  # between commands, before a helper falls asleep
WAKING_NS = 4_000_000  # for waking: 50 us where a core is free, a few ticks of the scheduler where none is
HEAD_BYTES = 4096  # of the next weights, asked for while waiting
FIRST_REST_S, LONGEST_REST_S = (
    0.01,
    0.32,
)  # without helpers after they did not pay: doubled each time in a row

Serve = Callable[[int, int], object]  # (thread, address of the team's memory)


@compiled
def publish(team: int, workers: int) -> int:
    """Start the helpers, all of them idle, on the job that stands in the shared records. Returns how many had to wake."""
    woken = 0
    atomic_swap(team + START, atomic_get(team + ARRIVED))
    atomic_swap(team + ALONE_FROM, NEVER)
    atomic_add(team + COMMAND, 1)
    for helper in range(1, workers):
        place = team + HELPER_STRIDE * helper
        if atomic_swap(place + ASLEEP, 0) == 1:
            wake(atomic_get(place + BELL))
            woken += 1
    return woken


@compiled
def await_command(team: int, me: int, seen: int) -> int:
    """The next command after `seen`."""
    place = team + HELPER_STRIDE * me
    atomic_swap(place + IDLE, 1)
    while True:
        began = nanoseconds(CLOCK)
        while nanoseconds(CLOCK) - began < AWAKE_NS:
            for _ in range(SPINS):
                command: int = atomic_get(team + COMMAND)
                if command != seen:
                    atomic_swap(place + IDLE, 0)
                    return command
                pause()
        atomic_swap(place + ASLEEP, 1)  # first say so, then look once more: no command slips between
        if atomic_get(team + COMMAND) == seen or atomic_swap(place + ASLEEP, 0) == 0:
            sleep_on(atomic_get(place + BED))


@compiled
def meet(team: int, me: int, count: int, workers: int, began: int, ahead: int) -> tuple[int, int, int]:
    """Wait until all workers are here. Returns the new count of arrivals, how many go on, and the time.

    `ahead` is where the next phase's weights begin; asking for them fills the wait. A decision to go on alone is told as
    the count from which it holds, so that a helper that reads it late still leaves at the right meeting.
    """
    if workers == 1:
        return count, 1, began
    count += workers
    ready = nanoseconds(CLOCK)
    atomic_add(team + ARRIVED, 1)
    for i in range(0, HEAD_BYTES if ahead else 0, 64):
        prefetch(ahead + i)
    now = ready
    while atomic_get(team + ARRIVED) < count:
        for _ in range(SPINS):
            if atomic_get(team + ARRIVED) >= count:
                break
            pause()
        now = nanoseconds(CLOCK)
        if now - ready > PATIENCE_NS:
            give_way()
    too_long = now - ready > max(PATIENCE_NS, ready - began)
    if (
        me == 0 and too_long and atomic_get(team + ALONE_FROM) == NEVER
    ):  # said once: a helper may have left by it
        atomic_swap(team + ALONE_FROM, count + workers)
    return count, (1 if atomic_get(team + ALONE_FROM) <= count else workers), now


class Team:
    """The helpers of thread 0, and whether to use them just now.

    `serve(thread, address)` is what a helper runs until it is dismissed. Helpers start with the first step, and anew in a
    child process, which a fork leaves without them.
    """

    def __init__(self, num_threads: int, serve: Serve) -> None:
        self.num_threads, self._serve = num_threads, serve
        self._process, self._alone_until, self._rest_s = 0, 0.0, FIRST_REST_S
        self._memory = np.zeros(HELPER_STRIDE * (num_threads + 5) // 8, np.int64)
        start: int = self._memory.ctypes.data
        self.address = start + -start % HELPER_STRIDE  # of the shared cells: where a cache line begins
        self._first = (self.address - start) // 8
        flags = self._memory[self._first + IDLE // 8 :: HELPER_STRIDE // 8]
        self._idle = flags[1:num_threads]  # of each helper, 0 or 1
        self._asleep = self._memory[self._first + ASLEEP // 8 :: HELPER_STRIDE // 8][1:num_threads]
        self._threads: list[threading.Thread] = []
        self._avoided = -1  # the core that helpers keep off
        self._libc = ctypes.CDLL(None)
        self._dismiss: weakref.finalize[..., Team] | None = None

    def workers(self) -> int:
        """How many threads to put on the next step: 1 while a helper has not come back from the step before.

        It may have lost its core there, and must not take the next step's signs for that step's.
        """
        if self.num_threads == 1 or time.monotonic() < self._alone_until:
            return 1
        if self._process != os.getpid():
            self._start()
        if not self._idle.all():
            return 1
        self._keep_apart()
        return self.num_threads

    def settle(self, workers: int) -> None:
        """Look back at a step: were the helpers worth it?"""
        if workers == 1:
            return
        if self._cell(ALONE_FROM) == NEVER:
            self._rest_s = FIRST_REST_S
        else:
            self._alone_until = time.monotonic() + self._rest_s
            self._rest_s = min(2 * self._rest_s, LONGEST_REST_S)

    def close(self) -> None:
        """Send the helpers home."""
        if self._dismiss is not None:
            self._dismiss()
            self._process = 0

    def _keep_apart(self) -> None:
        """Bar sleeping helpers from the core that this thread is on.

        Where all cores are busy, Linux may wake a helper there, behind the very thread that waits for it, and need many
        milliseconds to find it another one.
        """
        if sys.platform != "linux" or not self._asleep.any():
            return
        core, cores = int(self._libc.sched_getcpu()), os.sched_getaffinity(0)
        if core != self._avoided and len(cores) >= self.num_threads:
            self._avoided = core
            for thread in self._threads:
                os.sched_setaffinity(thread.native_id or 0, cores - {core})

    def _cell(self, offset: int, value: int | None = None) -> int:
        place = self._first + offset // 8
        if value is not None:
            self._memory[place] = value
        return int(self._memory[place])

    def _start(self) -> None:
        self._memory[:] = 0
        files: list[tuple[int, int]] = []
        self._threads, self._avoided = [], -1
        for helper in range(1, self.num_threads):
            files.append(_bed_and_bell())
            self._cell(HELPER_STRIDE * helper + BED, files[-1][0])
            self._cell(HELPER_STRIDE * helper + BELL, files[-1][1])
            self._threads.append(
                threading.Thread(target=self._serve, args=(helper, self.address), daemon=True)
            )
        for thread in self._threads:
            thread.start()
        self._process = os.getpid()
        command = self._first + COMMAND // 8
        self._dismiss = weakref.finalize(
            self, _dismiss, self._memory, command, files, self._threads, os.getpid()
        )


def _bed_and_bell() -> tuple[int, int]:
    """What a helper reads to sleep, and what is written to wake it: an eventfd, or a pipe where there are none.

    Linux takes a write into a pipe as a sign that the writer is done, and may put the reader on the writer's core.
    """
    if hasattr(os, "eventfd"):
        file = os.eventfd(0)
        return file, file
    return os.pipe()


def _dismiss(
    memory: Int64[np.ndarray, "N"],
    command: int,
    files: Sequence[tuple[int, int]],
    threads: Sequence[threading.Thread],
    process: int,
) -> None:
    if os.getpid() != process:
        return
    memory[command] = QUIT
    for (bed, bell), thread in zip(files, threads, strict=True):
        os.write(bell, (1).to_bytes(8, sys.byteorder))
        thread.join()
        for file in {bed, bell}:
            os.close(file)
