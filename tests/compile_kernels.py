"""Makes the kernels for cards that are not here, as Triton does at their first call, and tells what became of each.

    python -m tests.compile_kernels 75 90

Not where TRITON_INTERPRET is set: then there is nothing to make.
"""

import sys
from collections.abc import Iterator
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ddpm_core.network import norm_kernels
from ddpm_core.training import momentum_kernel

# Numbers that are multiples of 16, as those of real maps, and addresses too; Triton makes other kernels of them.
EVEN = ("gain_step", "shift_step", "places", "width", "count")


def the_norm_s(number: str, drops: bool, shape: tuple[int, ...]) -> Iterator[tuple[Any, dict, dict]]:
    """Its two kernels for maps of this shape (B, C, H, W): each with the types of its arguments and what is constant."""
    tile = norm_kernels._tile(torch.empty(shape, device="meta"))
    types = dict.fromkeys(("x", "y", "dx", "dy"), number) | {"seed": "*i64", "larger": "fp32", "eps": "fp32"}
    types |= dict.fromkeys(("gain_step", "shift_step", "places", "width", "threshold"), "i32")
    fixed = {"BIAS": True, "SILU": True, "DROPS": drops, **tile} | ({} if drops else {"seed": None})
    for kernel in (norm_kernels._forward, norm_kernels._backward):
        yield kernel, types, fixed


def all_kernels(capability: int) -> Iterator[tuple[Any, dict, dict]]:
    half = "*bf16" if capability >= 80 else "*fp16"
    for shape in ((64, 192, 64, 64), (64, 192, 16, 16), (4, 16, 4, 4)):
        yield from the_norm_s(half, True, shape)
    yield from the_norm_s("*fp32", False, (64, 64, 64, 64))
    yield momentum_kernel._ahead, {"count": "i32"}, {"KEEP": 0.95, "BLOCK": momentum_kernel.BLOCK}


def make(kernel: Any, types: dict[str, str], fixed: dict[str, Any], capability: int) -> int:
    """The bytes of its code; what is not among `types` points at float32."""
    names, fixed = kernel.arg_names, dict(fixed)
    warps = fixed.pop("num_warps", 4)
    signature = {name: "constexpr" if name in fixed else types.get(name, "*fp32") for name in names}
    attributes = {
        (place,): [["tt.divisibility", 16]]
        for place, name in enumerate(names)
        if signature[name].startswith("*") or name in EVEN and name not in fixed
    }
    constants = {(names.index(name),): value for name, value in fixed.items()}
    source = ASTSource(kernel, signature, constants, attributes)
    made = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"num_warps": warps})
    return len(made.asm["cubin"])


if __name__ == "__main__":
    for capability in map(int, sys.argv[1:]):
        for kernel, types, fixed in all_kernels(capability):
            print(f"sm_{capability} {kernel.__name__}: {make(kernel, types, fixed, capability)} bytes")
