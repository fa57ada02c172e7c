"""Where a card's kernels are tested: on the card, or in Triton's interpreter on the processor."""

import os

import pytest
import torch


def device_or_skip() -> str:
    """ "cuda" or "cpu"; skips the file that calls it where there is neither a card nor an interpreter. Call it before kernels
    are imported."""
    triton = pytest.importorskip("triton", reason="Triton is not here (it is made for Linux)")
    if torch.cuda.is_available():
        return "cuda"
    if "TRITON_INTERPRET" not in os.environ:
        pytest.skip("torch does not see the card that is here", allow_module_level=True)
    if tuple(map(int, triton.__version__.split(".")[:2])) < (3, 9):
        pytest.skip("before 3.9 Triton's interpreter fails with numpy 2.4", allow_module_level=True)
    return "cpu"
