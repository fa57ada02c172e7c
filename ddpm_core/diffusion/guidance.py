"""Two beliefs instead of one: what the network says, and what it says when it knows less. Away from that one the pictures get
clearer, and more alike.

Both ways here are one formula, x0 = less + scale (more - less); scale 1 is the network as it was trained. As x0, eps and v depend
on each other linearly, it is the same formula for all of them. Beliefs are clipped after it, by the sampler.
"""

import math

from torch import Tensor

from ddpm_core.diffusion.objective import Denoise
from ddpm_core.errors import UsageError

Interval = tuple[float, float]  # of noise levels sigma / alpha, the lower end left out
EVERYWHERE: Interval = (0.0, math.inf)
# Where autoguidance acts: outside of it the young network and the trained one hardly differ in what a picture becomes, and there a
# step stays one call. (`cpu`, OpenMoji at 32 px, 500 pictures: the same distance as everywhere, for 25 % more time instead of
# 100 %. Larger pictures hide the same shapes in more noise: there other ends may be better, which is not measured yet.)
WHERE_IT_MATTERS: Interval = (0.2, 5.0)
MOST = 20.0  # of the scale: beyond it pictures are burnt


def guided(denoise_with: Denoise, denoise_without: Denoise, scale: float, interval: Interval = EVERYWHERE) -> Denoise:
    """Classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598, eq. 6, whose w is `scale` - 1): two network calls.

    With the class told and without. Outside of `interval`, low < sigma / alpha <= high, it is only told, one call: with much
    noise guidance costs variety, with little it does nothing (Kynkaanniemi et al. 2024, arXiv 2404.07724). The interval is in
    the noise's own units, so it means the same for every sampler, spacing and number of steps. Raises `UsageError` for a
    scale outside 0..20, and for an interval that is none.
    """
    check(scale, interval)
    low, high = interval

    def denoise(x: Tensor, alpha: float, sigma: float) -> Tensor:
        if scale == 1 or not low * alpha < sigma <= high * alpha:
            return denoise_with(x, alpha, sigma)
        less = denoise_without(x, alpha, sigma)
        return less if scale == 0 else less + scale * (denoise_with(x, alpha, sigma) - less)

    return denoise


def autoguided(denoise: Denoise, denoise_weak: Denoise, scale: float, interval: Interval = WHERE_IT_MATTERS) -> Denoise:
    """Autoguidance (Karras et al. 2024, arXiv 2406.02507): away from a weaker network of the same kind, such as an early
    snapshot of the same run. Needs no classes; `denoise` may itself be `guided` to one. Otherwise like `guided`.
    """
    return guided(denoise, denoise_weak, scale, interval)


def check_scale(name: str, scale: float) -> None:
    """Raises `UsageError` for a scale of `name` that `guided` cannot use."""
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 <= scale <= MOST:  # nan is neither
        raise UsageError(f"{name} is {scale!r}: choose a number from 0 to {MOST:g}, 1 for none.")


def check(scale: float, interval: Interval) -> None:
    """Raises `UsageError` for a scale or an interval that `guided` cannot use."""
    check_scale("guidance", scale)
    try:
        low, high = interval
        fits = 0 <= low < high
    except (TypeError, ValueError):
        fits = False
    if not fits:
        raise UsageError(
            f"the guidance interval is {interval!r}: give two noise levels, the lower one first, for example (0.2, 3)."
        )
