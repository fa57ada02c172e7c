"""The optimizer and its learning rate: AdamW; the rate warms up, stays, and falls as 1 / sqrt(step).

None of it depends on how long the run will be, so a run can be made longer afterwards and is the same as if it had been
planned that long; the weight average (ema.py) does what a decay to zero would do.
"""

from typing import Any

import torch
from torch import nn

from ddpm_core.config import RunConfig


def adamw(network: nn.Module, config: RunConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) with the second moment's memory of EDM2 (beta2 = 0.99)."""
    device = next(network.parameters()).device
    return torch.optim.AdamW(
        network.parameters(),
        lr=config.lr,
        betas=(0.9, 0.99),
        weight_decay=config.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )


def learning_rate(config: RunConfig, step: int) -> float:
    """The rate of optimizer step `step` (0, 1, ...), with the inverse-square-root decay of EDM2 (Karras et al. 2024, arXiv 2312.02696)."""
    rise = min(1.0, (step + 1) / max(1, config.warmup_steps))
    fall = (config.decay_steps / step) ** 0.5 if config.decay_steps and step > config.decay_steps else 1.0
    return config.lr * rise * fall


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def moments(optimizer: torch.optim.Optimizer) -> dict[int, dict[str, Any]]:
    """What AdamW remembers about each weight, to be stored: the settings stay out, the run's config has them."""
    return optimizer.state_dict()["state"]


def restore_moments(optimizer: torch.optim.Optimizer, stored: dict[int, dict[str, Any]]) -> None:
    """The inverse of `moments`."""
    optimizer.load_state_dict({"state": stored, "param_groups": optimizer.state_dict()["param_groups"]})
