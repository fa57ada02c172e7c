"""How much work a network is, and the most that the machine can do: its fastest 3x3 convolution."""

import copy
import time

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import peers

# batch, channels, side
SHAPES = ((32, 64, 32), (32, 128, 32), (32, 128, 16), (64, 256, 16), (32, 256, 32), (64, 512, 8))
SHAPES_CUDA = ((256, 256, 32), (256, 512, 32), (128, 1024, 16))


def flops(network: nn.Module, channels: int, size: int) -> int:
    """Of one picture forward and backward: three times forward, as the backward pass makes two products for each of forward's."""
    with torch.device("meta"):
        still = copy.deepcopy(network).to("meta").eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            still(torch.empty(1, channels, size, size), torch.zeros(1, dtype=_second_argument(network)))
    return 3 * counter.get_total_flops()


def _second_argument(network: nn.Module) -> torch.dtype:
    return torch.long if isinstance(network, peers.Timed) else torch.float32


@torch.no_grad()
def fastest_convolution(kind: torch.dtype, device: torch.device, seconds: float) -> float:
    """GFLOP/s of the best of several shapes, forward, in both layouts; looks for about `seconds`."""
    shapes = SHAPES_CUDA if device.type == "cuda" else SHAPES
    best = 0.0
    for batch, channels, side in shapes:
        for layout in (torch.contiguous_format, torch.channels_last):
            x = torch.randn(batch, channels, side, side, device=device, dtype=kind).to(memory_format=layout)
            layer = nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(device, kind)
            layer.weight.data = layer.weight.contiguous(memory_format=layout)
            work = 2 * 9 * channels * channels * side * side * batch / 1e9
            layer(x)
            end = time.perf_counter() + seconds / len(shapes) / 2
            while True:
                synchronize(device)
                start = time.perf_counter()
                layer(x)
                synchronize(device)
                now = time.perf_counter()
                best = max(best, work / (now - start))
                if now > end:
                    break
    return best


def synchronize(device: torch.device) -> None:
    """Waits until a card has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
