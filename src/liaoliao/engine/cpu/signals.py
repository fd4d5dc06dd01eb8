"""What threads of compiled code need of the machine: shared numbers, time, waiting, sleeping and waking.

atomic_add(address, 1);  pause();  nanoseconds(time.CLOCK_MONOTONIC);  sleep_on(file);  wake(file)
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils

from liaoliao.engine.cpu.emit import (
    I32,
    I64,
    Builder,
    Value,
    call,
    fetch_ahead,
    i64,
    is_x86,
    number,
    operation,
    pointer,
)


@operation(types.voidptr, i64)
def as_pointer(builder: Builder, address: Value) -> Value:
    """An address as `numba.carray` takes it."""
    return pointer(builder, address)


@operation(types.void, i64)
def prefetch(builder: Builder, address: Value) -> None:
    """Ask for the cache line at an address."""
    fetch_ahead(builder, address)


@operation(i64, i64, i64)
def atomic_add(builder: Builder, address: Value, value: Value) -> Value:
    """Add to a shared number; returns what it was."""
    return builder.atomic_rmw("add", pointer(builder, address), value, "seq_cst")


@operation(i64, i64, i64)
def atomic_swap(builder: Builder, address: Value, value: Value) -> Value:
    """Set a shared number; returns what it was."""
    return builder.atomic_rmw("xchg", pointer(builder, address), value, "seq_cst")


@operation(i64, i64)
def atomic_get(builder: Builder, address: Value) -> Value:
    """A shared number, and all that its writer had written before."""
    return builder.load_atomic(pointer(builder, address), "seq_cst", 8, typ=I64)


@operation(types.void)
def pause(builder: Builder) -> None:
    """Tell the processor that this is a waiting loop."""
    if is_x86():
        call(builder, "llvm.x86.sse2.pause", ir.VoidType())


@operation(types.void)
def give_way(builder: Builder) -> None:
    """Let another thread have this core, if one wants it."""
    call(builder, "sched_yield", I32)


@operation(i64, i64)
def nanoseconds(builder: Builder, clock: Value) -> Value:
    """The time of a POSIX clock (`time.CLOCK_MONOTONIC`)."""
    place = cgutils.alloca_once(builder, ir.ArrayType(I64, 2))
    call(builder, "clock_gettime", I32, builder.trunc(clock, I32), place)
    seconds, rest = (
        builder.extract_value(builder.load(place, typ=ir.ArrayType(I64, 2)), i) for i in range(2)
    )
    return builder.add(builder.mul(seconds, number(1_000_000_000)), rest)


@operation(i64, i64)
def sleep_on(builder: Builder, file: Value) -> Value:
    """Read 8 bytes of a pipe or an eventfd, waiting for them without the interpreter; 8, or less if interrupted."""
    place = cgutils.alloca_once(builder, I64)
    return call(builder, "read", I64, builder.trunc(file, I32), place, number(8))


@operation(i64, i64)
def wake(builder: Builder, file: Value) -> Value:
    """Write 8 bytes, the number 1, into a pipe or an eventfd."""
    place = cgutils.alloca_once(builder, I64)
    builder.store(number(1), place)
    return call(builder, "write", I64, builder.trunc(file, I32), place, number(8))
