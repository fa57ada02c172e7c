"""Networks that were never trained, but whose pictures differ."""

import torch

from ddpm_core.config import NetworkConfig
from ddpm_core.network.unet import UNet


def untrained(shape: NetworkConfig, channels: int, seed: int = 0) -> UNet:
    """A network whose output is no longer all zero: random weights of f(seed), scaled by their fan-in; biases as they begin."""
    generator = torch.Generator().manual_seed(seed)
    network = UNet(shape, channels)
    for weight in network.parameters():
        if weight.ndim > 1:
            weight.data = torch.randn(weight.shape, generator=generator) / weight[0].numel() ** 0.5
    return network
