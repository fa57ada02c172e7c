"""What the network is asked to predict, and how its answer becomes a picture: target and inverse side by side.

x_t = alpha x0 + sigma eps with alpha^2 + sigma^2 = 1. Everywhere x0, eps, x_t and output are (B, C, H, W), and alpha and sigma
are floats or tensors (B,), one noise level a picture.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from ddpm_core.diffusion.schedule import log_sigma
from ddpm_core.errors import UsageError

Level = Tensor | float
# network(x (B, C, H, W), log_sigma (B,)) -> (B, C, H, W); while training perhaps with a third argument, labels (B, AUGMENT_LABELS), and
# where it knows classes with classes=, int64 (B,), -1 for a picture whose class is not told
Network = Callable[..., Tensor]
Denoise = Callable[[Tensor, float, float], Tensor]  # denoise(x (B, C, H, W), alpha, sigma) -> x0 (B, C, H, W)

MIN_SNR_GAMMA = 5.0
BALANCE = 0.46  # so many deviations below the mean of the levels is the top of "balanced" weights
# The standard deviation of pictures in [-1, 1], roughly; "edm" makes inputs and targets of that unit size.
SIGMA_DATA = 0.5


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


def as_it_is(alpha: Level, sigma: Level) -> Level:
    """v and eps show the network x_t itself."""
    return 1.0


def edm_input_scale(alpha: Level, sigma: Level) -> Level:
    """1 / n with n^2 = sigma^2 + sigma_data^2 alpha^2, the variance of x_t: the network's input has variance 1.

    EDM (Karras et al. 2022, arXiv 2206.00364, table 1) writes a noisy picture as x_t / alpha and its noise as s = sigma / alpha;
    its c_in(s) / alpha, c_skip(s) / alpha and c_out(s) are these three functions, and none of them divides by alpha.
    """
    return (sigma**2 + SIGMA_DATA**2 * alpha**2) ** -0.5


def edm_target(x0: Tensor, eps: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """F = (sigma x0 - sigma_data^2 alpha eps) / (n sigma_data), of variance 1; with sigma_data = 1 it would be -v."""
    unit = edm_input_scale(alpha, sigma) / SIGMA_DATA
    return _each(unit * sigma, x0) * x0 - _each(unit * SIGMA_DATA**2 * alpha, x0) * eps


def edm_to_x0(x_t: Tensor, output: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """x0 = (sigma_data^2 alpha / n^2) x_t + (sigma sigma_data / n) F: what is known from x_t alone, and the rest."""
    unit = edm_input_scale(alpha, sigma)
    return _each(unit**2 * SIGMA_DATA**2 * alpha, x_t) * x_t + _each(unit * SIGMA_DATA * sigma, x_t) * output


class Prediction(NamedTuple):
    target: Callable[[Tensor, Tensor, Level, Level], Tensor]  # (x0, eps, alpha, sigma) -> what the output should be
    to_x0: Callable[[Tensor, Tensor, Level, Level], Tensor]  # (x_t, output, alpha, sigma) -> the picture it stands for
    input_scale: Callable[[Level, Level], Level]  # (alpha, sigma) -> the network is shown x_t times this


PREDICTIONS = {
    "v": Prediction(v_target, v_to_x0, as_it_is),
    "eps": Prediction(eps_target, eps_to_x0, as_it_is),
    "edm": Prediction(edm_target, edm_to_x0, edm_input_scale),
}


def by_name(prediction: str) -> Prediction:
    """The functions for "v", "eps" or "edm". Raises `UsageError` for another name."""
    if prediction not in PREDICTIONS:
        raise UsageError(f"prediction {prediction!r} is unknown: choose one of {', '.join(PREDICTIONS)}.")
    return PREDICTIONS[prediction]


def add_noise(x0: Tensor, eps: Tensor, alpha: Level, sigma: Level) -> Tensor:
    """x_t = alpha x0 + sigma eps."""
    return _each(alpha, x0) * x0 + _each(sigma, x0) * eps


def loss_weight(weight: str, prediction: str, alpha: Tensor, sigma: Tensor, levels: tuple[float, float]) -> Tensor:
    """What each picture's mean squared error counts: like alpha, (B,), above 0.

    "simple": all alike. "min-snr": as an x0 error it would count min(SNR, 5) (Hang et al. 2023, arXiv 2303.09556, eq. 3 and
    section 3.4), SNR = alpha^2 / sigma^2; an eps error is SNR times the x0 error, a v error SNR + 1 times, an edm error
    (SNR + 1 / sigma_data^2) times. EDM's own weighting is "simple".

    "balanced", for log-normal levels: an edm error counts exp(-(z + 0.46)^2 / 2), z being how many deviations ln(sigma / alpha) lies
    above the mean of the training's `levels`, (mean, deviation); times what makes it 1 in the mean. So much, about, is one over the
    error that is left at that level: levels at which much can never be known, the clearest and the noisiest, no longer drown the
    others. (EDM2, Karras et al. 2024, arXiv 2312.02696, learns such weights. Here they are a curve through what was left
    after 40,000 pictures of Fashion-MNIST and of OpenMoji at 32 px: at z = -2.2, -1.1, 0, 0.7 and 1.2 deviations 0.33, 0.17, 0.16,
    0.24, 0.38 and 0.63, 0.15, 0.13, 0.31, 0.55. Farther out it cannot be above 1, the target's own variance, so the curve falls too
    low there; with a floor of a tenth pictures were no nearer on Fashion-MNIST, and farther on OpenMoji: 122, 115 instead of 101,
    99, by hand.)

    Raises `UsageError` for an unknown name.
    """
    by_name(prediction)
    if weight == "simple":
        return torch.ones_like(alpha)
    if weight == "balanced":
        mean, std = levels
        z = (log_sigma(alpha, sigma) - mean) / std
        even = math.sqrt(2) * math.exp(BALANCE**2 / 4) * torch.exp(-((z + BALANCE) ** 2) / 2)
        if prediction == "edm":
            return even
        # An edm error is SNR + 1 / sigma_data^2 times the x0 error, a v error SNR + 1 times, an eps error SNR times.
        of_v = even / (SIGMA_DATA * edm_input_scale(alpha, sigma)) ** 2
        return of_v if prediction == "v" else of_v / alpha**2
    if weight != "min-snr":
        raise UsageError(f"loss weight {weight!r} is unknown: choose balanced, min-snr or simple.")
    if prediction == "eps":  # min(SNR, 5) / SNR
        return (MIN_SNR_GAMMA * sigma**2 / alpha**2).clamp(max=1.0)
    least = torch.minimum(alpha**2, MIN_SNR_GAMMA * sigma**2)  # min(SNR, 5) sigma^2
    if prediction == "edm":
        return least * (SIGMA_DATA * edm_input_scale(alpha, sigma)) ** 2
    return least  # min(SNR, 5) / (SNR + 1), with SNR + 1 = 1 / sigma^2


def ask(
    network: Network,
    prediction: str,
    x_t: Tensor,
    alpha: Tensor,
    sigma: Tensor,
    labels: Tensor | None = None,
    classes: Tensor | None = None,
) -> Tensor:
    """The network's output for x_t at noise levels alpha, sigma (B,): training and sampling both ask through here.

    So what a network is shown at sampling is what it was shown in training: x_t times the input scale, and ln(sigma / alpha).
    Only training gives labels: how its pictures were changed (training/augment.py). `classes`, int64 (B,) or vectors, is for a
    network that knows them, see `UNet`.
    """
    scale = by_name(prediction).input_scale(alpha, sigma)
    level = log_sigma(alpha, sigma).to(x_t.device, torch.float32)
    told = {} if classes is None else {"classes": classes}
    return network(_each(scale, x_t) * x_t, level, *([] if labels is None else [labels]), **told)


def denoiser(network: Network, prediction: str, classes: Tensor | None = None) -> Denoise:
    """The network as samplers want it: denoise(x_t, alpha, sigma) -> its belief x0 in float32, whatever it computes in.

    `classes`, int64 (B,), is what each picture shall show, -1 for anything, or vectors of mixtures, see `UNet`; on the pictures'
    device.
    """
    to_x0 = by_name(prediction).to_x0

    def denoise(x: Tensor, alpha: float, sigma: float) -> Tensor:
        alphas, sigmas = (torch.full((len(x),), level, dtype=torch.float64) for level in (alpha, sigma))
        return to_x0(x.float(), ask(network, prediction, x, alphas, sigmas, classes=classes).float(), alpha, sigma)

    return denoise


def _each(level: Level, x: Tensor) -> Level:
    """A level a picture, (B,), shaped to multiply x (B, C, H, W); in x's precision, so that float64 tables do not spread."""
    return level.to(x).view(-1, 1, 1, 1) if isinstance(level, Tensor) else level
