"""How much picture and how much noise there is at each of the T steps: x_t = alpha x0 + sigma eps, alpha^2 + sigma^2 = 1.

`alpha_bar` is the paper's running product of 1 - beta (Ho et al. 2020, arXiv 2006.11239, eq. 4); alpha and sigma here are
its square roots, the weights of picture and noise. Tables are float64 on the CPU: the last alpha_bar of the cosine table is
2e-9, and not every device knows float64.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ddpm_core.config import SPACINGS
from ddpm_core.errors import UsageError

T = 1000  # steps of the forward process, as in the paper
RHO = 7.0  # of Karras et al.'s spacing
# The last sigma / alpha worth a step: four of 255 grey values, which the last belief wipes away at once. The tables begin at 0.006
# and 0.01, where log-normal training hardly ever was. (Measured: 1,000 pictures in 20 steps of SDE-DPM-Solver++(2M) from a
# `cpu` model of OpenMoji at 32 px, the Frechet distance of the README's table of samplers: 37.4 down to 0.006, 35.8 to 0.03, 34.8 to
# 0.06; of DPM-Solver++(2M) 51.1, 50.2 to 0.02, 49.3 to 0.05.)
LAST = 0.03


@dataclass(frozen=True)
class Schedule:
    """A noise table. t = 0 is almost the picture, t = T - 1 almost pure noise."""

    name: str
    alpha_bar: Tensor  # float64 (T,), falling, inside (0, 1)

    def __len__(self) -> int:
        return len(self.alpha_bar)

    def alpha(self, t: Tensor) -> Tensor:
        """Weight of the picture at integer steps t in 0..T-1, any shape. Float64 on the CPU; move it where it is needed."""
        return self.alpha_bar[t.cpu()].sqrt()

    def sigma(self, t: Tensor) -> Tensor:
        """Weight of the noise at integer steps t in 0..T-1, any shape. Float64 on the CPU."""
        return (1 - self.alpha_bar[t.cpu()]).sqrt()

    @property
    def log_range(self) -> tuple[float, float]:
        """ln(sigma / alpha) of the first row and of the last."""
        return self._log_sigmas[0].item(), self._log_sigmas[-1].item()

    @property
    def _log_sigmas(self) -> Tensor:
        return 0.5 * torch.log((1 - self.alpha_bar) / self.alpha_bar)

    def levels(self, steps: int, sigma_max: float | None = None, spacing: str = "trailing") -> Tensor:
        """The staircase a sampler walks down: float64 (steps + 1, 2), rows (alpha, sigma), the last one (1, 0) = the picture.

        It starts at `sigma_max`, the largest sigma / alpha that the network was trained on, or at the table's end where that is
        less or was not told; the spacing says how the steps lie from there down:

        "trailing": evenly in t, from t = T - 1; the older "leading" spacing never visits that step and washes out brightness
            (Lin et al. 2023, arXiv 2305.08891, table 2). From sigma_max as evenly in t, but between the table's rows.
        "karras": evenly in (sigma / alpha)^(1/7), shorter towards the picture (Karras et al. 2022, arXiv 2206.00364, eq. 5), down
            to sigma / alpha = 0.03.
        "logsnr": evenly in ln(sigma / alpha) (Lu et al. 2022, arXiv 2206.00927, section 3.4), down to 0.03 as well.

        Raises `UsageError` unless 1 <= steps <= T, and for an unknown spacing.
        """
        t = trailing(steps, len(self))
        first, last = self.log_range
        trained = sigma_max is not None and math.log(sigma_max) < last
        top = max(first, math.log(sigma_max)) if trained and sigma_max is not None else last
        if spacing == "trailing" and not trained:
            levels = torch.stack([self.alpha(t), self.sigma(t)], dim=1)
        else:
            levels = torch.stack(at(torch.from_numpy(self._log_levels(steps, top, spacing))), dim=1)
        return torch.cat([levels, torch.tensor([[1.0, 0.0]], dtype=torch.float64)])

    def _log_levels(self, steps: int, top: float, spacing: str) -> np.ndarray:
        """ln(sigma / alpha) of `steps` levels, from `top` down."""
        if spacing == "trailing":
            rows, log_sigmas = np.arange(len(self)), self._log_sigmas.numpy()
            # No two alike even for the smallest sigma_max: samplers divide by the length of a step.
            return np.interp(np.interp(top, log_sigmas, rows) * (1 - np.arange(steps) / steps), rows, log_sigmas)
        least, worth = self.log_range[0], math.log(LAST)
        least = worth if least < worth < top else least
        if spacing == "karras":
            return RHO * np.log(np.linspace(math.exp(top / RHO), math.exp(least / RHO), steps))
        if spacing == "logsnr":
            return np.linspace(top, least, steps)
        raise UsageError(f"spacing {spacing!r} is unknown: choose one of {', '.join(SPACINGS)}.")


def linear(T: int = T) -> Schedule:
    """The table of the 2020 paper: betas rise evenly from 1e-4 to 0.02."""
    betas = torch.linspace(1e-4, 0.02, T, dtype=torch.float64)
    return Schedule("linear", torch.cumprod(1 - betas, 0))


def cosine(T: int = T) -> Schedule:
    """Nichol & Dhariwal 2021 (arXiv 2102.09672, eq. 17): alpha_bar follows a squared cosine, no beta above 0.999."""
    f = torch.cos((torch.arange(T + 1, dtype=torch.float64) / T + 0.008) / 1.008 * (math.pi / 2)) ** 2
    # alpha_bar is multiplied up again from the capped betas: uncapped, it would be 0 at the last step.
    betas = (1 - f[1:] / f[:-1]).clamp(max=0.999)
    return Schedule("cosine", torch.cumprod(1 - betas, 0))


SCHEDULES = {"cosine": cosine, "linear": linear}


def by_name(name: str) -> Schedule:
    """The table "cosine" or "linear". Raises `UsageError` for another name."""
    if name not in SCHEDULES:
        raise UsageError(f"noise schedule {name!r} is unknown: choose one of {', '.join(SCHEDULES)}.")
    return SCHEDULES[name]()


def trailing(steps: int, T: int = T) -> Tensor:
    """int64 (steps,): the integer steps a sampler visits, from T - 1 down, evenly spaced (diffusers calls it "trailing").

    Raises `UsageError` unless 1 <= steps <= T.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= T:
        raise UsageError(f"steps is {steps!r}: choose a whole number from 1 to {T}, for example 20.")
    # Cut to `steps`: for some, 61 for one, rounding in floating point makes numpy append a step too many, t = -1.
    t = np.round(np.arange(T, 0, -T / steps))[:steps].astype(np.int64) - 1
    return torch.from_numpy(t)


def log_sigma(alpha: Tensor | float, sigma: Tensor | float) -> Tensor:
    """ln(sigma / alpha), the noise level as the network is told it: same shape; about -5 (a clean picture) to 10 (noise)."""
    return torch.log(torch.as_tensor(sigma / alpha))


def at(log_sigma: Tensor) -> tuple[Tensor, Tensor]:
    """(alpha, sigma) of noise levels ln(sigma / alpha), any shape: the inverse of `log_sigma`."""
    return torch.sigmoid(-2 * log_sigma).sqrt(), torch.sigmoid(2 * log_sigma).sqrt()
