"""Multistep samplers guess what comes from the last few network calls: the mean of a polynomial through them over the step."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from torch import Tensor

# A value and its place, lambda = ln(alpha / sigma); the newest first.
Past = Sequence[tuple[Tensor, float]]


def mean_belief(past: Past, start: float, h: float) -> Tensor:
    """The belief to `move` by from lambda = start to start + h, as good as the number of beliefs in `past` allows.

    A line is read in the middle of the step, as DPM-Solver++(2M) does and UniPC, which is second order as well. A parabola and
    what is higher is averaged exactly.
    """
    places = tuple(place - start for _, place in past)
    if len(past) == 2:
        first, second = places
        share = (h / 2 - second) / (first - second)
        return share * past[0][0] + (1 - share) * past[1][0]
    return _sum(past, mean_weights(places, h, growth=1))


def mean_noise(past: Past, start: float, h: float) -> Tensor:
    """The same for eps, which drives x / alpha in sigma / alpha = exp(-lambda)."""
    return _sum(past, mean_weights(tuple(place - start for _, place in past), h, growth=-1))


@lru_cache(4096)  # every picture walks down the same staircase
def mean_weights(places: tuple[float, ...], h: float, growth: int) -> list[float]:
    """How much the values at `places` count in the mean of their polynomial over [0, h], where u counts as exp(growth u).

    The equation's linear part is solved exactly (an exponential integrator), and that leaves these weights: alpha x0 is summed up
    over lambda for the picture (growth 1), eps over exp(-lambda) for the noise (growth -1).
    """
    # In steps of h, so that the powers stay near 1.
    powers = np.vander(np.asarray(places) / h, increasing=True).T
    return np.linalg.solve(powers, _moments(growth * h, len(places))).tolist()


def _moments(rate: float, count: int) -> np.ndarray:
    """Means of u^0, u^1, ... over [0, 1], u counting as exp(rate u). By Gauss and Legendre's rule, which is exact to rounding for
    every step of a staircase; integrating by parts would cancel for short ones."""
    weights = _WEIGHTS * np.exp(rate * _NODES - max(0.0, rate))
    return np.array([weights @ _NODES**k for k in range(count)]) / weights.sum()


_roots, _gauss = np.polynomial.legendre.leggauss(24)
_NODES, _WEIGHTS = (_roots + 1) / 2, _gauss / 2


def _sum(past: Past, weights: Sequence[float]) -> Tensor:
    total = weights[0] * past[0][0]
    for weight, (value, _) in zip(weights[1:], past[1:], strict=True):
        total = total + weight * value
    return total
