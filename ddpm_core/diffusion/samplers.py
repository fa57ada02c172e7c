"""From noise to pictures: each sampler is a short free function that yields after every network call.

One signature: sampler(denoise, x, levels, *, noise=None, clip=True) -> Iterator[Step]
    denoise  denoise(x (B, C, H, W), alpha, sigma) -> x0 (B, C, H, W), see `objective.denoiser`
    x        the start, (B, C, H, W), noise of the first level; the state stays in its precision (float32)
    levels   (steps + 1, 2), rows (alpha, sigma) with falling noise, see `Schedule.levels`; the last may be (1, 0)
    noise    noise(index) -> like x, N(0, 1), for step index 1..steps; only samplers that add noise ask for it
    clip     hold the belief x0 inside [-1, 1]

Why clip: the exact belief is a mean of pictures, so it lies in [-1, 1], and moving a wrong belief to the nearest point of
that box can only bring it closer to the exact one. Multistep samplers remember the clipped beliefs, for the same reason; what
they extrapolate from them is not clipped again. Turn it off for data that is not pixels.

Coefficients are Python floats (float64). None divides by alpha, which is 5e-5 at the noisy end of the cosine table.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from ddpm_core.diffusion.objective import Denoise
from ddpm_core.errors import UsageError

Noise = Callable[[int], Tensor]


@dataclass(frozen=True)
class Step:
    """What there is after one network call."""

    index: int  # 1..steps
    steps: int
    x: Tensor  # (B, C, H, W), the state at the level just reached; at the last step the picture
    x0: Tensor  # (B, C, H, W), the picture the network believed in when it was asked


def ddim(
    denoise: Denoise, x: Tensor, levels: Tensor, *, noise: Noise | None = None, clip: bool = True, eta: float = 0.0
) -> Iterator[Step]:
    """DDIM (Song et al. 2020, arXiv 2010.02502, eq. 12 and 16). eta 0 adds no noise; eta 1 is the 2020 paper's ancestral walk."""
    if eta > 0 and noise is None:
        raise ValueError("ddim with eta > 0 adds noise at each step: give noise(index).")
    for index, steps, (alpha, sigma), (next_alpha, next_sigma) in _walk(levels):
        x0 = _belief(denoise(x, alpha, sigma), clip)
        fresh = eta * next_sigma / sigma * math.sqrt(max(0.0, 1 - (alpha / next_alpha) ** 2))
        kept = math.sqrt(max(0.0, next_sigma**2 - fresh**2)) / sigma
        x = kept * x + (next_alpha - kept * alpha) * x0  # = next_alpha x0 + (kept sigma) eps
        if fresh and noise is not None:
            x = x + fresh * noise(index)
        yield Step(index, steps, x, x0)


def dpmpp_2m(
    denoise: Denoise, x: Tensor, levels: Tensor, *, noise: Noise | None = None, clip: bool = True
) -> Iterator[Step]:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2): second order from one network call a step.

    With lambda = ln(alpha / sigma) and steps h in lambda, the belief is extrapolated to the middle of the step from this one
    and the one before. The first step has no history, and the last one to (1, 0) is infinitely long in lambda: both are first
    order, and the last gives exactly the belief. Adds no noise.
    """
    before: tuple[Tensor, float] | None = None  # the belief one step ago, and that step's length h
    for index, steps, (alpha, sigma), (next_alpha, next_sigma) in _walk(levels):
        x0 = _belief(denoise(x, alpha, sigma), clip)
        belief = x0
        if next_sigma > 0:
            h = math.log(next_alpha / next_sigma) - math.log(alpha / sigma)
            if before is not None:
                older, older_h = before
                belief = x0 + h / (2 * older_h) * (x0 - older)
            before = x0, h
        kept = next_sigma / sigma
        x = kept * x + (next_alpha - kept * alpha) * belief  # next_alpha (1 - e^-h) = next_alpha - kept alpha
        yield Step(index, steps, x, x0)


SAMPLERS: dict[str, Callable[..., Iterator[Step]]] = {"dpm++2m": dpmpp_2m, "ddim": ddim}


def by_name(name: str) -> Callable[..., Iterator[Step]]:
    """The sampler "dpm++2m" or "ddim". Raises `UsageError` for another name."""
    if name not in SAMPLERS:
        raise UsageError(f"sampler {name!r} is unknown: choose one of {', '.join(SAMPLERS)}.")
    return SAMPLERS[name]


def _walk(levels: Tensor) -> Iterator[tuple[int, int, tuple[float, float], tuple[float, float]]]:
    """(index from 1, steps, this level, the next level) as Python floats."""
    rows = [(alpha, sigma) for alpha, sigma in levels.double().tolist()]
    for index, (here, there) in enumerate(pairwise(rows), start=1):
        yield index, len(rows) - 1, here, there


def _belief(x0: Tensor, clip: bool) -> Tensor:
    return x0.clamp(-1.0, 1.0) if clip else x0
