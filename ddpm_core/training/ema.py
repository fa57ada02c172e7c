"""The average of the weights over training: it makes better pictures than the weights of any one step.

Power-function averages (Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models",
arXiv 2312.02696, section 3.1): the average's memory grows with the run, so that the picture of step 100 is not dominated by
the random start, and that of step 100,000 is as smooth as it can be.
"""

import copy
import math

import numpy as np
import torch
from torch import nn

PAIR = (0.05, 0.10)  # the lengths of section 3.2: from snapshots of two, any other can be made (snapshots.py)


def gamma_from_length(length: float) -> float:
    """The exponent gamma whose average has the relative width `length` (sigma_rel, 0.01 to 0.25). Equation 126 solved.

    sigma_rel^2 = (gamma + 1) / ((gamma + 2)^2 (gamma + 3)), a cubic in gamma with one root above zero.
    """
    inverse = length**-2
    return float(np.roots([1, 7, 16 - inverse, 12 - inverse]).real.max())


def beta(step: int, gamma: float) -> float:
    """How much of the old average stays at optimizer step `step` (1, 2, ...): (1 - 1/step)^(gamma + 1), equation 127."""
    return (1 - 1 / step) ** (gamma + 1)


def second_length(length: float) -> float:
    """The length of the average that is tracked beside one of `length`: the one of the pair that is farther away."""
    return max(PAIR, key=lambda other: abs(np.log(other / length)))


class WeightAverage:
    """Holds `network`, a copy whose weights are the average. Call `update` after every optimizer step."""

    length = math.nan  # the relative width, of those that have one

    def __init__(self, network: nn.Module) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        # Lists that are made once: going through a network's modules takes 0.4 ms, and a small network's step on a fast card 4.
        self._averages: list[torch.Tensor] = list(self.network.parameters())
        self._follow(network)

    def _follow(self, network: nn.Module) -> None:
        self._followed = network
        self._weights: list[torch.Tensor] = list(network.parameters())

    def keeps(self, step: int) -> float:
        """How much of the old average stays at optimizer step `step` (1, 2, ...), in [0, 1]."""
        raise NotImplementedError

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        if network is not self._followed:
            self._follow(network)
        torch._foreach_lerp_(self._averages, self._weights, 1 - self.keeps(step))


class PowerEMA(WeightAverage):
    """The power-function average of relative width `length`."""

    def __init__(self, network: nn.Module, length: float) -> None:
        super().__init__(network)
        self.length = length
        self.gamma = gamma_from_length(length)

    def keeps(self, step: int) -> float:
        return beta(step, self.gamma)


class ConstantEMA(WeightAverage):
    """The 2020 paper's average (arXiv 2006.11239, appendix B): the random start fades only as decay ** step."""

    def __init__(self, network: nn.Module, decay: float) -> None:
        super().__init__(network)
        self.decay = decay

    def keeps(self, step: int) -> float:
        return self.decay
