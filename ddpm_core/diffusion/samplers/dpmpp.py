"""DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095): a polynomial through the last beliefs in lambda = ln(alpha / sigma)."""

from collections.abc import Iterator

from torch import Tensor

from ddpm_core.diffusion.objective import Denoise
from ddpm_core.diffusion.samplers.polynomial import mean_belief
from ddpm_core.diffusion.samplers.walk import Noise, Step, belief, half_logsnr, lost, move, need, staircase

FEW = 15  # steps below which the last but one is second order: extrapolating that far does not pay there


def dpmpp_2m(
    denoise: Denoise, x: Tensor, levels: Tensor, *, noise: Noise | None = None, clip: bool = True
) -> Iterator[Step]:
    """DPM-Solver++(2M), algorithm 2: second order from one network call a step. Adds no noise.

    The belief is extrapolated to the middle of the step from this one and the one before. The first step has no history, and the
    last one to (1, 0) is infinitely long in lambda: both are first order.
    """
    return _multistep(denoise, x, levels, None, clip, order=2)


def dpmpp_3m(
    denoise: Denoise, x: Tensor, levels: Tensor, *, noise: Noise | None = None, clip: bool = True
) -> Iterator[Step]:
    """DPM-Solver++(3M): third order from one network call a step, a parabola through the last three beliefs. Adds no noise.

    The authors' own code, and diffusers with it, counts the parabola's curvature half, which leaves it second order; see
    tests/diffusion/samplers/test_parity.py.
    """
    return _multistep(denoise, x, levels, None, clip, order=3)


def dpmpp_2m_sde(
    denoise: Denoise, x: Tensor, levels: Tensor, *, noise: Noise | None = None, clip: bool = True
) -> Iterator[Step]:
    """SDE-DPM-Solver++(2M), section 5: the ancestral walk with 2M's extrapolated belief. Fresh noise at every step."""
    return _multistep(denoise, x, levels, need(noise, "dpm++2m-sde"), clip, order=2)


def _multistep(
    denoise: Denoise, x: Tensor, levels: Tensor, noise: Noise | None, clip: bool, order: int
) -> Iterator[Step]:
    past: list[tuple[Tensor, float]] = []  # beliefs and their lambdas, the newest first
    for index, steps, here, there in staircase(levels):
        x0 = belief(denoise(x, *here), clip)
        start, end = half_logsnr(here), half_logsnr(there)
        past = [(x0, start), *past][:order]
        if there[1] == 0:
            past = past[:1]
        elif steps < FEW and index == steps - 1:
            past = past[:2]
        guess = mean_belief(past, start, end - start) if len(past) > 1 else x0
        fresh = lost(here, there) if noise is not None else 0.0
        x = move(x, here, there, guess, fresh)
        if fresh and noise is not None:
            x = x + fresh * noise(index)
        yield Step(index, steps, x, x0)
