"""The optimizer's rate and memory."""

import copy

import pytest
import torch
from torch import nn

from ddpm_core.config import RunConfig
from ddpm_core.training import optimizer as optimizers


def test_the_rate_rises_and_stays():
    config = RunConfig(lr=0.1, warmup_steps=4)
    rates = [optimizers.learning_rate(config, step) for step in range(7)]
    assert rates == pytest.approx([0.025, 0.05, 0.075, 0.1, 0.1, 0.1, 0.1])
    assert optimizers.learning_rate(RunConfig(lr=0.1, warmup_steps=0), 0) == 0.1


def test_the_rate_falls_with_the_root_of_the_step():
    config = RunConfig(lr=0.1, warmup_steps=4, decay_steps=100)
    assert optimizers.learning_rate(config, 100) == 0.1
    assert optimizers.learning_rate(config, 400) == pytest.approx(0.05)
    assert optimizers.learning_rate(config, 10_000) == pytest.approx(0.01)


def test_a_cool_down_ends_near_zero():
    config = RunConfig(lr=0.1, warmup_steps=0, cooldown=0.2)
    rates = [optimizers.learning_rate(config, step, 100) for step in range(100)]
    assert rates[:81] == pytest.approx([0.1] * 81)
    assert rates[80:] == pytest.approx([0.1 * left / 20 for left in range(20, 0, -1)])
    assert optimizers.learning_rate(config, 100, 100) == 0
    assert optimizers.learning_rate(config, 99) == 0.1  # a run without an end
    assert optimizers.learning_rate(RunConfig(lr=0.1, warmup_steps=0), 99, 100) == 0.1


def test_the_memory_of_the_second_moment_can_be_the_paper_s():
    for config, beta2 in ((RunConfig(), 0.99), (RunConfig(adam_beta2=0.999), 0.999)):
        optimizer = optimizers.build(nn.Linear(2, 2), config)
        assert isinstance(optimizer, torch.optim.AdamW)
        assert optimizer.param_groups[0]["betas"] == (0.9, beta2)


def test_moments_go_out_and_come_back_to_the_same_steps():
    config = RunConfig(lr=0.01, weight_decay=0.1)
    one, other = nn.Linear(3, 3), nn.Linear(3, 3)

    def steps(network, optimizer, count):
        for number in range(count):
            network(torch.full((1, 3), float(number + 1))).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()

    first = optimizers.adamw(one, config)
    steps(one, first, 3)
    other.load_state_dict(one.state_dict())
    second = optimizers.adamw(other, config)
    optimizers.restore_moments(second, copy.deepcopy(optimizers.moments(first)))
    steps(one, first, 2)
    steps(other, second, 2)
    assert torch.equal(one.weight, other.weight)
    optimizers.set_learning_rate(second, 0.5)
    assert [group["lr"] for group in second.param_groups] == [0.5]
