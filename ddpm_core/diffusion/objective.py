"""What the network is asked to predict, and how its answer becomes a picture: target and inverse side by side.

x_t = alpha x0 + sigma eps with alpha^2 + sigma^2 = 1. Everywhere x0, eps, x_t and output are (B, C, H, W), and alpha and sigma
are floats or tensors (B,), one noise level a picture.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm_core.diffusion.schedule import log_sigma
from ddpm_core.errors import UsageError

Level = Tensor | float
Network = Callable[[Tensor, Tensor], Tensor]  # network(x (B, C, H, W), log_sigma (B,)) -> (B, C, H, W)
Denoise = Callable[[Tensor, float, float], Tensor]  # denoise(x (B, C, H, W), alpha, sigma) -> x0 (B, C, H, W)

MIN_SNR_GAMMA = 5.0


def eps_target(x0: Tensor, eps: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """The noise itself (Ho et al. 2020, arXiv 2006.11239, eq. 14)."""
    return eps


def eps_to_x0(x_t: Tensor, output: Tensor, alpha: Level, sigma: Level) -> Tensor:
    return (x_t - _each(sigma, x_t) * output) / _each(alpha, x_t)


def v_target(x0: Tensor, eps: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """v = alpha eps - sigma x0 (Salimans & Ho 2022, arXiv 2202.00512, section 4): noise at little noise, picture at much."""
    return _each(alpha, x0) * eps - _each(sigma, x0) * x0


def v_to_x0(x_t: Tensor, output: Tensor, alpha: Level, sigma: Level) -> Tensor:
    return _each(alpha, x_t) * x_t - _each(sigma, x_t) * output


class Prediction(NamedTuple):
    target: Callable[[Tensor, Tensor, Level, Level], Tensor]  # (x0, eps, alpha, sigma) -> what the output should be
    to_x0: Callable[[Tensor, Tensor, Level, Level], Tensor]  # (x_t, output, alpha, sigma) -> the picture it stands for


PREDICTIONS = {"v": Prediction(v_target, v_to_x0), "eps": Prediction(eps_target, eps_to_x0)}


def by_name(prediction: str) -> Prediction:
    """The pair for "v" or "eps". Raises `UsageError` for another name."""
    if prediction not in PREDICTIONS:
        raise UsageError(f"prediction {prediction!r} is unknown: choose one of {', '.join(PREDICTIONS)}.")
    return PREDICTIONS[prediction]


def add_noise(x0: Tensor, eps: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """x_t = alpha x0 + sigma eps."""
    return _each(alpha, x0) * x0 + _each(sigma, x0) * eps


def loss_weight(weight: str, prediction: str, alpha: Tensor, sigma: Tensor) -> Tensor:
    """What each picture's mean squared error counts: like alpha, (B,), in [0, 1].

    "simple": all alike. "min-snr": as an x0 error it would count min(SNR, 5) (Hang et al. 2023, arXiv 2303.09556, eq. 3 and
    section 3.4), SNR = alpha^2 / sigma^2; an eps error is SNR times the x0 error, a v error SNR + 1 times.
    Raises `UsageError` for an unknown name.
    """
    by_name(prediction)
    if weight == "simple":
        return torch.ones_like(alpha)
    if weight != "min-snr":
        raise UsageError(f"loss weight {weight!r} is unknown: choose min-snr or simple.")
    if prediction == "eps":  # min(SNR, 5) / SNR
        return (MIN_SNR_GAMMA * sigma**2 / alpha**2).clamp(max=1.0)
    return torch.minimum(alpha**2, MIN_SNR_GAMMA * sigma**2)  # min(SNR, 5) / (SNR + 1), with SNR + 1 = 1 / sigma^2


def denoiser(network: Network, prediction: str) -> Denoise:
    """The network as samplers want it: denoise(x_t, alpha, sigma) -> its belief x0 in float32, whatever it computes in."""
    to_x0 = by_name(prediction).to_x0

    def denoise(x: Tensor, alpha: float, sigma: float) -> Tensor:
        level = log_sigma(alpha, sigma).to(x.device, torch.float32).expand(len(x))
        return to_x0(x.float(), network(x, level).float(), alpha, sigma)

    return denoise


def _each(level: Level, x: Tensor) -> Level:
    """A level a picture, (B,), shaped to multiply x (B, C, H, W); in x's precision, so that float64 tables do not spread."""
    return level.to(x).view(-1, 1, 1, 1) if isinstance(level, Tensor) else level
