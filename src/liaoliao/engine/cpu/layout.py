"""The records that Python fills and compiled code reads: addresses and sizes, all of them int64.

A matrix is cut into tiles of 32 rows, each one contiguous stream of everything its rows need (`pack`):

    bf16   per 2 columns                 row 0..15 as pairs (64 bytes), row 16..31 as pairs
    int8   per 32 columns (1088 bytes)   8 x [4 columns of row 0..15, of row 16..31], each byte + 128; then 32 fp16 scales
    int4   per 32 columns (576 bytes)    4 x the same in nibbles (low: columns 8j..8j+3, high: 8j+4..8j+7); then 32 byte
           scales and 32 byte mins; and before the tile 32 fp16 units of the scales and 32 of the mins

A key-value block holds 16 positions of one layer and one head: keys as [dim][position], values as [position][dim], fp16.
"""

import numpy as np

TILE = 32  # rows of a tile
GROUP = 32  # columns that share a scale
BLOCK = 16  # positions of a key-value block

BF16, INT8, INT4 = 0, 1, 2  # kinds of matrix
INT8_BYTES, INT4_BYTES, INT4_HEADER = 1088, 576, 128  # of a group of columns of a tile; of a tile's beginning

MATRIX = np.dtype([(name, np.int64) for name in ("kind", "data", "tiles", "inner", "tile_bytes")])
QKV, OUT, GATE_UP, DOWN = range(4)  # the matrices of a layer; then, in the row after the last layer:
EMBEDDING, HEAD = range(2)

# Addresses of a layer's vectors, fp32; 0 where the family has none.
LAYER = np.dtype(
    [(name, np.int64) for name in ("attention_gain", "mlp_gain", "query_gain", "key_gain", "bias")]
)

MODEL = np.dtype(
    [(name, np.int64) for name in ("width", "layers", "heads", "kv_heads", "head_dim", "inner", "vocab")]
    + [("eps", np.float32), ("score_scale", np.float32)]
    + [(name, np.int64) for name in ("final_gain", "rotary")]
    + [
        (name, np.int64) for name in ("residual", "qkv", "gate_up", "update")
    ]  # buffers that the threads share
)

# What a matrix is multiplied by: rows rounded to bf16, or to int8 with a scale and a sum per group of columns, in the form
# that the processor wants (`dots`). Rows lie a little
# further apart than they are long: at a multiple of 4096 bytes they would push each other out of the first-level cache.
INPUTS = np.dtype([(name, np.int64) for name in ("codes", "scales", "sums")])
ROW_GAP = 64  # bytes
HEADS_OUT, MLP_OUT, OWN = range(3)  # whose inputs: shared, shared, then one for each thread

# A thread's own room: one row, and the queries, scores and results of a few heads.
SCRATCH = np.dtype([(name, np.int64) for name in ("row", "queries", "scores", "mixed", "score_bytes")])
MAX_QUERIES = 8  # query heads that share one pass over the keys

# One token of a step. `table` is where its row's block ids begin in the step's list of them.
COLUMN = np.dtype([(name, np.int64) for name in ("token", "position", "table")])

# A step: its columns, the memory they read and write (`keys`, `values`: block after block, layer after layer; `tables`:
# block ids), how many of its columns' results are wanted, as what, and where these go (`stride` bytes a row).
JOB = np.dtype(
    [(name, np.int64) for name in ("workers", "columns", "keys", "values", "blocks", "tables")]
    + [(name, np.int64) for name in ("wanted", "result", "out", "stride")]
)
LOGITS, SCORES, HIDDEN = range(3)

# A wanted column, and for SCORES the token whose logprob is asked.
WANT = np.dtype([(name, np.int64) for name in ("column", "target")])

MAX_COLUMNS = 128  # of a step; a longer prompt takes several
MAX_THREADS = 256

# The plan: where each of these records begins, in this order.
MODEL_AT, LAYERS_AT, MATRICES_AT, INPUTS_AT, SCRATCH_AT, JOB_AT, COLUMNS_AT, WANTED_AT = range(8)
