"""The torch path on a GPU: steps of decoding recorded once for each shape, and replayed.

    runner = GraphRunner(model)                # on a CUDA device
    runner.forward([Row((7,), 20, table, 1)])  # the first step of a shape is recorded as a CUDA graph, others replay it

A step of decoding is hundreds of small kernels, each launched from Python in about the time that it takes to run. A graph
is launched as a whole. It is fixed in all but the numbers in its input, so a step is brought to one of a few shapes: the
number of sequences and the width of their block tables are rounded up to powers of two, and sequences that are not there
write into a block which nobody owns. Steps that read prompts are long enough to hide the launches: they run as in
TorchRunner.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from liaoliao.engine.runner import BLOCK_SIZE, Row, TorchRunner
from liaoliao.errors import RequestError
from liaoliao.model.cache import Span
from liaoliao.model.transformer import Transformer

Step = Callable[[Tensor], Tensor]
Record = Callable[[Step, Tensor], Step]  # a step and an input of its shape; the same step, faster
LEAST_WIDTH: Final = 4  # blocks of a table
MOST_GATHERED_BYTES: Final = 2**30  # of one layer's keys, side by side; larger steps are not recorded
_WARM_UPS: Final = 3  # runs before the recording, in which libraries set themselves up
_LOG: Final = logging.getLogger(__name__)


class CudaGraphs:
    """Records steps as CUDA graphs. They share memory for what happens inside, so only the last result is good."""

    def __init__(self) -> None:
        self._pool = torch.cuda.graph_pool_handle()

    def __call__(self, step: Step, example: Tensor) -> Step:
        """See Record. The step runs a few times on the example. Raises RuntimeError where it cannot be recorded."""
        inputs = example.clone()
        with torch.cuda.device(example.device):
            stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UPS):
                    step(inputs)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                logits = step(inputs)

        def replay(new: Tensor) -> Tensor:
            inputs.copy_(new)
            graph.replay()
            return logits

        return replay


class GraphRunner(TorchRunner):
    """A TorchRunner whose steps of decoding go through `record`, once for each shape (default: CUDA graphs).

    The last block is nobody's, so `kv_cache_bytes` must be enough for two (RequestError). Where recording fails, a warning
    is logged and steps run as in TorchRunner.
    """

    def __init__(
        self, model: Transformer, *, kv_cache_bytes: int | None = None, record: Record | None = None
    ) -> None:
        super().__init__(model, kv_cache_bytes=kv_cache_bytes)
        if self.num_blocks < 2:
            raise RequestError(
                "the key-value memory holds one block, and recorded steps need one for themselves"
            )
        self.num_blocks -= 1
        self._record = record or CudaGraphs()
        self._recorded: dict[tuple[int, int], Step] = {}
        keys = self._cache.keys
        self._most_blocks = MOST_GATHERED_BYTES // (keys[0, :, 0].numel() * keys.element_size())
        # recordings read the rotary table where it lies: it gets its full length now, and is kept should it be replaced
        longest = _table_width(-(-self.max_length // BLOCK_SIZE)) * BLOCK_SIZE
        model.rotary(torch.zeros(1, 1, dtype=torch.long, device=self.device), keys.dtype, longest)
        self._rotary_table = model.rotary.cos, model.rotary.sin

    @torch.inference_mode()
    def forward(self, rows: Sequence[Row]) -> Float[Tensor, "N V"]:
        """See Runner."""
        spans = [Span(row.block_ids, row.start, len(row.token_ids)) for row in rows]
        shape = self._shape(rows, spans)
        if shape is None:
            return super().forward(rows)
        self._cache.wipe_entered(spans)
        inputs = self._inputs(rows, spans, *shape)
        if shape not in self._recorded:
            self._recorded[shape] = self._try_to_record(inputs)
        return self._recorded[shape](inputs)[: len(rows)]

    def _shape(self, rows: Sequence[Row], spans: Sequence[Span]) -> tuple[int, int] | None:
        """(sequences, blocks of a table) that these rows are brought to; None where they read more than a token, or are
        too large to be recorded.
        """
        if any(len(row.token_ids) != 1 or row.num_logits != 1 for row in rows):
            return None
        size, width = _power_of_two(len(rows)), _table_width(max(span.num_blocks for span in spans))
        return (size, width) if size * width <= self._most_blocks else None

    def _inputs(
        self, rows: Sequence[Row], spans: Sequence[Span], size: int, width: int
    ) -> Int[Tensor, "B C"]:
        """Token, position and block table of each sequence: C = 2 + W."""
        lines = [
            [row.token_ids[0], row.start, *span.padded_table(width)]
            for row, span in zip(rows, spans, strict=True)
        ]
        nobody = [0, 0, *[self.num_blocks] * width]
        lines += [nobody] * (size - len(lines))
        return torch.tensor(lines).to(self.device)

    def _step(self, inputs: Int[Tensor, "B C"]) -> Float[Tensor, "B V"]:
        token_ids, positions, tables = inputs[:, 0], inputs[:, 1], inputs[:, 2:]
        view = self._cache.step_view(positions, tables)
        hidden = self.model.hidden(token_ids.unsqueeze(0), cache=view)[0]
        return self.model.logits(hidden).float()

    def _try_to_record(self, inputs: Tensor) -> Step:
        try:
            return self._record(self._step, inputs)
        except RuntimeError as error:
            _LOG.warning("steps of decoding could not be recorded, and run unrecorded: %s", error)
            self._record = lambda step, example: step
            return self._step


def _table_width(num_blocks: int) -> int:
    """Blocks of the tables of a step whose longest sequence has so many."""
    return _power_of_two(max(LEAST_WIDTH, num_blocks))


def _power_of_two(number: int) -> int:
    """The least power of two that is not below it."""
    return 1 << (number - 1).bit_length()
