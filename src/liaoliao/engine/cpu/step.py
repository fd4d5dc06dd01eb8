"""One forward pass over some columns, as every thread of a team runs it.

A column is one token: of any row, at any position. Prompts, batches and drafts differ only in what their columns say, so
they share this path and give the same bits. Each thread takes a contiguous share of each matrix; the four meetings of a
layer are where one thread needs what the others made:

    queries, keys, values and attention of one's own heads | output rows | gates and ups | down rows

Everyone computes the norms for itself, which is cheaper than a meeting more.
"""

from typing import Any

from numba import carray

from liaoliao.engine.cpu.emit import (
    compiled,
)
from liaoliao.engine.cpu.layout import (
    BLOCK,
    COLUMN,
    COLUMNS_AT,
    DOWN,
    EMBEDDING,
    GATE_UP,
    HEAD,
    HEADS_OUT,
    HIDDEN,
    INPUTS,
    INPUTS_AT,
    JOB,
    JOB_AT,
    LAYER,
    LAYERS_AT,
    MATRICES_AT,
    MATRIX,
    MAX_COLUMNS,
    MAX_THREADS,
    MLP_OUT,
    MODEL,
    MODEL_AT,
    OUT,
    OWN,
    QKV,
    SCORES,
    SCRATCH,
    SCRATCH_AT,
    TILE,
    WANT,
    WANTED_AT,
)
from liaoliao.engine.cpu.ops import (
    add_to,
    attend,
    gated,
    gather,
    log_probability,
    matmul,
    normalise,
    prepare,
    remember,
    rotate,
    tokens_together,
)
from liaoliao.engine.cpu.signals import (
    as_pointer,
    atomic_get,
    nanoseconds,
)
from liaoliao.engine.cpu.simd import (
    get_i64,
    load,
    put_f32,
    store,
)
from liaoliao.engine.cpu.team import CLOCK, START, WAKING_NS, await_command, meet, publish


@compiled
def work(me: int, team: int, plan: int) -> None:
    """Thread 0 carries out the job that stands in the records of `plan`; a helper serves until it is told to leave."""
    model = carray(as_pointer(get_i64(plan + 8 * MODEL_AT)), 1, MODEL)[0]
    layers = carray(as_pointer(get_i64(plan + 8 * LAYERS_AT)), model.layers, LAYER)
    matrices = carray(as_pointer(get_i64(plan + 8 * MATRICES_AT)), (model.layers + 1, 4), MATRIX)
    inputs = carray(as_pointer(get_i64(plan + 8 * INPUTS_AT)), OWN + MAX_THREADS, INPUTS)
    scratch = carray(as_pointer(get_i64(plan + 8 * SCRATCH_AT)), MAX_THREADS, SCRATCH)[me]
    job = carray(as_pointer(get_i64(plan + 8 * JOB_AT)), 1, JOB)[0]
    columns = carray(as_pointer(get_i64(plan + 8 * COLUMNS_AT)), MAX_COLUMNS, COLUMN)
    wanted = carray(as_pointer(get_i64(plan + 8 * WANTED_AT)), MAX_COLUMNS, WANT)
    seen = 0
    while True:
        began = nanoseconds(CLOCK)
        if me > 0:
            seen = await_command(team, me, seen)
            if seen < 0:
                return
        elif job.workers > 1 and publish(team, job.workers):
            began -= WAKING_NS
        forward(me, team, began, model, layers, matrices, inputs, scratch, job, columns, wanted)
        if me == 0:
            return


@compiled
def forward(
    me: int,
    team: int,
    began: int,
    model: Any,
    layers: Any,
    matrices: Any,
    inputs: Any,
    scratch: Any,
    job: Any,
    columns: Any,
    wanted: Any,
) -> None:
    """A step, by thread `me`: it leaves early where the team goes on without it."""
    workers, count = job.workers, atomic_get(team + START)
    result = job.result  # thread 0 may set up the next job as soon as all have met at the end
    for c in range(job.columns):  # everyone writes the same numbers, so nobody has to wait for them
        gather(matrices[model.layers, EMBEDDING], columns[c].token, model.residual + 4 * c * model.width)
    for i in range(model.layers):
        count, workers, began = layer_share(
            me, team, count, workers, began, i, model, layers[i], matrices, inputs, scratch, job, columns
        )
        if me >= workers:
            return
    if result == HIDDEN:
        hidden_share(me, workers, model, job, wanted)
    else:
        head_share(me, workers, model, matrices[model.layers, HEAD], inputs[OWN + me], scratch, job, wanted)
    count, workers, began = meet(team, me, count, workers, began, 0)
    if result == SCORES and me < workers:
        score_share(me, workers, model, job, wanted)
        meet(team, me, count, workers, began, 0)


@compiled
def layer_share(
    me: int,
    team: int,
    count: int,
    workers: int,
    began: int,
    i: int,
    model: Any,
    layer: Any,
    matrices: Any,
    inputs: Any,
    scratch: Any,
    job: Any,
    columns: Any,
) -> tuple[int, int, int]:
    """One layer. Returns what its last meeting returned, or the one at which the team went on without this thread."""
    qkv, out, gate_up, down = matrices[i, QKV], matrices[i, OUT], matrices[i, GATE_UP], matrices[i, DOWN]
    qkv_share(me, workers, model, layer, qkv, inputs[OWN + me], scratch, job.columns)
    if model.kv_heads % workers:  # some head's rows were shared: meet once more
        count, workers, began = meet(team, me, count, workers, began, beginning(out, me, workers))
        if me >= workers:
            return count, workers, began
    attention_share(me, workers, model, i, layer, out.kind, inputs[HEADS_OUT], scratch, job, columns)
    count, workers, began = meet(team, me, count, workers, began, beginning(out, me, workers))
    if me >= workers:
        return count, workers, began
    update_share(me, workers, model, out, inputs[HEADS_OUT], job.columns)
    count, workers, began = meet(team, me, count, workers, began, beginning(gate_up, me, workers))
    if me >= workers:
        return count, workers, began
    mlp_share(me, workers, model, layer, gate_up, down.kind, inputs, scratch, job.columns)
    count, workers, began = meet(team, me, count, workers, began, beginning(down, me, workers))
    if me >= workers:
        return count, workers, began
    update_share(me, workers, model, down, inputs[MLP_OUT], job.columns)
    return meet(team, me, count, workers, began, beginning(matrices[i + 1, QKV], me, workers))


@compiled
def beginning(matrix: Any, me: int, workers: int) -> int:
    """The address of one's own share of a matrix."""
    address: int = matrix.data + matrix.tile_bytes * share(matrix.tiles, me, workers)[0]
    return address


@compiled
def share(amount: int, me: int, workers: int) -> tuple[int, int]:
    """Which of so many equal things thread `me` takes: from the first to before the second."""
    return amount * me // workers, amount * (me + 1) // workers


@compiled
def qkv_share(
    me: int, workers: int, model: Any, layer: Any, matrix: Any, inputs: Any, scratch: Any, columns: int
) -> None:
    """Queries, keys and values of one's own heads. A head's rows: its group of queries, its key, its value."""
    first, last = share(matrix.tiles, me, workers)
    width, stride = model.width, 4 * TILE * matrix.tiles
    for c in range(columns):
        normalise(model.residual + 4 * c * width, layer.attention_gain, width, model.eps, scratch.row)
        prepare(matrix.kind, scratch.row, width, inputs, c, 0, width // 32)
    matmul(matrix, first, last, inputs, columns, model.qkv, stride)
    if layer.bias:
        for c in range(columns):
            add_to(model.qkv + c * stride, layer.bias, 128 * first, 128 * last)


@compiled
def attention_share(
    me: int,
    workers: int,
    model: Any,
    i: int,
    layer: Any,
    kind: int,
    inputs: Any,
    scratch: Any,
    job: Any,
    columns: Any,
) -> None:
    """Store the new keys and values of one's own heads, then attend with each of their queries."""
    group, dims = model.heads // model.kv_heads, model.head_dim
    head_bytes = 4 * (group + 2) * dims
    stride, block_bytes = head_bytes * model.kv_heads, 2 * BLOCK * dims * model.kv_heads
    first, last = share(model.kv_heads, me, workers)
    for kv in range(first, last):
        place = i * job.blocks * block_bytes + 2 * BLOCK * dims * kv
        memory = (job.keys + place, job.values + place, block_bytes)
        for c in range(job.columns):
            rows = model.qkv + c * stride + kv * head_bytes
            turn_and_store(rows, group, model, layer, columns[c], job.tables, memory, scratch.row)
        c = 0
        while c < job.columns:
            together = run_length(columns, c, job.columns, tokens_together(group))
            rows = model.qkv + c * stride + kv * head_bytes
            collect_queries(rows, stride, together, group, dims, scratch.queries)
            counts = (columns[c].position + 1, together * group)
            tables = job.tables + 8 * columns[c].table
            attend(scratch.queries, scratch, dims, counts, group, memory, tables, model.score_scale)
            for j in range(together):
                mixed, at = scratch.mixed + 4 * j * group * dims, kv * group * dims // 32
                inner = model.heads * dims
                prepare(kind, mixed, inner, inputs, c + j, at, at + group * dims // 32)
            c += together


@compiled
def turn_and_store(
    rows: int, group: int, model: Any, layer: Any, column: Any, tables: int, memory: Any, row: int
) -> None:
    """Rotate a column's queries and key of one head, and write its key and value into their block."""
    dims = model.head_dim
    rotary, key = model.rotary + 4 * dims * column.position, rows + 4 * group * dims
    for head in range(group):
        rotate(rows + 4 * head * dims, layer.query_gain, dims, model.eps, rotary)
    rotate(key, layer.key_gain, dims, model.eps, rotary)
    keys, values, block_bytes = memory
    block = get_i64(tables + 8 * (column.table + column.position // BLOCK)) * block_bytes
    remember(key, key + 4 * dims, dims, keys + block, values + block, column.position % BLOCK, row)


@compiled
def run_length(columns: Any, first: int, end: int, most: int) -> int:
    """How many columns from `first` on are neighbouring tokens of one row, up to `most`."""
    count = 1
    while count < most and first + count < end:
        here = columns[first + count]
        if here.table != columns[first].table or here.position != columns[first].position + count:
            break
        count += 1
    return count


@compiled
def collect_queries(rows: int, stride: int, tokens: int, group: int, dims: int, out: int) -> None:
    """The query heads of some columns, side by side."""
    size = 4 * group * dims
    for j in range(tokens):
        for i in range(0, size, 64):
            store(out + j * size + i, load(rows + j * stride + i))


@compiled
def update_share(me: int, workers: int, model: Any, matrix: Any, inputs: Any, columns: int) -> None:
    """One's own rows of a product, added to the residual stream."""
    first, last = share(matrix.tiles, me, workers)
    stride = 4 * model.width
    matmul(matrix, first, last, inputs, columns, model.update, stride)
    for c in range(columns):
        add_to(model.residual + c * stride, model.update + c * stride, 128 * first, 128 * last)


@compiled
def mlp_share(
    me: int,
    workers: int,
    model: Any,
    layer: Any,
    gate_up: Any,
    down_kind: int,
    inputs: Any,
    scratch: Any,
    columns: int,
) -> None:
    """Gates and ups of one's own rows, and their product as input of the down matrix."""
    width, own = model.width, inputs[OWN + me]
    for c in range(columns):
        normalise(model.residual + 4 * c * width, layer.mlp_gain, width, model.eps, scratch.row)
        prepare(gate_up.kind, scratch.row, width, own, c, 0, width // 32)
    first, last = share(model.inner // 32, me, workers)  # groups of 32 products: two tiles each
    stride = 8 * model.inner
    matmul(gate_up, 2 * first, 2 * last, own, columns, model.gate_up, stride)
    for c in range(columns):
        gated(model.gate_up + c * stride, 2 * first, 2 * last, scratch.row)
        prepare(down_kind, scratch.row, model.inner, inputs[MLP_OUT], c, first, last)


@compiled
def hidden_share(me: int, workers: int, model: Any, job: Any, wanted: Any) -> None:
    """The final norm of one's own share of the wanted columns."""
    first, last = share(job.wanted, me, workers)
    for w in range(first, last):
        residual = model.residual + 4 * model.width * wanted[w].column
        normalise(residual, model.final_gain, model.width, model.eps, job.out + w * job.stride)


@compiled
def head_share(
    me: int, workers: int, model: Any, matrix: Any, inputs: Any, scratch: Any, job: Any, wanted: Any
) -> None:
    """Logits of the wanted columns, for one's own share of the vocabulary."""
    first, last = share(matrix.tiles, me, workers)
    width = model.width
    for w in range(job.wanted):
        residual = model.residual + 4 * width * wanted[w].column
        normalise(residual, model.final_gain, width, model.eps, scratch.row)
        prepare(matrix.kind, scratch.row, width, inputs, w, 0, width // 32)
    matmul(matrix, first, last, inputs, job.wanted, job.out, job.stride)


@compiled
def score_share(me: int, workers: int, model: Any, job: Any, wanted: Any) -> None:
    """The logprob of each wanted column's target, for one's own share of them; put where the logits began."""
    first, last = share(job.wanted, me, workers)
    for w in range(first, last):
        logits = job.out + w * job.stride
        put_f32(logits, log_probability(logits, model.vocab, wanted[w].target))
