"""Decoding fast on a CPU: one compiled step for all models, its weights packed for the processor's vector units.

    simd      16-lane vectors for Numba        tiles    the innermost loops, as LLVM IR
    ops       norms, attention, products       step     a whole forward pass of some columns, by one thread of a team
    team      helper threads and their meeting points
    pack      weights to tiles                 layout   the records that Python and the compiled code share
    runner    CpuRunner: the engine's `Runner` on top of it all

Nothing here needs a compiler on the user's machine: Numba brings LLVM. `liaoliao.engine.runner.TorchRunner` is the readable
reference, and serves where Numba is missing.
"""
