"""The peers' networks, and each side's in the other's clothes.

On a card they have about as many weights as our `standard` preset at that size, at 256 px half as many; on a processor they are the
same at every size.
"""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ddpm_core.config import NetworkConfig
from ddpm_core.data import torchvision_sets
from ddpm_core.diffusion import schedule
from ddpm_core.errors import UsageError

PIP = "pip install -r requirements-bench.txt"
# A full-resolution network of ours with the work per picture (9 GFLOP a training step at 32 px) of diffusers' below: few
# channels where the maps are large, many where they are small, as wide convolutions are what processors do best.
FULL_RESOLUTION = NetworkConfig(width=64, multipliers=(1, 5, 5), blocks=1, patch=1, attention=())


def diffusers_package() -> Any:
    try:
        torchvision_sets.datasets()  # makes torchvision importable beside a torch without CUDA
        import diffusers
        import diffusers.training_utils
        from diffusers import UNet2DModel  # noqa: F401  (its import is what fails where something is missing)
    except ImportError as error:
        raise UsageError(f"the peer diffusers is not installed ({error}): {PIP}") from None
    return diffusers


def lucidrains_package() -> Any:
    try:
        torchvision_sets.datasets()
        import denoising_diffusion_pytorch
    except ImportError as error:
        raise UsageError(f"the peer denoising-diffusion-pytorch is not installed ({error}): {PIP}") from None
    return denoising_diffusion_pytorch


class Scale(NamedTuple):
    """How large the peers' networks are."""

    diffusers: tuple[int, ...]  # the channels of each level
    lucidrains: int  # the channels of its first level...
    multipliers: tuple[int, ...]  # ...and by what they are multiplied


# Millions of weights for pictures in colour, diffusers' and lucidrains'. (Ours: ddpm_core/presets.py.)
SMALL = Scale((64, 128, 128, 128), 64, (1, 2, 2, 2))  # 8.95 and 7.40
MIDDLE = Scale((128, 256, 256, 256), 144, (1, 2, 2, 2))  # 35.75 and 35.97
LARGE = Scale((128, 128, 256, 256, 512, 512), 104, (1, 2, 4, 8))  # 113.67, of diffusers' own training script, and 93.21


def on_a_card(device: torch.device | str) -> bool:
    """Whether `device` is an NVIDIA card: what the peers are there, and what tuned means, is said at the top."""
    return torch.device(device).type == "cuda"


def scale(size: int, device: torch.device | str) -> Scale:
    """On a card as large as our `standard` preset at that size, nearly; on a processor always small."""
    if not on_a_card(device) or size < 64:
        return SMALL
    return MIDDLE if size < 128 else LARGE


def diffusers_network(
    channels: int, size: int = 32, device: torch.device | str = "cpu", width: int | None = None
) -> nn.Module:
    """diffusers' UNet2DModel, as large as `scale` says for `device`, or with `width` channels in its first level and the others in
    proportion; attention on the last level but one. (Its norms want multiples of 32.)"""
    levels = scale(size, device).diffusers
    levels = tuple(level * (width or levels[0]) // levels[0] for level in levels)
    down, up = ["DownBlock2D"] * len(levels), ["UpBlock2D"] * len(levels)
    down[-2], up[1] = "AttnDownBlock2D", "AttnUpBlock2D"
    return diffusers_package().UNet2DModel(
        sample_size=size,
        in_channels=channels,
        out_channels=channels,
        layers_per_block=2,
        block_out_channels=levels,
        down_block_types=tuple(down),
        up_block_types=tuple(up),
    )


def lucidrains_network(
    channels: int, size: int = 32, device: torch.device | str = "cpu", width: int | None = None
) -> nn.Module:
    """denoising-diffusion-pytorch's Unet, as large as `scale` says for `device`, or `width` wide."""
    _, usual, multipliers = scale(size, device)
    return lucidrains_package().Unet(width or usual, dim_mults=multipliers, channels=channels, flash_attn=False)


def _log_sigmas(table: str) -> Tensor:
    """ln(sigma / alpha) of every step of a noise table: float32 (T,)."""
    every_t, noise = torch.arange(schedule.T), schedule.by_name(table)
    return schedule.log_sigma(noise.alpha(every_t), noise.sigma(every_t)).float()


class Levelled(nn.Module):
    """A diffusers network that takes our `log_sigma` instead of a time step: `network(x, log_sigma)` like `UNet`."""

    log_sigmas: Tensor

    def __init__(self, network: nn.Module, table: str = "cosine") -> None:
        super().__init__()
        # Under these names our recipe tells what is inside a network from what is at its ends (training/optimizer.py).
        for ours, theirs in (("down", "down_blocks"), ("middle", "mid_block"), ("up", "up_blocks")):
            setattr(self, ours, getattr(network, theirs, None))
        self.network = network
        self.register_buffer("log_sigmas", _log_sigmas(table), persistent=False)

    def forward(self, x: Tensor, log_sigma: Tensor) -> Tensor:
        # The table rises; half-way between two of its levels the nearer one is meant.
        between = (self.log_sigmas[1:] + self.log_sigmas[:-1]) / 2
        return self.network(x, torch.searchsorted(between, log_sigma.float().contiguous())).sample.float()


class Timed(nn.Module):
    """A network of ours that takes diffusers' integer time steps of the linear table."""

    log_sigmas: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("log_sigmas", _log_sigmas("linear"), persistent=False)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.network(x, self.log_sigmas[t])


class Sampled(nn.Module):
    """diffusers' networks answer with an object that holds the prediction; this one with the prediction."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.network(x, t).sample
