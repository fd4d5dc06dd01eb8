"""AMX: what its loops become, also on processors without it. Their results are those of `test_ops`, where it is there."""

import numba
import pytest
from llvmlite import ir

from liaoliao.engine.cpu import amx, emit
from liaoliao.engine.cpu.emit import I64
from tests.engine.cpu.assembly import assembly


@pytest.mark.parametrize(("tiles", "blocks"), [(1, 1), (2, 1), (1, 2)])
def test_one_product_for_each_half_tile_and_block(tiles: int, blocks: int) -> None:
    if not emit.is_x86():
        pytest.skip("for Intel and AMD processors")
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(ir.VoidType(), [I64] * (3 + tiles + 2 * blocks)), "f")
    steps, stride, out_stride, *places = function.args
    streams, inputs, targets = places[:tiles], places[tiles : tiles + blocks], places[tiles + blocks :]
    builder = ir.IRBuilder(function.append_basic_block())
    amx.multiply(builder, streams, (inputs, stride), steps, (targets, out_stride))
    builder.ret_void()
    text = assembly(module, "+amx-tile,+amx-bf16")
    counts = {name: text.count(f"\t{name}\t") for name in ("tdpbf16ps", "tileloadd", "tilestored")}
    sums = 2 * tiles * blocks
    assert counts == {"tdpbf16ps": sums, "tileloadd": 2 * tiles + blocks, "tilestored": sums}


def test_it_is_taken_where_the_system_allows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(numba.config, "CPU_FEATURES", "+amx-tile,+amx-bf16,+avx512bf16,+avx512f")
    for allowed in (True, False):
        monkeypatch.setattr(emit, "_may_use_tiles", lambda allowed=allowed: allowed)
        assert emit.has("avx512f") and amx.multiplies_tiles() is allowed
