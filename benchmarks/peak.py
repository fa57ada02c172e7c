"""How much work a network is, and the most that the machine can do: its fastest 3x3 convolution."""

import contextlib
import copy
import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.peer_networks import Timed

# batch, channels, side
SHAPES = ((32, 64, 32), (32, 128, 32), (32, 128, 16), (64, 256, 16), (32, 256, 32), (64, 512, 8))
SHAPES_CUDA = ((256, 256, 32), (256, 512, 32), (128, 1024, 16), (16, 768, 32), (64, 256, 64))
# A card is told what to do, and then waited for: what is timed at once takes about so long that the waiting does not count.
A_WHILE = 0.02


def flops(network: nn.Module, channels: int, size: int) -> int:
    """Of one picture forward and backward: three times forward, as the backward pass makes two products for each of forward's."""
    with torch.device("meta"):
        still = copy.deepcopy(network).to("meta").eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            still(torch.empty(1, channels, size, size), torch.zeros(1, dtype=_second_argument(network)))
    return 3 * counter.get_total_flops()


def _second_argument(network: nn.Module) -> torch.dtype:
    return torch.long if isinstance(network, Timed) else torch.float32


@torch.no_grad()
def fastest_convolution(kind: torch.dtype, device: torch.device, seconds: float) -> float:
    """GFLOP/s of the best of several shapes, forward, in both layouts; looks for about `seconds`."""
    card = device.type == "cuda"
    shapes = SHAPES_CUDA if card else SHAPES
    best = 0.0
    for batch, channels, side in shapes:
        for layout in (torch.contiguous_format, torch.channels_last):
            x = torch.randn(batch, channels, side, side, device=device, dtype=kind).to(memory_format=layout)
            layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(device, kind)
            layer.weight.data = layer.weight.contiguous(memory_format=layout)
            work = 2 * 9 * channels * channels * side * side * batch / 1e9
            with _fastest_kernels():
                layer(x)
                times = max(1, round(A_WHILE / _seconds(layer, x, 1))) if card else 1
                end = time.perf_counter() + seconds / len(shapes) / 2
                while True:
                    best = max(best, times * work / _seconds(layer, x, times))
                    if time.perf_counter() > end:
                        break
    return best


def _seconds(layer: nn.Module, x: Tensor, times: int) -> float:
    """How long `layer` takes for `x`, so many times one after the other."""
    synchronize(x.device)
    start = time.perf_counter()
    for _ in range(times):
        layer(x)
    synchronize(x.device)
    return time.perf_counter() - start


@contextlib.contextmanager
def _fastest_kernels() -> Iterator[None]:
    """Inside, cuDNN tries all that it has for a shape, the first time that it meets it."""
    before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def synchronize(device: torch.device) -> None:
    """Waits until a card has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
