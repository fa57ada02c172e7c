"""A few steps of the very network on the very device, with pictures that mean nothing: what they take is measured here."""

import copy
import sys
import time

import psutil
import torch

from ddpm_core import devices
from ddpm_core.config import RunConfig
from ddpm_core.network.unet import UNet
from ddpm_core.training import optimizer as optimizers
from ddpm_core.training import trial


class Rehearsal:
    """Network, averages and optimizer of `config` for pictures of `channels` channels, on `device`."""

    def __init__(self, config: RunConfig, channels: int, device: torch.device) -> None:
        self.config = config
        self.device = device
        with torch.random.fork_rng([device] if device.type == "cuda" else []), device:
            self.network = UNet(config.network, channels)
            self.picture = torch.randn(1, channels, config.size, config.size)
        if trial.usual_layout(config, device):
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averages = [copy.deepcopy(self.network).requires_grad_(False) for _ in range(1 + config.snapshots)]
        self.optimizer = optimizers.build(self.network, config)

    def learn(self, pictures: int) -> None:
        """One pass of so many pictures, forward and backward."""
        x = self.picture.repeat(pictures, 1, 1, 1)
        with devices.autocast(self.device, self.config.amp):
            output = self.network(x, torch.zeros(pictures, device=self.device))
        (output.float() - x).square().mean(dim=(1, 2, 3)).mean().backward()

    @torch.no_grad()
    def update(self) -> None:
        """What ends a step: the gradient's norm, the optimizer, the averages."""
        weights: list[torch.Tensor] = list(self.network.parameters())
        optimizers.step(self.optimizer, self.network, self.config.grad_clip)
        self.optimizer.zero_grad()
        for average in self.averages:
            averages: list[torch.Tensor] = list(average.parameters())
            torch._foreach_lerp_(averages, weights, 0.1)

    def seconds(self, pictures: int) -> float:
        """Of one pass of so many pictures; of an update where there are none."""
        start = time.perf_counter()
        self.learn(pictures) if pictures else self.update()
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()
        return time.perf_counter() - start


def measured_peak(config: RunConfig, channels: int, micro_batch: int, device: torch.device, steps: int = 3) -> int:
    """Bytes that `steps` steps take at their height, of one micro-batch each, or of two where `micro_batch` is smaller than the batch.

    On a card: what torch.cuda.max_memory_allocated says, which leaves out the driver's part and what lies between blocks. On a
    processor: by how much the program grew, which is right only in a program that has done nothing else.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
    else:
        before = psutil.Process().memory_info().rss
    rehearsal = Rehearsal(config, channels, device)
    for _ in range(steps):
        for _ in range(1 if micro_batch >= config.batch_size else 2):
            rehearsal.learn(micro_batch)
        rehearsal.update()
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) - before
    return _largest_so_far() - before


def _largest_so_far() -> int:
    """Bytes that this program had in memory at most."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
