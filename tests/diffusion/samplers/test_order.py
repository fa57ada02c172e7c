"""Data N(0, s^2): the exact belief is known, and the exact walk only scales x by the ratio of its standard deviations."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from ddpm_core.diffusion import samplers, schedule
from ddpm_core.diffusion.samplers import polynomial

S = 0.5
TABLES = ("linear", "cosine")


def exact(x, alpha, sigma):
    return alpha * S**2 / (alpha**2 * S**2 + sigma**2) * x


def deviation(level):
    return torch.hypot(S * level[0], level[1]).item()


def error(sampler, levels):
    x = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    end = list(sampler(exact, x, levels, clip=False))[-1].x.item()
    return abs(end - deviation(levels[-1]) / deviation(levels[0]))


def orders(error, staircase, steps):
    errors = [error(staircase(count)) for count in steps]
    assert errors[0] < 0.05
    assert errors[-1] > 1e-9  # far above float64's rounding: the orders are the method's
    return [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]


def even_in_lambda(steps, last=0.5):
    """From so much noise that the first steps, which are of lower order, make no error: there the belief stands still."""
    return torch.stack(
        schedule.at(torch.linspace(math.log(1e4), math.log(last), steps + 1, dtype=torch.float64)), dim=1
    )


def even_in_sigma(steps):
    return torch.stack(schedule.at(torch.linspace(10, 0.5, steps + 1, dtype=torch.float64).log()), dim=1)


def quarter_circle(steps, last=0.0):
    angle = torch.linspace(0.98, last, steps + 1, dtype=torch.float64) * math.pi / 2
    return torch.stack([angle.cos(), angle.sin()], dim=1)


@pytest.mark.parametrize(
    ("name", "order"),
    [("ddim", 1), ("euler", 1), ("heun", 2), ("dpm++2m", 2), ("ipndm", 2), ("dpm++3m", 3), ("deis", 3), ("unipc", 4)],
)
def test_order_of_convergence_on_a_smooth_staircase(name, order):
    """UniPC-3 predicts with third order and corrects with one more."""
    steps = (40, 80, 160) if order == 4 else (80, 160, 320)
    found = orders(lambda levels: error(samplers.SAMPLERS[name], levels), even_in_lambda, steps)
    assert found == pytest.approx([order] * 2, abs=0.25)


def test_ipndm_is_fourth_order_where_steps_are_even_in_sigma():
    assert orders(lambda levels: error(samplers.ipndm, levels), even_in_sigma, (80, 160, 320)) == pytest.approx(
        [3.7, 3.9], abs=0.15
    )


@pytest.mark.parametrize("name", ["heun", "dpm++2m", "dpm++3m", "unipc", "deis", "ipndm"])
def test_order_down_to_no_noise_at_all(name):
    """Sigma 0 is infinitely far in lambda, so the last steps do not shrink there: the order comes near to 2 only slowly."""
    found = orders(lambda levels: error(samplers.SAMPLERS[name], levels), quarter_circle, (200, 400, 800))
    assert all(1.65 < order < 2.6 for order in found), found


def variance_error(sampler):
    """How wrong the variance at the end is. The walk is linear in its start and in each step's noise, so one picture for each of
    them, fed with that one alone, tells all."""

    def error(levels):
        steps = len(levels) - 1
        x = torch.zeros(
            steps + 1, 1, 1, 16, dtype=torch.float64
        )  # so wide that late noise comes from sigma / alpha = 1 on
        x[0] = deviation(levels[0])

        def noise(index):
            return torch.eye(steps + 1, dtype=torch.float64)[index].view(-1, 1, 1, 1)

        end = list(sampler(exact, x, levels, clip=False, noise=noise))[-1].x
        return abs((end[..., 0] ** 2).sum().item() - deviation(levels[-1]) ** 2)

    return error


@pytest.mark.parametrize(("name", "order"), [("ddpm", 1), ("dpm++2m-sde", 2), ("dpm++2m-late", 2)])
def test_weak_order_of_the_samplers_that_add_noise(name, order):
    found = orders(variance_error(samplers.SAMPLERS[name]), even_in_lambda, (80, 160, 320))
    assert found == pytest.approx([order] * 2, abs=0.25)


def test_on_the_tables_themselves_each_is_better_than_ddim():
    for table in TABLES:
        levels = schedule.by_name(table).levels(20)
        first = error(samplers.ddim, levels)
        for name in ("dpm++2m", "dpm++3m", "unipc", "deis"):
            assert error(samplers.SAMPLERS[name], levels) < first / 2 < 0.1, (table, name)


@pytest.mark.parametrize("growth", [1, -1])
@pytest.mark.parametrize("h", [0.003, 0.3, 3.0, 14.0])
def test_a_polynomial_is_averaged_exactly(growth, h):
    """Against a fine sum. u^2 - 2 u from its values at three uneven places, weighed with exp(growth u) over [0, h]."""
    places = (0.0, -0.4 * h, -1.7 * h)
    weights = polynomial.mean_weights(places, h, growth)
    u = (np.arange(200_000) + 0.5) / 200_000 * h
    weigh = np.exp(growth * u)
    curve = lambda u: (u / h) ** 2 - 2 * u / h  # noqa: E731
    assert sum(weights) == pytest.approx(1, abs=1e-12)
    found = sum(weight * curve(place) for weight, place in zip(weights, places, strict=True))
    assert found == pytest.approx((weigh * curve(u)).sum() / weigh.sum(), rel=1e-6)
