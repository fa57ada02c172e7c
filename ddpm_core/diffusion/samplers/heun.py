"""EDM's pair: its differential equation by Euler's method and by Heun's (Karras et al. 2022, arXiv 2206.00364, algorithm 1)."""

import math
from collections.abc import Iterator

from torch import Tensor

from ddpm_core.diffusion.objective import Denoise
from ddpm_core.diffusion.samplers.ddim import ddim
from ddpm_core.diffusion.samplers.walk import Noise, Step, belief, half_logsnr, move, staircase


def euler(
    denoise: Denoise, x: Tensor, levels: Tensor, *, noise: Noise | None = None, clip: bool = True
) -> Iterator[Step]:
    """Euler's method for d(x / alpha) / d(sigma / alpha) = eps. First order; adds no noise.

    x' / alpha' = x / alpha + (sigma' / alpha' - sigma / alpha) eps says x' = alpha' x0 + sigma' eps: DDIM without fresh noise.
    """
    return ddim(denoise, x, levels, clip=clip)


def heun(
    denoise: Denoise, x: Tensor, levels: Tensor, *, noise: Noise | None = None, clip: bool = True
) -> Iterator[Step]:
    """Heun's method for the same equation: second order from two network calls a step, so 2 steps - 1 in all.

    It yields at both: first where Euler's step leads, then the state at that level again, corrected by what the network
    believes there. The last step, to (1, 0), is Euler's alone. Adds no noise.
    """
    for index, steps, here, there in staircase(levels):
        call, calls = 2 * index - 1, 2 * steps - (levels[-1, 1].item() == 0)
        x0 = belief(denoise(x, *here), clip)
        ahead = move(x, here, there, x0)
        yield Step(call, calls, ahead, x0)
        if there[1] > 0:
            ahead_x0 = belief(denoise(ahead, *there), clip)
            # The mean of both slopes in x / alpha, with eps written out: what is left is alpha' (s / s' - 1) / 2 of the change.
            ratio = math.exp(half_logsnr(there) - half_logsnr(here))  # s / s', with s = sigma / alpha
            x = ahead + 0.5 * there[0] * (ratio - 1) * (ahead_x0 - x0)
            yield Step(call + 1, calls, x, ahead_x0)
