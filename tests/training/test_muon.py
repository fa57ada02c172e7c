"""Muon: what it makes of a matrix, whose weights it takes, and that it can be stored."""

import copy

import pytest
import torch

from ddpm_core.config import NetworkConfig, RunConfig
from ddpm_core.network.unet import UNet
from ddpm_core.training import optimizer as optimizers
from ddpm_core.training.muon import Muon, blocks, orthogonal

SMALL = NetworkConfig(width=16, multipliers=(1, 2), blocks=1, patch=2, attention=(1,))
CONFIG = RunConfig(lr=0.01, weight_decay=0.1, optimizer="muon", network=SMALL)


def random(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("shape", [(3, 32, 32), (2, 16, 144), (2, 96, 32), (1, 1, 9)])
def test_singular_values_come_near_one_and_directions_stay(shape):
    matrices = random(*shape) * 1e-3
    (result,) = orthogonal([matrices])
    assert result.shape == shape and result.dtype == torch.float32
    u, before, v = torch.linalg.svd(matrices, full_matrices=False)
    after = (u.mT @ result @ v.mT).diagonal(dim1=1, dim2=2)
    clear = before > 0.02 * before[:, :1]  # a direction with almost nothing in it stays small
    assert clear.float().mean() > 0.9
    assert after[clear].min() > 0.6 and after[clear].max() < 1.25
    off = (u.mT @ result @ v.mT) - torch.diag_embed(after)
    assert off.abs().max() < 1e-3


def test_one_matrix_comes_out_alone_as_among_others_and_nothing_out_of_nothing():
    wide, tall, nothing = random(3, 24, 40), random(2, 72, 24), torch.zeros(1, 4, 6)
    together = orthogonal([wide, tall, nothing])
    assert [stack.shape for stack in together] == [wide.shape, tall.shape, nothing.shape]
    torch.testing.assert_close(together[0][1:2], orthogonal([wide[1:2]])[0])
    torch.testing.assert_close(together[1], orthogonal([tall])[0])
    assert torch.equal(together[2], nothing)


@pytest.mark.parametrize("shape", [(32, 16, 3, 3), (64, 32), (32, 64, 1, 1)])
def test_a_step_is_as_long_as_one_of_adamw(shape):
    """0.2 of the learning rate, root mean square, whatever the gradient's size; and it goes downhill."""
    for size in (1e-6, 1.0):
        weight = torch.nn.Parameter(torch.zeros(shape))
        weight.grad = size * random(*shape)
        Muon([weight], lr=0.1).step()
        assert weight.square().mean().sqrt().item() == pytest.approx(0.02, rel=0.2)
        assert (weight * weight.grad).sum() < 0


@pytest.mark.parametrize(("rows", "count"), [(1, 1), (64, 1), (96, 2), (128, 2), (288, 6), (1056, 22), (67, 67)])
def test_a_matrix_is_cut_into_the_fewest_equal_parts(rows, count):
    assert blocks(rows) == count


def test_each_part_of_a_tall_matrix_moves_by_itself():
    weight = torch.nn.Parameter(torch.zeros(128, 200))
    weight.grad = random(128, 200)
    Muon([weight], lr=1.0).step()
    halves = [torch.nn.Parameter(torch.zeros(64, 200)) for _ in range(2)]
    for half, gradient in zip(halves, weight.grad.split(64), strict=True):
        half.grad = gradient
    Muon(halves, lr=1.0).step()
    torch.testing.assert_close(weight, torch.cat(halves))


@pytest.mark.parametrize("of_gradient", [torch.contiguous_format, torch.channels_last])
def test_the_layout_of_a_weight_in_memory_changes_no_step(of_gradient):
    plain, other = (torch.nn.Parameter(random(64, 24, 3, 3)) for _ in range(2))
    other.data = other.data.contiguous(memory_format=torch.channels_last)
    gradient = random(24, 64, 3, 3).transpose(0, 1)
    for weight in (plain, other):
        weight.grad = gradient.contiguous(memory_format=of_gradient)
        Muon([weight], lr=0.1).step()
    assert other.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(plain.data, other.data.contiguous())


def test_the_rate_may_be_a_number_on_the_device():
    steps = []
    for rate in (0.1, torch.tensor(0.1)):
        weight = torch.nn.Parameter(random(16, 16))
        weight.grad = random(16, 16).flip(0)
        optimizer = Muon([weight], rate, weight_decay=0.1)
        optimizers.set_learning_rate(optimizer, 0.05)
        optimizer.step()
        steps.append(weight.data)
    assert isinstance(optimizer.param_groups[0]["lr"], torch.Tensor)
    torch.testing.assert_close(*steps)


def test_weight_decay_is_decoupled():
    weight = torch.nn.Parameter(torch.ones(4, 4))
    weight.grad = torch.zeros(4, 4)
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    assert torch.allclose(weight, torch.full((4, 4), 0.95))


def test_it_takes_the_matrices_of_the_trunk_and_adamw_the_rest():
    network = UNet(SMALL, 3)
    optimizer = optimizers.build(network, CONFIG)
    assert isinstance(optimizer, optimizers.Together)
    adamw, muon = optimizer.parts
    names = {weight: name for name, weight in network.named_parameters()}
    of = {
        part: {names[weight] for group in part.param_groups for weight in group["params"]} for part in optimizer.parts
    }
    assert of[adamw] | of[muon] == set(names.values()) and not of[adamw] & of[muon]
    assert {"stem.weight", "head.weight", "gain.weight", "noise_level.layers.0.weight"} <= of[adamw]
    assert {"middle.conv_in.weight", "middle.attention.qkv.weight", "down.0.scale_shift.weight"} <= of[muon]
    assert not any("norm" in name or name.endswith("bias") for name in of[muon])
    optimizers.set_learning_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.5]


def test_stored_and_restored_it_makes_the_same_steps():
    def steps(network, optimizer, numbers):
        for number in numbers:
            x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(number))
            (network(x, torch.zeros(2)) - x.flip(0)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()

    one, other = UNet(SMALL, 3), UNet(SMALL, 3)
    first = optimizers.build(one, CONFIG)
    steps(one, first, range(3))
    other.load_state_dict(one.state_dict())
    second = optimizers.build(other, CONFIG)
    stored = copy.deepcopy(optimizers.moments(first))
    assert sorted(stored) == list(range(len(list(one.parameters()))))  # every weight has its number
    optimizers.restore_moments(second, stored)
    steps(one, first, range(3, 5))
    steps(other, second, range(3, 5))
    for name, weight in other.named_parameters():
        assert torch.equal(weight, one.get_parameter(name)), name
    for number, of_weight in optimizers.moments(second).items():
        for key, value in of_weight.items():
            assert torch.equal(value, optimizers.moments(first)[number][key])
