"""How many pictures of a batch are in memory at once."""

import torch

from ddpm_core.config import RunConfig


def micro_batch(config: RunConfig, channels: int, device: torch.device) -> int:
    """Pictures in one forward and backward pass, at most `config.batch_size`; a step is made of as many as it needs."""
    return min(config.micro_batch or config.batch_size, config.batch_size)
