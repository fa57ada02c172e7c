"""The network: shapes, its start at nothing, hearing the noise level, and every preset's size."""

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from ddpm_core.config import NETWORKS, NetworkConfig
from ddpm_core.network.norm import Dropout
from ddpm_core.network.unet import Join, UNet, attend, by_a_view

TINY = NetworkConfig(width=16, multipliers=(1, 2), blocks=1, patch=2, attention=(1,))


def awake(network: UNet) -> UNet:
    """A network whose zero-initialised layers have weights too, as after some training."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.05)
    return network.eval()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("patch", [1, 2, 4])
@pytest.mark.parametrize("side", [16, 24])
def test_the_answer_has_the_shape_of_the_picture(channels, patch, side):
    network = UNet(NetworkConfig(width=16, multipliers=(1, 2), patch=patch), channels)
    x = torch.randn(3, channels, side, side)
    assert network(x, torch.randn(3)).shape == x.shape


def test_it_starts_by_guessing_nothing():
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(UNet(TINY, 3)(x, torch.zeros(2)), torch.zeros_like(x))


def test_every_weight_takes_part():
    network = awake(UNet(TINY, 3))
    network(torch.randn(2, 3, 16, 16), torch.randn(2)).square().sum().backward()
    idle = [name for name, weight in network.named_parameters() if weight.grad is None or not weight.grad.any()]
    # The key's bias adds the same to every place's score, and softmax does not see that.
    assert [name for name in idle if "qkv.bias" not in name] == []


def test_it_hears_the_noise_level():
    network = awake(UNet(TINY, 3))
    x = torch.randn(1, 3, 16, 16)
    quiet, loud = network(x, torch.tensor([-4.0])), network(x, torch.tensor([4.0]))
    assert (quiet - loud).abs().mean() > 0.01 * quiet.abs().mean()


def test_a_picture_does_not_depend_on_its_neighbours_in_the_batch():
    network = awake(UNet(TINY, 3))
    x, level = torch.randn(4, 3, 16, 16), torch.randn(4)
    together = network(x, level)
    alone = torch.cat([network(x[i : i + 1], level[i : i + 1]) for i in range(4)])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)


def test_odd_levels_of_the_largest_pictures_stay_finite():
    network = awake(UNet(TINY, 3))
    # The ends of the cosine table: ln(sigma / alpha) from -5 to 10.
    assert network(torch.randn(2, 3, 16, 16), torch.tensor([-5.2, 9.95])).isfinite().all()


def test_attention_on_a_processor_is_torchs_own():
    q, k, v = torch.randn(3, 2, 3, 16, 8).unbind()
    torch.testing.assert_close(attend(q, k, v), F.scaled_dot_product_attention(q, k, v))


@pytest.mark.parametrize("side", [4, 8])
def test_a_join_is_one_convolution_over_both_maps(side):
    x, kept = torch.randn(2, 16, side, side), torch.randn(2, 8, 8, 8)
    join = Join(16, 8)
    enlarged = F.interpolate(x, size=(8, 8), mode="nearest")
    torch.testing.assert_close(join(x, kept), join.mix(torch.cat([enlarged, kept], dim=1)))


@pytest.mark.parametrize("p", [0.1, 0.5, 0.95])
def test_dropout_drops_its_share_and_keeps_the_mean(p):
    x = torch.ones(100, 1001, requires_grad=True)
    torch.manual_seed(0)
    dropped = Dropout(p)(x)
    share = (dropped == 0).float().mean().item()
    assert share == pytest.approx(p, abs=1 / 256)
    assert dropped.mean().item() == pytest.approx(1, rel=0.05)
    assert len(dropped.unique()) == 2
    dropped.sum().backward()
    assert torch.equal(x.grad, dropped)
    torch.manual_seed(0)
    assert torch.equal(Dropout(p)(x), dropped)


@pytest.mark.parametrize("p", [0.05, 0.1])
def test_dropout_keeps_the_mean_in_bfloat16_too(p):
    torch.manual_seed(0)
    x = 1 + torch.rand(1_000_000)  # all of them rounded differently
    kept = Dropout(p)(x.bfloat16()).double()
    assert (kept.sum() / x.double()[kept != 0].sum()).item() == pytest.approx(256 / (256 - round(256 * p)), abs=3e-4)


def test_dropout_neighbours_fall_independently_and_nothing_falls_without_training():
    dropped = (Dropout(0.5)(torch.ones(2000, 64)) == 0).float()
    together = torch.corrcoef(dropped.T) - torch.eye(64)
    assert together.abs().max() < 0.12  # five standard errors of 2,000 pairs
    x = torch.ones(3, 3)
    assert Dropout(0.5).eval()(x) is x and Dropout(0.0)(x) is x


# The guide's model sizes in MB (float32); 96 px lies between its neighbours.
GUIDE_MB = {32: 35, 64: 145, 128: 380, 256: 890}


@pytest.mark.parametrize(("preset", "side"), NETWORKS)
def test_presets_fit_their_picture_and_their_size(preset, side):
    config = NETWORKS[preset, side]
    assert side % config.stride == 0
    with torch.device("meta"):
        network = UNet(config, 3)
        assert network(torch.empty(1, 3, side, side), torch.empty(1)).shape == (1, 3, side, side)
    megabytes = sum(weight.numel() for weight in network.parameters()) * 4 / 1e6
    if preset == "cpu":
        assert megabytes < 20
    elif preset == "standard" and side in GUIDE_MB:
        assert 0.85 * GUIDE_MB[side] < megabytes < 1.15 * GUIDE_MB[side]


# ---- classes


def test_classes_leave_the_other_weights_as_they_begin():
    with_classes = dataclasses.replace(TINY, classes=7)
    networks = []
    for config in (TINY, with_classes):
        torch.manual_seed(3)
        networks.append(UNet(config, 3))
    plain, told = (network.state_dict() for network in networks)
    assert set(told) - set(plain) == {"classes.weight"} and not told["classes.weight"].any()
    assert all(torch.equal(plain[name], told[name]) for name in plain)


def test_a_class_is_heard_and_minus_one_says_nothing():
    network = awake(UNet(dataclasses.replace(TINY, classes=3, labels=6), 3))
    x, level, labels = torch.randn(1, 3, 16, 16), torch.zeros(1), torch.ones(1, 6)
    silent = network(x, level)
    assert torch.equal(network(x, level, None, torch.tensor([-1])), silent)
    told = [network(x, level, classes=torch.tensor([number])) for number in range(3)]
    assert all((one - silent).abs().mean() > 1e-3 * silent.abs().mean() for one in told)
    assert not torch.allclose(told[0], told[1])
    both = network(x, level, labels, torch.tensor([1]))
    assert not torch.allclose(both, told[1]) and not torch.allclose(both, network(x, level, labels))


def test_a_mixture_of_classes_is_the_mean_of_their_vectors():
    network = awake(UNet(dataclasses.replace(TINY, classes=3), 3))
    a, b, _ = network.classes.weight.detach()
    mixed = network.mixed([{0: 1.0}, {0: 0.25, 1: 0.75}, {1: 0.5, -1: 0.5}, {-1: 1.0}, {}])
    torch.testing.assert_close(mixed, torch.stack([a, 0.25 * a + 0.75 * b, 0.5 * b, 0 * a, 0 * a]))
    assert torch.equal(network.mixed([{0: 0.25, 1: 0.75}]), mixed[1:2]) and not mixed.requires_grad


def test_told_a_vector_it_hears_what_the_class_of_that_vector_says():
    network = awake(UNet(dataclasses.replace(TINY, classes=3), 3))
    x, level = torch.randn(1, 3, 16, 16), torch.zeros(1)
    for which in (-1, 0, 2):
        alone = network(x, level, classes=torch.tensor([which]))
        assert torch.equal(network(x, level, classes=network.mixed([{which: 1.0}])), alone)
    ends = [network(x, level, classes=torch.tensor([which])) for which in (0, 2)]
    between = network(x, level, classes=network.mixed([{0: 0.5, 2: 0.5}]))
    whole = (ends[0] - ends[1]).abs().mean()
    assert all(0 < (between - end).abs().mean() < whole for end in ends)
    each = network(x.repeat(2, 1, 1, 1), level, classes=network.mixed([{0: 1.0}, {2: 1.0}]))
    torch.testing.assert_close(each, torch.cat(ends))


def test_only_the_classes_that_were_told_learn():
    network = awake(UNet(dataclasses.replace(TINY, classes=4), 3))
    network(torch.randn(3, 3, 16, 16), torch.randn(3), classes=torch.tensor([2, -1, -1])).square().sum().backward()
    assert network.classes.weight.grad.any(dim=1).tolist() == [False, False, True, False]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_how_a_card_enlarges_changes_no_number_and_keeps_the_layout(layout):
    x = torch.randn(3, 24, 6, 4).contiguous(memory_format=layout)
    larger = by_a_view(x)
    assert torch.equal(larger, F.interpolate(x, scale_factor=2.0, mode="nearest"))
    assert larger.is_contiguous(memory_format=layout)
