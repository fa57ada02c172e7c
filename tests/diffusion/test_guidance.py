import math

import pytest
import torch

from ddpm_core.diffusion import guidance, samplers, schedule
from ddpm_core.errors import UsageError


def constant(value, asked=None):
    def denoise(x, alpha, sigma):
        if asked is not None:
            asked.append(sigma / alpha)
        return torch.full_like(x, value)

    return denoise


X = torch.zeros(2, 1, 2, 2)


@pytest.mark.parametrize("guide", [guidance.guided, guidance.autoguided])
def test_the_difference_is_made_larger_by_the_scale(guide):
    for scale, expected in ((1, 0.3), (0, 0.1), (2, 0.5), (1.5, 0.4), (0.5, 0.2)):
        assert guide(constant(0.3), constant(0.1), scale)(X, 0.6, 0.8).unique().item() == pytest.approx(expected)


def test_it_is_guidance_of_eps_as_in_the_paper():
    """(1 + w) eps(x, c) - w eps(x), equation 6: eps is linear in x0, so the same scale."""
    x, alpha, sigma, w = torch.randn(2, 1, 2, 2), 0.6, 0.8, 1.7
    with_class, without = torch.randn(2, 2, 1, 2, 2)
    x0 = guidance.guided(lambda *_: with_class, lambda *_: without, 1 + w)(x, alpha, sigma)
    eps = lambda x0: (x - alpha * x0) / sigma  # noqa: E731
    assert torch.allclose(eps(x0), (1 + w) * eps(with_class) - w * eps(without), atol=1e-5)


def test_outside_of_the_interval_there_is_one_call_and_no_guidance():
    """low < sigma / alpha <= high, in the noise's units, whatever the staircase."""
    asked, less = [], []
    denoise = guidance.guided(constant(0.3, asked), constant(0.1, less), 3.0, (0.5, 2.0))
    for level, guided in ((0.4, False), (0.5, False), (0.51, True), (2.0, True), (2.01, False), (1e4, False)):
        alpha = 1 / math.hypot(1, level)
        less.clear()
        value = denoise(X, alpha, level * alpha).unique().item()
        assert value == pytest.approx(0.7 if guided else 0.3) and bool(less) == guided, level
    assert len(asked) == 6


def test_no_guidance_and_none_of_the_class_are_one_call_each():
    asked, less = [], []
    guidance.guided(constant(0.3, asked), constant(0.1, less), 1)(X, 0.6, 0.8)
    assert (len(asked), len(less)) == (1, 0)
    guidance.guided(constant(0.3, asked), constant(0.1, less), 0)(X, 0.6, 0.8)
    assert (len(asked), len(less)) == (1, 1)


def test_every_sampler_takes_a_guided_belief_and_clips_it():
    denoise = guidance.guided(constant(0.9), constant(0.0), 2.0)
    for name, sampler in samplers.SAMPLERS.items():
        noise = {"noise": lambda index: torch.zeros(2, 1, 2, 2)} if name in samplers.STOCHASTIC else {}
        *_, last = sampler(denoise, X, schedule.cosine().levels(4), **noise)
        assert (last.x == 1).all(), name


@pytest.mark.parametrize("scale", [-0.1, 20.1, math.nan, math.inf, "2", None, True])
def test_a_scale_that_cannot_work_is_refused(scale):
    with pytest.raises(UsageError, match="guidance is"):
        guidance.guided(constant(0), constant(0), scale)


@pytest.mark.parametrize("interval", [(2, 1), (1, 1), (-1, 2), (0, math.nan), (1,), None, "0-3", ("a", "b")])
def test_an_interval_that_is_none_is_refused(interval):
    with pytest.raises(UsageError, match="interval"):
        guidance.autoguided(constant(0), constant(0), 2.0, interval)
