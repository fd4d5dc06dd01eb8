"""What LLVM makes of IR for a processor, which need not be this one."""

import llvmlite.binding as llvm
from llvmlite import ir


def assembly(module: ir.Module, features: str) -> str:
    """For an x86-64 with these instruction sets: "+avx2,+avxvnni"."""
    target = llvm.Target.from_triple("x86_64-unknown-linux-gnu")
    machine = target.create_target_machine(cpu="x86-64", features=features)
    return str(machine.emit_assembly(llvm.parse_assembly(str(module))))
