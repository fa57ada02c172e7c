"""What this machine can do: which device to use, its name, and which arithmetic pays there."""

import contextlib
import ctypes
import os
import platform
import re
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import torch

from ddpm_core import room
from ddpm_core.cards import advice as advice  # "why is my card not used?" is asked here
from ddpm_core.cards import has_kernels, other_build
from ddpm_core.errors import UsageError


def choose(name: str = "auto") -> torch.device:
    """The device for "auto", "cpu", "cuda", "cuda:1" or "mps". Raises `UsageError` where this machine has no such device, or
    this torch no kernels for it."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise UsageError(f"device {name!r} is unknown: choose auto, cpu, cuda, cuda:0 or mps.")
    cards = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        card = next((number for number in range(cards) if has_kernels(number)), None)
        if card is not None:
            return torch.device(f"cuda:{card}" if card else "cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if name == "mps" and not torch.backends.mps.is_available():
        raise UsageError("device mps is not here (it is the graphics of an Apple computer): use --device cpu or auto.")
    if name.startswith("cuda"):
        number = int(name.partition(":")[2] or 0)
        if number >= cards:
            found = f"this machine has {cards}, numbered from cuda:0" if cards else "torch finds no NVIDIA card"
            raise UsageError(
                f"device {name} is not here: {found}. Use --device {'cuda:0' if cards else 'cpu'} or auto."
            )
        if not has_kernels(number):
            raise UsageError(f"{other_build(number)} Or use --device cpu.")
    return torch.device(name)


def describe(device: torch.device) -> str:
    """The device in words for a person, such as "NVIDIA GeForce RTX 4090, 24 GB" or "processor, 2 cores"."""
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        return f"{properties.name}, {properties.total_memory / 2**30:.0f} GB"
    if device.type == "mps":
        return "Apple graphics"
    return f"processor, {cores()} core{'s' if cores() != 1 else ''}"


def cores() -> int:
    """The processor cores that this program may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def usage(device: torch.device) -> dict[str, Any]:
    """How full and how busy `device` is: {"memory": bytes, "memory_total": bytes, "busy": 0..1 or None}; see runs.Status.

    Waits for nothing. How busy a card is only NVIDIA's own library tells (nvidia-ml-py).
    """
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info(device)
        busy = None
        with contextlib.suppress(Exception):  # no such library, or a card that does not tell
            busy = torch.cuda.utilization(device) / 100
        return {"memory": total - free, "memory_total": total, "busy": busy}
    own = psutil.Process().memory_info().rss
    return {"memory": own, "memory_total": room.total(), "busy": psutil.cpu_percent(None) / 100}


def is_out_of_memory(error: BaseException) -> bool:
    """Whether a device, or the processor's own memory, was too small. Torch reports the latter as a plain RuntimeError, and so it
    does where one of a card's libraries finds no memory for itself."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    told = (
        "DefaultCPUAllocator: ", "MPS backend out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "CUDNN_STATUS_ALLOC_FAILED",
    )  # fmt: skip
    return isinstance(error, RuntimeError) and any(words in str(error) for words in told)


def bfloat16_pays(device: torch.device) -> bool:
    """Whether `device` computes in bfloat16 natively. Elsewhere it is emulated, which costs more than it gains."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return has_matrix_units() or bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())
    return False


def float16_pays(device: torch.device) -> bool:
    """Whether `device` is faster in float16: NVIDIA cards from 2017 on (Volta; Pascal before it computes in float16 at 1/64 of
    float32's pace on most cards). Training needs a scaled loss then, see training/precision.py."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (7, 0)


def channels_last_pays(device: torch.device) -> bool:
    """Whether `device` is a processor that is faster with weights, and so feature maps, in channels-last layout: one without bfloat16.

    With it there is nothing to win: what convolutions gain, GroupNorm loses. (Measured on one core with AVX-512, `cpu` at 32 px:
    0.9 times as fast. Wide networks, whose convolutions go Winograd's way by now, were not asked again.)
    """
    return device.type == "cpu" and not bfloat16_pays(device)


def has_matrix_units() -> bool:
    """Whether the processor multiplies matrices of bfloat16 as a whole (Intel's AMX), many times as fast as it does all else."""
    return bool(getattr(torch.cpu, "_is_amx_tile_supported", lambda: False)())


def half(device: torch.device, amp: bool) -> torch.dtype | None:
    """bfloat16 where `amp` asks for half precision and the device is good at it, float16 where it is good at that alone (RTX 20,
    GTX 16, V100); None for float32."""
    if amp and bfloat16_pays(device):
        return torch.bfloat16
    return torch.float16 if amp and float16_pays(device) else None


def autocast(device: torch.device, amp: bool) -> contextlib.AbstractContextManager:
    """The arithmetic of `half` inside; where that is None float32 as usual."""
    kind = half(device, amp)
    return contextlib.nullcontext() if kind is None else torch.autocast(device.type, kind)


def compile_pays(device: torch.device) -> bool:
    """torch.compile needs Triton and an NVIDIA card of 2017 (Volta) or later; on two cores it takes minutes and gains little."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (7, 0):
        return False
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return True


@contextlib.contextmanager
def repeatable(device: torch.device) -> Iterator[None]:
    """Inside, a card computes the same numbers to the same bits, again and again: a resumed run depends on it.

    Some of its fastest kernels add in the order in which their threads happen to arrive; torch knows others for all that training
    does here. (Measured on an H200: they cost nothing.) On a processor there is nothing to do.
    """
    if device.type != "cuda":
        yield
        return
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    # Else all memory that is taken would be written over first.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory instead of handing every large block back to the kernel.

    A training step frees and takes the same large blocks again and again; each return costs page faults. Elsewhere than on
    Linux with glibc this does nothing.
    """
    if sys.platform == "linux" and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL("libc.so.6")
        trim_threshold, top_pad, mmap_max = -1, -2, -4  # the M_* numbers of malloc.h
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, -1)
        libc.mallopt(top_pad, 256 * 2**20)
