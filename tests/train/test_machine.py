"""The dtype that a run computes in is the processor's business."""

import pytest
import torch

from liaoliao.train import machine


@pytest.mark.parametrize("gpu", [False, True])
def test_auto_asks_the_processor_and_no_gpu(gpu: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Training never moves to a GPU: where there is one beside a CPU without bf16, bf16 would be emulated."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    for has_bf16, expected in ((False, torch.float32), (True, torch.bfloat16)):
        monkeypatch.setattr(machine, "_cpu_has_bf16", lambda answer=has_bf16: answer)
        assert machine.pick_dtype("auto") == expected


def test_a_dtype_that_is_named_is_taken() -> None:
    assert (machine.pick_dtype("fp32"), machine.pick_dtype("bf16")) == (torch.float32, torch.bfloat16)
