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

A step makes one network call, but Heun's makes two, so its walk of n steps has 2 n - 1 (`calls`). A step to (1, 0) is first
order in all of them, and gives exactly the belief.

Coefficients are Python floats (float64). None of what is done to pictures divides by alpha, 5e-5 at the noisy end of the
cosine table.
"""

from collections.abc import Callable, Iterator

from ddpm_core.config import TWO_CALLS
from ddpm_core.diffusion.samplers.adams import deis, ipndm
from ddpm_core.diffusion.samplers.ddim import ddim, ddpm
from ddpm_core.diffusion.samplers.dpmpp import dpmpp_2m, dpmpp_2m_late, dpmpp_2m_sde, dpmpp_3m
from ddpm_core.diffusion.samplers.heun import euler, heun
from ddpm_core.diffusion.samplers.unipc import unipc
from ddpm_core.diffusion.samplers.walk import Noise, Step
from ddpm_core.errors import UsageError

__all__ = ["SAMPLERS", "STOCHASTIC", "Noise", "Step", "by_name", "calls"]
__all__ += [
    "ddim",
    "ddpm",
    "deis",
    "dpmpp_2m",
    "dpmpp_2m_late",
    "dpmpp_2m_sde",
    "dpmpp_3m",
    "euler",
    "heun",
    "ipndm",
    "unipc",
]

# The names people choose by, in the order of config.SAMPLERS.
SAMPLERS: dict[str, Callable[..., Iterator[Step]]] = {
    "dpm++2m-late": dpmpp_2m_late,
    "dpm++2m": dpmpp_2m,
    "dpm++3m": dpmpp_3m,
    "unipc": unipc,
    "deis": deis,
    "ipndm": ipndm,
    "heun": heun,
    "euler": euler,
    "ddim": ddim,
    "dpm++2m-sde": dpmpp_2m_sde,
    "ddpm": ddpm,
}
STOCHASTIC = ("dpm++2m-late", "dpm++2m-sde", "ddpm")  # these add noise; ddim does with eta > 0


def by_name(name: str) -> Callable[..., Iterator[Step]]:
    """The sampler "dpm++2m", "ddim", ... Raises `UsageError` for another name."""
    if name not in SAMPLERS:
        raise UsageError(f"sampler {name!r} is unknown: choose one of {', '.join(SAMPLERS)}.")
    return SAMPLERS[name]


def calls(name: str, steps: int) -> int:
    """Network calls of a walk of `steps` steps, which is what its `Step`s count."""
    return 2 * steps - 1 if name in TWO_CALLS else steps
