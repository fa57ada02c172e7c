"""Adams and Bashforth's way with eps, the noise believed in: DEIS by the staircase's own steps, iPNDM as if all were equal."""

from collections.abc import Iterator

from torch import Tensor

from ddpm_core.diffusion.objective import Denoise
from ddpm_core.diffusion.samplers.polynomial import mean_noise
from ddpm_core.diffusion.samplers.walk import Level, Noise, Step, belief, half_logsnr, move, staircase

DEIS_ORDER = 3
# Weights of the last eps, the newest first, by how many there are: the mean over the next of equal steps.
ADAMS_BASHFORTH = ((1.0,), (3 / 2, -1 / 2), (23 / 12, -16 / 12, 5 / 12), (55 / 24, -59 / 24, 37 / 24, -9 / 24))


def deis(
    denoise: Denoise, x: Tensor, levels: Tensor, *, noise: Noise | None = None, clip: bool = True
) -> Iterator[Step]:
    """DEIS (Zhang & Chen 2022, arXiv 2204.13902, section 3.3) of third order, polynomials in ln(sigma / alpha). Adds no noise."""
    past: list[tuple[Tensor, float]] = []  # eps and their lambdas, the newest first
    for index, steps, here, there in staircase(levels):
        x0 = belief(denoise(x, *here), clip)
        start, end = half_logsnr(here), half_logsnr(there)
        eps = _eps(x, here, x0)
        past = [(eps, start), *past][:DEIS_ORDER]
        x = move(x, here, there, x0)
        if len(past) > 1 and there[1] > 0:
            x = x + _reach(here, there) * (mean_noise(past, start, end - start) - eps)
        yield Step(index, steps, x, x0)


def ipndm(
    denoise: Denoise, x: Tensor, levels: Tensor, *, noise: Noise | None = None, clip: bool = True
) -> Iterator[Step]:
    """iPNDM-4: PNDM (Liu et al. 2022, arXiv 2202.09778, eq. 9 and 12) begun with lower orders (Zhang & Chen 2022, arXiv
    2204.13902, appendix H.2). Adds no noise.

    Its weights are those of steps of equal length in sigma / alpha, where it is fourth order. On other staircases it is second
    order, and still among the best from few calls.
    """
    past: list[Tensor] = []  # eps, the newest first
    for index, steps, here, there in staircase(levels):
        x0 = belief(denoise(x, *here), clip)
        eps = _eps(x, here, x0)
        past = [eps, *past][: len(ADAMS_BASHFORTH)]
        x = move(x, here, there, x0)
        if len(past) > 1 and there[1] > 0:
            weights = ADAMS_BASHFORTH[len(past) - 1]
            change = (weights[0] - 1) * eps
            for weight, older in zip(weights[1:], past[1:], strict=True):
                change = change + weight * older
            x = x + _reach(here, there) * change
        yield Step(index, steps, x, x0)


def _eps(x: Tensor, here: Level, x0: Tensor) -> Tensor:
    alpha, sigma = here
    return (x - alpha * x0) / sigma


def _reach(here: Level, there: Level) -> float:
    """alpha' (sigma' / alpha' - sigma / alpha): how far x goes with eps. Below zero, for the noise falls."""
    (alpha, sigma), (next_alpha, next_sigma) = here, there
    return next_sigma - sigma * next_alpha / alpha
