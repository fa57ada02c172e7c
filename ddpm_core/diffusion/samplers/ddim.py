"""The 2020 papers' walks: DDIM, with as much fresh noise as you like, and DDPM's ancestral sampling, its noisy end."""

from collections.abc import Iterator

from torch import Tensor

from ddpm_core.diffusion.objective import Denoise
from ddpm_core.diffusion.samplers.walk import Noise, Step, belief, lost, move, need, staircase


def ddim(
    denoise: Denoise, x: Tensor, levels: Tensor, *, noise: Noise | None = None, clip: bool = True, eta: float = 0.0
) -> Iterator[Step]:
    """DDIM (Song et al. 2020, arXiv 2010.02502, eq. 12 and 16). eta, 0 to 1, is how much of the lost noise is drawn anew."""
    if eta > 0:
        noise = need(noise, "ddim with eta > 0")
    for index, steps, here, there in staircase(levels):
        x0 = belief(denoise(x, *here), clip)
        fresh = eta * lost(here, there)
        x = move(x, here, there, x0, fresh)
        if fresh and noise is not None:
            x = x + fresh * noise(index)
        yield Step(index, steps, x, x0)


def ddpm(
    denoise: Denoise, x: Tensor, levels: Tensor, *, noise: Noise | None = None, clip: bool = True
) -> Iterator[Step]:
    """Ancestral sampling (Ho et al. 2020, arXiv 2006.11239, algorithm 2) with the smaller of its two variances, eq. 7.

    DDIM with eta 1 is the same walk: x' then has exactly the mean and the variance of q(x' | x, x0).
    """
    return ddim(denoise, x, levels, noise=need(noise, "ddpm"), clip=clip, eta=1.0)
