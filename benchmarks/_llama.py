"""llama.cpp through llama-cpp-python's C interface, for the benchmarks: many sequences, greedy, nothing in between."""

import ctypes
from collections.abc import Sequence
from pathlib import Path

import llama_cpp
import numpy as np

from liaoliao.engine.cpu.emit import cpu_features

# llama.cpp 0.3.36 crashes in decoding q8_0 weights that it has laid out for AMX: there they stay as the file has them.
_HAS_AMX = "amx-int8" in cpu_features()
Q4_K_M = 15  # LLAMA_FTYPE_MOSTLY_Q4_K_M of llama.h


@llama_cpp.llama_log_callback
def _silent(level: int, text: bytes, data: ctypes.c_void_p) -> None:
    """What llama.cpp prints."""


class LlamaCpp:
    """One GGUF file and one context for `num_sequences` sequences of `length` tokens."""

    def __init__(self, path: Path, *, num_sequences: int, length: int, num_threads: int) -> None:
        llama_cpp.llama_log_set(_silent, ctypes.c_void_p())
        loading = llama_cpp.llama_model_default_params()
        loading.use_extra_bufts = not _HAS_AMX
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), loading)
        params = llama_cpp.llama_context_default_params()
        params.n_ctx, params.n_seq_max = num_sequences * length, num_sequences
        params.n_batch = params.n_ubatch = 512
        params.n_threads = params.n_threads_batch = num_threads
        params.kv_unified = False
        self.context = llama_cpp.llama_init_from_model(self.model, params)
        vocab = llama_cpp.llama_model_get_vocab(self.model)
        self.vocab_size = llama_cpp.llama_vocab_n_tokens(vocab)
        self.batch = llama_cpp.llama_batch_init(512, 0, num_sequences)

    def close(self) -> None:
        llama_cpp.llama_batch_free(self.batch)
        llama_cpp.llama_free(self.context)
        llama_cpp.llama_model_free(self.model)

    def clear(self) -> None:
        llama_cpp.llama_memory_clear(llama_cpp.llama_get_memory(self.context), True)

    def decode(self, columns: Sequence[tuple[int, int, int, bool]]) -> None:
        """(token, position, sequence, whether its logits are wanted) each."""
        batch = self.batch
        batch.n_tokens = len(columns)
        for i, (token, position, sequence, wanted) in enumerate(columns):
            batch.token[i], batch.pos[i], batch.logits[i] = token, position, wanted
            batch.n_seq_id[i], batch.seq_id[i][0] = 1, sequence
        status = llama_cpp.llama_decode(self.context, batch)
        assert status == 0, f"llama_decode gave {status}"

    def logits(self, column: int) -> np.ndarray:
        """Of a wanted column of the last batch."""
        pointer = llama_cpp.llama_get_logits_ith(self.context, column)
        return np.ctypeslib.as_array(pointer, shape=(self.vocab_size,))


def quantize_q4_k_m(source: Path, target: Path, num_threads: int) -> None:
    """llama.cpp's own mix of 4 and 6 bits."""
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = Q4_K_M, num_threads
    llama_cpp.llama_log_set(_silent, ctypes.c_void_p())
    status = llama_cpp.llama_model_quantize(str(source).encode(), str(target).encode(), ctypes.byref(params))
    assert status == 0, f"llama_model_quantize gave {status}"
