import dataclasses

import pytest
import torch

from ddpm_core.checkpoint import Model
from ddpm_core.config import NetworkConfig, RunConfig
from ddpm_core.errors import UsageError
from ddpm_core.network import growing
from ddpm_core.network.unet import UNet

TINY = NetworkConfig(width=16, multipliers=(1, 2), blocks=1, patch=2, attention=(1,))


def trained(size=32, network=TINY, channels=3, prediction="edm"):
    """A model whose every weight is something."""
    torch.manual_seed(3)
    unet = UNet(network, channels)
    with torch.no_grad():
        for weight in unet.parameters():
            weight.add_(0.1 * torch.randn_like(weight))
    config = RunConfig(size=size, network=network, prediction=prediction)
    return unet.eval(), Model(config, channels, (), 10, 320, 1, 0.1, unet.state_dict())


def grown(model, size, channels=3, **settings):
    config = growing.fit(RunConfig(size=size, **settings), model.config)
    unet = UNet(config.network, channels)
    unet.load_state_dict(growing.weights(model, unet, config, channels))
    return unet.eval(), config


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_the_grown_network_is_the_old_one_on_enlarged_pictures(factor):
    old, model = trained()
    new, config = grown(model, 32 * factor)
    assert config.network.patch == 2 * factor
    x, log_sigma = torch.randn(2, 3, 32, 32), torch.tensor([-1.0, 1.5])
    shift = torch.log(torch.tensor(float(factor)))
    large = x.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    with torch.no_grad():
        expected = old(x, log_sigma - shift).repeat_interleave(factor, 2).repeat_interleave(factor, 3)
        torch.testing.assert_close(new(large, log_sigma), expected, rtol=1e-4, atol=1e-4)


def test_back_to_half_the_size_it_is_the_same_network_again():
    old, model = trained()
    new, config = grown(model, 64)
    there = Model(config, 3, (), 10, 320, 1, 0.1, new.state_dict())
    back, _ = grown(there, 32)
    x, log_sigma = torch.randn(2, 3, 32, 32), torch.tensor([-1.0, 1.5])
    with torch.no_grad():
        torch.testing.assert_close(back(x, log_sigma), old(x, log_sigma), rtol=1e-4, atol=1e-4)


def test_patches_that_grow_by_half_weigh_pixels_by_what_they_cover():
    _, model = trained(64, dataclasses.replace(TINY, patch=4))
    new, config = grown(model, 96)
    assert config.network.patch == 6
    # A flat picture is flat at every size, whatever its pixels cover.
    old = UNet(model.config.network, 3).eval()
    old.load_state_dict(model.weights)
    log_sigma, shift = torch.tensor([0.5]), torch.log(torch.tensor(1.5))
    with torch.no_grad():
        small = old(torch.full((1, 3, 64, 64), 0.3), log_sigma - shift)
        large = new(torch.full((1, 3, 96, 96), 0.3), log_sigma)
    torch.testing.assert_close(large.mean(), small.mean(), rtol=1e-4, atol=1e-4)
    # And so that noise is averaged: of three pixels that two old ones cover, the middle one belongs to both.
    down, _ = growing._pixels(4, 6, 1, 1)
    side = torch.tensor([[2, 1, 0, 0, 0, 0], [0, 1, 2, 0, 0, 0], [0, 0, 0, 2, 1, 0], [0, 0, 0, 0, 1, 2]]) / 3
    torch.testing.assert_close(down, torch.kron(side, side))


@pytest.mark.parametrize("old_channels, new_channels", [(1, 3), (3, 1)])
def test_grey_and_colour_agree_about_grey_pictures(old_channels, new_channels):
    old, model = trained(channels=old_channels)
    new, _ = grown(model, 32, new_channels)
    grey, log_sigma = torch.randn(2, 1, 32, 32), torch.tensor([-1.0, 1.5])
    with torch.no_grad():
        expected = old(grey.expand(-1, old_channels, -1, -1), log_sigma).mean(1)
        answer = new(grey.expand(-1, new_channels, -1, -1), log_sigma).mean(1)
    torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-4)


def test_it_predicts_what_the_model_predicts_and_keeps_the_rest_of_the_settings():
    _, model = trained(prediction="v")
    config = growing.fit(RunConfig(size=64, prediction="edm", lr=0.5, augment=0.1), model.config)
    assert (config.prediction, config.lr, config.augment, config.network.labels) == ("v", 0.5, 0.1, 6)
    new, _ = grown(model, 64, augment=0.1)
    assert not new.labels.weight.any()  # the model heard none: they start as in a new network


def test_a_size_that_its_patches_cannot_fill_names_those_they_can():
    _, model = trained(64, TINY)
    with pytest.raises(UsageError, match=r"80 px: choose --size 32 or 64 or 96 or 128 or 256"):
        growing.fit(RunConfig(size=80), model.config)


def test_another_trunk_is_refused():
    _, model = trained()
    config = RunConfig(size=64, network=dataclasses.replace(TINY, width=32, patch=4))
    with pytest.raises(UsageError, match="without --preset"):
        growing.weights(model, UNet(config.network, 3), config, 3)
