"""The weight average against the paper's own statements about it."""

import numpy as np
import pytest
import torch
from torch import nn

from ddpm_core.training import ema


@pytest.mark.parametrize(("length", "gamma"), [(0.05, 16.97), (0.10, 6.94), (0.15, 3.56), (0.20, 1.83), (0.25, 0.72)])
def test_gamma_of_the_lengths_in_the_paper(length, gamma):
    assert ema.gamma_from_length(length) == pytest.approx(gamma, abs=0.01)


@pytest.mark.parametrize("length", [0.05, 0.1, 0.2])
def test_the_average_has_the_width_it_is_named_after(length):
    """The weights of steps 1..n in the average at n, seen as a distribution over steps, have standard deviation length * n."""
    gamma, steps = ema.gamma_from_length(length), 4000
    share = np.zeros(steps)
    for step in range(1, steps + 1):
        kept = ema.beta(step, gamma)
        share *= kept
        share[step - 1] += 1 - kept
    places = np.arange(1, steps + 1)
    mean = (share * places).sum()
    assert share.sum() == pytest.approx(1)
    assert np.sqrt((share * (places - mean) ** 2).sum()) / steps == pytest.approx(length, rel=0.02)


@pytest.mark.parametrize(("length", "second"), [(0.1, 0.05), (0.05, 0.1), (0.06, 0.1), (0.2, 0.05), (0.01, 0.1)])
def test_the_second_average_is_the_farther_one_of_the_pair(length, second):
    assert ema.second_length(length) == second


def test_the_first_step_replaces_the_random_start():
    network = nn.Linear(2, 2)
    average = ema.PowerEMA(network, 0.1)
    with torch.no_grad():
        network.weight.fill_(3.0)
    average.update(network, step=1)
    assert torch.equal(average.network.weight, network.weight)


def test_update_moves_the_average_and_not_the_network():
    network = nn.Linear(2, 2)
    average = ema.PowerEMA(network, 0.1)
    average.update(network, 1)
    with torch.no_grad():
        network.weight.add_(1.0)
    before, trained = average.network.weight.clone(), network.weight.clone()
    average.update(network, 10)
    expected = torch.lerp(before, trained, 1 - ema.beta(10, average.gamma))
    torch.testing.assert_close(average.network.weight, expected)
    assert torch.equal(network.weight, trained)
    assert not average.network.weight.requires_grad
