"""What the innermost loops are written with: addresses, repetition, and running sums that stay in registers.

Columns may be many and registers few. `passes_over` says which rows and columns to go through at a time; every sum is
formed in the same order in whichever pass it falls.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias

from llvmlite import ir
from numba.core import cgutils

from liaoliao.engine.cpu.emit import (
    F32X,
    I64,
    Builder,
    Value,
    lanes,
    multiply_add,
    num_registers,
    number,
    read,
    spread,
    write,
)

LINE = 64
HALVES = range(2)  # rows 0..15 and 16..31 of a tile
MANY_REGISTERS = 32
Places: TypeAlias = Sequence[int]
Sums: TypeAlias = dict[tuple[int, int], "Sum"]


def repeat(builder: Builder, count: Value, body: Callable[[Value], None]) -> None:
    """A loop: `body` takes the index, 0 to before `count`."""
    with cgutils.for_range(builder, count, intp=I64) as loop:
        body(loop.index)


def moved(builder: Builder, address: Value, *offsets: Value | int) -> Value:
    """An address, so many bytes further on."""
    for offset in offsets:
        address = builder.add(address, number(offset) if isinstance(offset, int) else offset)
    return address


def addresses(builder: Builder, address: Value, stride: Value, count: int) -> list[Value]:
    """`count` addresses, `stride` bytes apart."""
    return [builder.add(address, builder.mul(stride, number(i))) for i in range(count)]


def repeat_few(builder: Builder, count: int, body: Callable[[Value], None]) -> None:
    """A few steps one after the other; as a loop where registers are few. LLVM puts the steps of straight code into an
    order that needs many.
    """
    if num_registers() < MANY_REGISTERS:
        repeat(builder, number(count), body)
    else:
        for i in range(count):
            body(number(i))


class Sum:
    """A running vector sum; LLVM keeps it in a register."""

    def __init__(self, builder: Builder, kind: ir.VectorType = F32X) -> None:
        self.builder, self.kind, self.place = builder, kind, cgutils.alloca_once(builder, kind)
        builder.store(lanes(kind, 0), self.place)

    def get(self) -> Value:
        """The sum so far."""
        return self.builder.load(self.place, typ=self.kind)

    def put(self, value: Value) -> None:
        """Replace it."""
        self.builder.store(value, self.place)

    def add_product(self, x: Value, y: Value) -> None:
        """sum += x * y."""
        self.put(multiply_add(self.builder, x, y, self.get()))


def fresh_sums(builder: Builder, rows: Places, columns: Places, kind: ir.VectorType = F32X) -> Sums:
    """A running sum for each of these rows and columns."""
    return {(row, c): Sum(builder, kind) for row in rows for c in columns}


def read_sums(builder: Builder, sums: Sums, targets: Sequence[Value]) -> None:
    """Go on from what stands in memory: a row's 16 numbers a line apart, a column's at its own address."""
    for (row, c), sum_ in sums.items():
        sum_.put(read(builder, moved(builder, targets[c], LINE * row), sum_.kind, 4))


def write_sums(builder: Builder, sums: Sums, targets: Sequence[Value]) -> None:
    """Put them where `read_sums` finds them."""
    for (row, c), sum_ in sums.items():
        write(builder, sum_.get(), moved(builder, targets[c], LINE * row), 4)


def passes_over(rows: int, columns: int) -> list[tuple[Places, Places]]:
    """Which rows (16 each) and columns to sum up at a time, so that the running sums stay in registers."""
    together = columns_together(columns, sums_each=rows)
    if len(together) == 1:
        return [(range(rows), together[0])]
    return [
        (range(row, row + 1), some) for row in range(rows) for some in columns_together(columns, sums_each=1)
    ]


def columns_together(count: int, *, sums_each: int) -> list[Places]:
    """Which of so many columns to go through at a time, where each has `sums_each` running sums."""
    most = max(1, num_registers() * 3 // 4 // sums_each)  # the rest is for weights and inputs
    parts = -(-count // most)
    edges = [count * i // parts for i in range(parts + 1)]
    return [range(*pair) for pair in pairwise(edges)]


def spread_at(builder: Builder, address: Value, kind: ir.Type) -> Value:
    """The 4 bytes at an address, in every lane."""
    return spread(builder, read(builder, address, kind, 4))
