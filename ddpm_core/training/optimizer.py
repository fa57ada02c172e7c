"""The optimizer and its learning rate: AdamW or Muon; the rate warms up, stays, and falls as 1 / sqrt(step).

None of that depends on how long the run will be, so a run can be made longer afterwards and is the same as if it had been
planned that long; the weight average (ema.py) does most of what a decay to zero would do. Only a cool-down, if one is asked for,
looks at the end.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from ddpm_core.config import RunConfig
from ddpm_core.training.muon import Muon

TRUNK = ("down", "middle", "up")  # the parts of the network whose matrices are Muon's


class Together:
    """AdamW and Muon behind one face. Each weight belongs to one of them."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def zero_grad(self) -> None:
        for part in self.parts:
            part.zero_grad()


Optimizer = torch.optim.Optimizer | Together


def build(network: nn.Module, config: RunConfig) -> Optimizer:
    """The optimizer that the settings ask for."""
    hidden = {name: weight for name, weight in network.named_parameters() if _hidden(name, weight)}
    if config.optimizer == "adamw" or not hidden:
        return adamw(network, config)
    others = [weight for name, weight in network.named_parameters() if name not in hidden]
    muon = Muon(hidden.values(), _rate(config, others[0].device), config.weight_decay, config.compile)
    return Together(_adamw(others, config), muon)


def step(optimizer: Optimizer, network: nn.Module, longest: float) -> Tensor:
    """Shortens the gradient of all weights together to norm `longest`, makes a step, and returns the norm that it had, 0-d.

    What torch.nn.utils.clip_grad_norm_ does, but for Muon's weights, which it multiplies on its way.
    """
    norm = torch.nn.utils.get_total_norm([weight.grad for weight in network.parameters() if weight.grad is not None])
    shorten = (longest / (norm + 1e-6)).clamp(max=1.0)
    for part in _parts(optimizer):
        if isinstance(part, Muon):
            part.step(shorten=shorten)
            continue
        weights = (weight for group in part.param_groups for weight in group["params"])
        if gradients := [weight.grad for weight in weights if weight.grad is not None]:
            torch._foreach_mul_(gradients, shorten)
        part.step()
    return norm


def adamw(network: nn.Module, config: RunConfig) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101); beta2 = 0.99, as in EDM2, unless the settings say otherwise."""
    return _adamw(list(network.parameters()), config)


def _adamw(weights: list[nn.Parameter], config: RunConfig) -> torch.optim.AdamW:
    device = weights[0].device
    return torch.optim.AdamW(
        weights,
        lr=_rate(config, device),
        betas=(0.9, config.adam_beta2),
        weight_decay=config.weight_decay,
        fused=device.type in ("cpu", "cuda"),
        capturable=device.type == "cuda",
    )


def _rate(config: RunConfig, device: torch.device) -> float | Tensor:
    """On a card the rate is a number there: a step that was recorded (training/recording.py) reads it anew each time it is played."""
    return torch.tensor(config.lr, device=device) if device.type == "cuda" else config.lr


def _hidden(name: str, weight: Tensor) -> bool:
    return name.split(".")[0] in TRUNK and weight.ndim >= 2


COOL_DOWN = 0.2  # of the steps so far, where a cool-down is asked for in the middle of a run
SHORTEST_COOL_DOWN = 50  # steps


def cool_down(step: int, total_steps: int) -> tuple[int, int]:
    """(first step, last) of a cool-down that begins now; it never ends later than the run would have."""
    return step, min(total_steps, step + max(SHORTEST_COOL_DOWN, math.ceil(COOL_DOWN * step)))


def learning_rate(
    config: RunConfig, step: int, total_steps: int | None = None, finish: tuple[int, int] | None = None
) -> float:
    """The rate of optimizer step `step` (0, 1, ...) of `total_steps` planned ones; `finish` is a cool-down that was asked for
    before they are over, see `cool_down`.

    The fall is the inverse-square-root decay of EDM2 (Karras et al. 2024, arXiv 2312.02696). A cool-down takes what is left
    linearly towards zero over the last share of the run (Haegele et al. 2024, arXiv 2405.18392).
    """
    rise = min(1.0, (step + 1) / max(1, config.warmup_steps))
    fall = (config.decay_steps / step) ** 0.5 if config.decay_steps and step > config.decay_steps else 1.0
    rate = config.lr * rise * fall
    first, last = finish or (step, step)
    if config.cooldown and total_steps is not None:  # up to where the one that was asked for takes over
        rate *= max(0.0, min(1.0, (total_steps - first) / (config.cooldown * total_steps)))
    if finish is not None:
        rate *= max(0.0, min(1.0, (last - step) / max(1, last - first)))
    return rate


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def moments(optimizer: Optimizer) -> dict[int, dict[str, Any]]:
    """What the optimizer remembers about each weight, to be stored: the settings stay out, the run's config has them.

    Of several optimizers one counts on where the one before ends.
    """
    stored: dict[int, dict[str, Any]] = {}
    first = 0
    for part in _parts(optimizer):
        stored |= {first + number: of_weight for number, of_weight in part.state_dict()["state"].items()}
        first += _count(part)
    return stored


def restore_moments(optimizer: Optimizer, stored: dict[int, dict[str, Any]]) -> None:
    """The inverse of `moments`. They may lie otherwise in memory than the weights do now; fused AdamW needs both alike."""
    first = 0
    for part in _parts(optimizer):
        state = {number - first: stored[number] for number in range(first, first + _count(part)) if number in stored}
        part.load_state_dict({"state": state, "param_groups": part.state_dict()["param_groups"]})
        for weight, of_weight in part.state.items():
            for name, value in of_weight.items():
                if isinstance(value, Tensor) and value.shape == weight.shape and value.stride() != weight.stride():
                    of_weight[name] = torch.empty_like(weight).copy_(value)
        first += _count(part)


def _parts(optimizer: Optimizer) -> tuple[torch.optim.Optimizer, ...]:
    return optimizer.parts if isinstance(optimizer, Together) else (optimizer,)


def _count(optimizer: torch.optim.Optimizer) -> int:
    return sum(len(group["params"]) for group in optimizer.param_groups)
